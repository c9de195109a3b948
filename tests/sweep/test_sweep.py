"""Sweeps: the same rows however they were made, none lost, none twice."""

import json
import multiprocessing
import random
import shutil
import signal
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import TINY, TWO_PROCESSES, pilotage
from pilotage.cli.main import main, parse
from pilotage.errors import PilotageError
from pilotage.sweep.table import append_row, read_rows, row_id, table_path
from pilotage.training.fit import fit
from pilotage.utils.files import only_writer

GRID = ["--w", "0", "1", "--steps", "3", "--samples", "72"]
NOT_NUMBERS = {"seconds", "run", "network_calls"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Extractors and features of these tests go to a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def run(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "run")


def sweep(run, *flags):
    assert main(["sweep", str(run), *GRID, *flags]) == 0
    return numbers(run)


def numbers(run):
    rows = read_rows(table_path(run))
    assert len({row["id"] for row in rows}) == len(rows)
    kept = [{k: v for k, v in row.items() if k not in NOT_NUMBERS} for row in rows]
    return {(row["kind"], row.get("w"), row.get("steps")): row for row in kept}


def same(one, other, tolerance):
    assert one.keys() == other.keys()
    for key, row in one.items():
        assert row["metrics"].keys() == other[key]["metrics"].keys()
        for name, pair in row["metrics"].items():
            found = other[key]["metrics"][name]
            assert found[0] == pytest.approx(pair[0], rel=tolerance, abs=tolerance), (key, name)


def test_rows_previews_and_manifest(run):
    rows = sweep(run)
    assert set(rows) == {("real", None, None), ("sample", 0.0, 3), ("sample", 1.0, 3)}
    row = rows["sample", 1.0, 3]
    assert row["guidance_scale"] == 2
    assert row["seeds"] == [0, 72]
    assert row["n"] == 72
    assert row["step"] == 12
    assert row["extractor"]["name"] == "in-domain"
    assert row["extractor"]["accuracy"] > 0.9
    assert row["reference"]["n"] == 1618
    assert len(row["extractor"]["hash"]) == len(row["reference"]["hash"]) == 64
    decides = ("kind", "run_hash", "step", "w", "steps", "sampler", "v", "eta", "n", "seeds")
    decides += ("force", "extractor", "reference", "code")
    assert row["id"] == row_id({name: row[name] for name in decides})
    assert {"frechet", "precision", "recall", "inception_score", "kernel"} <= set(row["metrics"])
    # 12 training steps make no digits: the real ones are much nearer to the real ones
    assert rows["real", None, None]["metrics"]["frechet"][0] < row["metrics"]["frechet"][0] / 3
    assert rows["real", None, None]["metrics"]["inception_score"][0] > 8
    with Image.open(run / row["preview"]) as preview:
        assert preview.width > 80


def test_second_start_measures_only_what_is_new(run):
    sweep(run)
    before = table_path(run).read_bytes()
    sweep(run)
    assert table_path(run).read_bytes() == before
    rows = sweep(run, "--w", "0", "1", "2")
    assert table_path(run).read_bytes().startswith(before)
    assert ("sample", 2.0, 3) in rows


def test_batch_size_and_processes_do_not_change_the_rows(run, tmp_path):
    runs = {n: shutil.copytree(run, tmp_path / n) for n in ("b64", "b7", "b1", "two", "four")}
    rows = {name: sweep(runs[name], "--batch-size", name[1:]) for name in ("b64", "b7", "b1")}
    same(rows["b64"], rows["b7"], 1e-3)
    same(rows["b64"], rows["b1"], 1e-3)
    flags = [*GRID, "--batch-size", "7"]
    for name, launcher in (("two", TWO_PROCESSES), ("four", (*TWO_PROCESSES[:-1], "4"))):
        answer = pilotage("sweep", runs[name], *flags, launcher=launcher)
        assert answer.returncode == 0, answer.stderr
        same(rows["b7"], numbers(runs[name]), 1e-12)


def test_a_run_still_in_training_can_be_swept(tmp_path):
    run = tmp_path / "run"
    flags = ["--steps", "12", "--checkpoint-every", "4", *TINY]
    command = parse(["train", "digits", "--out", str(run), *flags])
    records = fit(command.settings.recipe, run, say=lambda _: None)
    assert any(record.step == 6 for record in records)  # and waits there, the folder still its own
    sweep(run)
    before = table_path(run).read_bytes()
    assert measured(run) == [(4, 0.0), (4, 1.0)]
    assert [record.step for record in records][-1] == 12
    sweep(run)
    after = table_path(run).read_bytes()
    assert after.startswith(before)
    assert measured(run) == [(4, 0.0), (4, 1.0), (12, 0.0), (12, 1.0)]
    sweep(run)
    assert table_path(run).read_bytes() == after


def measured(run):
    """Step and w of every row; real images are measured once, whatever the step."""
    rows = read_rows(table_path(run))
    assert [row["kind"] for row in rows].count("real") == 1
    return [(row["step"], row["w"]) for row in rows if row["kind"] == "sample"]


def _sweep_in_child(run, errors):
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = open(errors, "a")  # noqa: SIM115, PTH123 (lives as long as the child)
    grid = ["--w", *map(str, range(8)), "--steps", "4", "--samples", "72"]
    sys.exit(main(["sweep", str(run), *grid]))


@pytest.mark.slow
def test_ten_kills_then_the_same_table(run, tmp_path):
    whole, errors = shutil.copytree(run, tmp_path / "whole"), tmp_path / "errors.txt"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pilotage.sweep.grid", "sklearn.datasets", "datasets"])
    moments = random.Random(0)
    counts = []
    for _ in range(10):
        child = context.Process(target=_sweep_in_child, args=(run, errors))
        child.start()
        time.sleep(moments.uniform(0.5, 2.5))
        child.kill()
        child.join()
        assert child.exitcode in (-signal.SIGKILL, 0), errors.read_text()
        counts.append(len(read_rows(table_path(run))))
    assert counts == sorted(counts)
    for target in (run, whole):
        child = context.Process(target=_sweep_in_child, args=(target, errors))
        child.start()
        child.join()
        assert child.exitcode == 0, errors.read_text()
    assert len(numbers(run)) == 9
    same(numbers(run), numbers(whole), 1e-12)


def test_half_written_row_is_cut_off_and_measured_again(tmp_path):
    path = tmp_path / "rows.jsonl"
    append_row(path, {"id": "a", "x": 1})
    with path.open("a") as file:
        file.write('{"id": "b", "x"')
    assert [row["id"] for row in read_rows(path)] == ["a"]
    append_row(path, {"id": "b", "x": 2})
    assert [row["id"] for row in read_rows(path)] == ["a", "b"]
    with path.open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(PilotageError, match="line 3"):
        read_rows(path)


def test_row_id_depends_on_every_setting_and_not_on_their_order():
    assert row_id({"w": 1, "n": 2}) == row_id({"n": 2, "w": 1})
    assert row_id({"w": 1, "n": 2}) != row_id({"w": 1.5, "n": 2})


def test_kept_images_are_the_measured_ones(run):
    sweep(run, "--keep")
    row = numbers(run)["sample", 0.0, 3]
    with np.load(run / "sweep" / "images" / f"{row['id']}.npz") as file:
        assert file["images"].shape == (72, 8, 8, 1)
        assert file["labels"].tolist() == [k % 10 for k in range(72)]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--w", "1", "1"], "w has 1.0 twice"),
        (["--w", "nan"], "w"),
        (["--samples", "10"], "samples is 10"),
        (["--extractor", "magic"], "magic"),
        (["--steps", "0"], "steps"),
        (["--data", "/nowhere"], "/nowhere"),
    ],
)
def test_bad_grids_are_refused(run, capsys, flags, said):
    assert main(["sweep", str(run), *GRID, *flags]) == 2
    assert said in capsys.readouterr().err
    assert not table_path(run).exists()


def test_data_of_another_shape_is_refused(run, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("RGB", (12, 12)).save(tmp_path / "data" / name / "0.png")
    assert main(["sweep", str(run), *GRID, "--data", str(tmp_path / "data")]) == 2
    assert "its images are 3x12x12, the run's 1x8x8" in capsys.readouterr().err


def test_evaluate_agrees_with_the_sweep_and_with_the_floor(run, tmp_path, capsys):
    rows = sweep(run, "--keep")
    row = rows["sample", 1.0, 3]
    table = tmp_path / "rows.jsonl"
    npz = run / "sweep" / "images" / f"{row['id']}.npz"
    assert main(["evaluate", str(npz), "--data", "digits", "--out", str(table)]) == 0
    assert "frechet" in capsys.readouterr().out
    assert main(["evaluate", "real", "--data", "digits", "--out", str(table)]) == 0
    images, real = read_rows(table)
    for name in ("frechet", "precision", "recall", "accuracy"):
        assert images["metrics"][name][0] == pytest.approx(row["metrics"][name][0], rel=1e-6)
        floor = rows["real", None, None]["metrics"][name][0]
        assert real["metrics"][name][0] == pytest.approx(floor, rel=1e-6)


@pytest.mark.parametrize("content", [None, b"PK not a zip"])
def test_evaluate_refuses_what_is_not_images(tmp_path, capsys, content):
    path = tmp_path / "x.npz"
    if content:
        path.write_bytes(content)
    assert main(["evaluate", str(path), "--data", "digits"]) == 2
    assert "x.npz" in capsys.readouterr().err


def test_evaluate_refuses_an_empty_folder_and_mixed_sizes(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["evaluate", str(tmp_path / "empty"), "--data", "digits"]) == 2
    assert "no images" in capsys.readouterr().err
    (tmp_path / "mixed").mkdir()
    for k in range(4):
        Image.new("L", (8, 8 + k % 2)).save(tmp_path / "mixed" / f"{k}.png")
    assert main(["evaluate", str(tmp_path / "mixed"), "--data", "digits"]) == 2
    assert "images have 2 sizes (8x8, 9x8)" in capsys.readouterr().err


def test_a_sweep_becomes_a_report(run):
    sweep(run)
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "FD (in-domain)" in page
    assert json.loads(table_path(run).read_text().splitlines()[0])["extractor"]["hash"][:12] in page


def test_two_sweeps_of_a_run_at_once_are_refused(run, tmp_path, capsys):
    folder = shutil.copytree(run, tmp_path / "copied")
    (folder / "sweep").mkdir(exist_ok=True)
    with only_writer(folder / "sweep", "sweeping"):
        assert main(["sweep", str(folder), "--w", "9", "--steps", "2", "--samples", "72"]) == 2
    assert "another process is sweeping it" in capsys.readouterr().err
