"""What is ours to write, and what is not."""

import numpy as np
import pytest

from data.making import class_folders, noise, save
from helpers import contents, pilotage, train
from pilotage.cli.main import main
from pilotage.errors import PilotageError
from pilotage.sweep.table import append_row, read_rows

FOREIGN = [
    b"years of work",
    b"years\nof\nwork\n",
    b'{"a": 1}\n',
    b"\x89PNG\r\n",
    b'{"id": 1}',
    b"[]\n",
]


@pytest.mark.parametrize("content", FOREIGN)
def test_foreign_files_are_not_appended_to(tmp_path, content):
    path = tmp_path / "thesis.txt"
    path.write_bytes(content)
    with pytest.raises(PilotageError, match=r"thesis\.txt, line \d is not a row"):
        append_row(path, {"id": "a"})
    assert path.read_bytes() == content


@pytest.mark.parametrize("half", [b"", b"{", b'{"id": "', b'{"id": "0f3", "w"'])
def test_half_written_rows_of_ours_are_cut_off(tmp_path, half):
    path = tmp_path / "rows.jsonl"
    append_row(path, {"id": "a"})
    path.write_bytes(path.read_bytes() + half)
    append_row(path, {"id": "b"})
    assert [row["id"] for row in read_rows(path)] == ["a", "b"]


def test_evaluate_finds_foreign_tables_before_measuring(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    command = ["evaluate", "real", "--data", "/nowhere", "--out"]
    assert main([*command, str(tmp_path / "thesis.txt")]) == 2
    assert "thesis.txt, line 1 is not a row" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main([*command, str(tmp_path / "file" / "x.jsonl")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert contents(tmp_path) == {"thesis.txt": b"years of work", "file": b""}


def test_a_run_finds_its_data_from_everywhere(tmp_path, monkeypatch):
    import yaml

    from pilotage.models.data import load_recipe_data
    from pilotage.models.run_folder import read_card

    class_folders(tmp_path / "here" / "d", ("a", "b"), 6, (8, 8))
    class_folders(tmp_path / "there" / "d", ("a", "b"), 6, (8, 8))
    save(tmp_path / "there" / "d" / "a" / "00.png", noise(99, 8, 8))
    monkeypatch.chdir(tmp_path / "here")
    assert train("run", "--data", "d", steps=1) == 0
    card = read_card(tmp_path / "here" / "run")
    assert card.recipe.data == str(tmp_path / "here" / "d")
    monkeypatch.chdir(tmp_path / "there")
    assert (
        load_recipe_data(card.recipe, trained_on=card.data)[0].fingerprint == card.data.fingerprint
    )
    relative = card.recipe.replace(data="d")  # as an older version wrote it
    with pytest.raises(
        PilotageError, match=r"data is d: its images, .* are not those that the run"
    ):
        load_recipe_data(relative, trained_on=card.data)
    path = tmp_path / "here" / "run" / "recipe.yaml"
    path.write_text(path.read_text().replace(card.recipe.data, "d"))
    assert yaml.safe_load(path.read_text())["recipe"]["data"] == "d"
    assert main(["sweep", str(path.parent), "--w", "0", "--samples", "8", "--steps", "2"]) == 2
    assert not (path.parent / "sweep").exists()


def test_skip_bad_is_a_flag_and_may_change(tmp_path, capsys):

    class_folders(tmp_path / "d", ("a", "b"), 6, (8, 8))
    (tmp_path / "d" / "a" / "bad.png").write_bytes(b"no image")
    out = tmp_path / "run"
    assert train(out, "--data", str(tmp_path / "d"), steps=1) == 2
    assert not out.exists()
    assert train(out, "--data", str(tmp_path / "d"), "--skip-bad", steps=1) == 0
    assert "bad.png" in capsys.readouterr().err
    (tmp_path / "d" / "a" / "bad.png").unlink()
    assert train(out, "--data", str(tmp_path / "d"), steps=2) == 0


def test_a_bomb_of_aliases_prints_one_short_line(tmp_path):
    levels = "\n".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 9))
    (tmp_path / "recipe.yaml").write_text(f"a0: &a0 [x]\n{levels}\nversion: *a8\n")
    answer = pilotage("sample", tmp_path)
    assert answer.returncode == 2
    assert len(answer.stderr) < 500


def test_logs_are_on_disk_before_a_checkpoint_is(tmp_path, monkeypatch):
    from pilotage.training import state

    def sync(path):
        synced.append((path.name, (out / "state" / "step-000000002").exists()))

    out, synced = tmp_path / "run", []
    monkeypatch.setattr(state, "sync", sync)
    assert train(out, steps=2) == 0
    assert ("metrics.jsonl", False) in synced


@pytest.mark.parametrize("labels", [[0.5, 1, 2], [0, 1], 3, ["a", "b", "c"], [[0], [1], [2]]])
def test_odd_labels_of_images_that_are_measured(tmp_path, capsys, labels):
    np.savez(tmp_path / "a.npz", images=np.zeros((3, 8, 8, 1), np.uint8), labels=labels)
    assert main(["evaluate", str(tmp_path / "a.npz"), "--data", "digits"]) == 2
    assert "its labels are" in capsys.readouterr().err
