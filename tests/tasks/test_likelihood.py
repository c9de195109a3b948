"""Likelihoods in bits per dimension: of any kind of run, whatever the batches and processes."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import pilotage
from helpers import TINY, TWO_PROCESSES, contents, train
from helpers import pilotage as command
from pilotage.cli.main import main
from pilotage.data.codecs import codec_bits
from pilotage.models.run_folder import state_folder
from pilotage.settings import LikelihoodSettings
from pilotage.tasks.likelihood import PARTS, likelihood

VDM = ["--objective", "vdm", "--schedule", "learned", "--lam-min", "-5", "--lam-max", "13.3"]


@pytest.fixture(scope="module")
def vdm_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vdm") / "run"
    flags = [*VDM, "--network.fourier", "6", "7", "--checkpoint-every", "6"]
    assert train(folder, *flags, steps=12) == 0
    return folder


def measured(folder, **settings):
    settings = {"evaluations": 2, "images": 20, **settings}
    return likelihood(LikelihoodSettings(run_folder=folder, **settings))


def refused(capsys, *arguments):
    assert main([str(a) for a in arguments]) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


# training


def test_the_schedule_is_trained_saved_and_sampled(vdm_run):
    run = pilotage.load_run(vdm_run)
    assert run.schedule.lam_max != pytest.approx(13.3, abs=1e-6)
    assert run.noise_levels["lam_max"] == run.schedule.lam_max
    assert "schedule.ends" in run.network.state_dict()
    lams = run.levels(6)
    assert (lams.diff() > 0).all()
    guided = run.sample(w=2.0, steps=3, seeds=range(10))
    assert not torch.equal(guided, run.sample(w=0.0, steps=3, seeds=range(10)))
    line = json.loads((vdm_run / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"prior", "reconstruction", "diffusion"} <= line.keys()


def test_stopped_and_continued_equals_uninterrupted(tmp_path):
    train(tmp_path / "whole", *VDM, "--checkpoint-every", "4", steps=8)
    train(tmp_path / "parts", *VDM, "--checkpoint-every", "4", steps=3)
    train(tmp_path / "parts", *VDM, "--checkpoint-every", "4", steps=8)
    whole, parts = (contents(state_folder(tmp_path / name, 8)) for name in ("whole", "parts"))
    assert whole == parts


@pytest.mark.slow
def test_a_learned_schedule_on_two_processes_is_the_same(tmp_path):
    for name, launcher in (("one", ()), ("two", TWO_PROCESSES)):
        arguments = ["train", "digits", "--out", tmp_path / name, "--steps", "6", *TINY, *VDM]
        answer = command(*arguments, launcher=launcher)
        assert answer.returncode == 0, answer.stderr
    one, two = (
        [json.loads(x) for x in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    for a, b in zip(one, two, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)
    ends = [pilotage.load_run(tmp_path / name).schedule.lam_max for name in ("one", "two")]
    assert ends[0] == pytest.approx(ends[1], abs=1e-4)


# likelihood


def test_batches_do_not_matter_and_seeds_do(vdm_run):
    whole = measured(vdm_run)
    parts = measured(vdm_run, batch_size=7)
    for part in PARTS:
        np.testing.assert_allclose(whole.values[part], parts.values[part], rtol=1e-5, atol=1e-6)
    other = measured(vdm_run, seed=1)
    assert not np.allclose(whole.values["diffusion"], other.values["diffusion"])


def test_parts_add_up_and_are_written(vdm_run, tmp_path, capsys):
    out = tmp_path / "values.csv"
    arguments = ["likelihood", vdm_run, "--images", "20", "--evaluations", "2", "--per-image", out]
    assert main([*map(str, arguments), "--codecs"]) == 0
    assert "bits per dimension" in capsys.readouterr().out
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == 20
    for row in rows:
        total = sum(float(row[part]) for part in PARTS[1:])
        assert float(row["bits_per_dimension"]) == pytest.approx(total, rel=1e-4)
    line = json.loads((vdm_run / "likelihood.jsonl").read_text().splitlines()[-1])
    mean = np.mean([float(row["bits_per_dimension"]) for row in rows])
    assert line["bits_per_dimension"][0] == pytest.approx(mean, rel=1e-4)
    assert line["codecs"]["PNG"] > 0


@pytest.mark.slow
def test_two_processes_give_the_same_answer(vdm_run, tmp_path):
    found = []
    for name, launcher in (("one", ()), ("two", TWO_PROCESSES)):
        out = tmp_path / f"{name}.csv"
        arguments = [
            "likelihood",
            vdm_run,
            "--images",
            "20",
            "--evaluations",
            "2",
            "--batch-size",
            "6",
        ]
        answer = command(*arguments, "--per-image", out, launcher=launcher)
        assert answer.returncode == 0, answer.stderr
        found.append(out.read_text())
    assert found[0] == found[1]


def test_finite_chains_cost_more_than_continuous_time(vdm_run):
    """Of a hardly trained model, by far more than the error."""
    coarse, fine = measured(vdm_run, steps=4), measured(vdm_run, evaluations=32)
    assert coarse.row["bits_per_dimension"][0] > fine.row["bits_per_dimension"][0]


def test_a_run_of_the_epsilon_loss_has_a_likelihood(tiny_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    row = measured(folder).row
    assert row["bits_per_dimension"][0] > 0
    assert row["reconstruction"][0] == pytest.approx(0, abs=1e-3)  # at lam 20 nothing is lost


def test_no_step_of_an_uneven_chain_is_missed(tiny_run, tmp_path):
    """At λ from −20 to 20 one step may hold nearly all of the bound, whatever the evaluations."""
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    few, many = measured(folder, steps=12), measured(folder, steps=12, evaluations=64)
    assert few.values["diffusion"].tolist() == many.values["diffusion"].tolist()
    seeds = [measured(folder, evaluations=64, seed=k).row["diffusion"][0] for k in range(3)]
    assert max(seeds) < 1.5 * min(seeds)


def test_a_run_with_timesteps_has_its_own_bound(tmp_path, capsys):
    train(tmp_path / "h", "--objective", "hybrid", "--schedule", "linear", steps=3)
    row = measured(tmp_path / "h", steps=5).row
    assert row["bits_per_dimension"][0] > 0
    assert row["schedule"] == "linear"
    assert "steps is inf" in refused(capsys, "likelihood", tmp_path / "h")
    assert "between 1 and 1000" in refused(capsys, "likelihood", tmp_path / "h", "--steps", "2000")


def test_unconditional(vdm_run):
    told, untold = measured(vdm_run), measured(vdm_run, unconditional=True)
    assert not np.allclose(told.values["diffusion"], untold.values["diffusion"])


# bad input


def test_no_held_out_images(tmp_path, capsys):
    for name in ("ant", "bee"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for k in range(4):
            Image.fromarray(np.full((8, 8), 40 * k, np.uint8)).save(
                tmp_path / "data" / name / f"{k}.png"
            )
    data = ["--data", str(tmp_path / "data"), "--held-out", "0"]
    train(tmp_path / "r", *data, steps=1)
    assert "it must have held-out images" in refused(capsys, "likelihood", tmp_path / "r")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--steps", "0"], "steps"),
        (["--v", "0.5"], "v is 0.5"),
        (["--per-image", "x.txt"], "must end in .csv"),
        (["--evaluations", "0"], "evaluations"),
    ],
)
def test_settings(vdm_run, capsys, flags, words):
    assert words in refused(capsys, "likelihood", vdm_run, *flags)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--schedule", "learned"], "objective must be vdm"),
        (["--objective", "vdm", "--schedule", "cosine"], "needs a continuous one"),
        ([*VDM, "--lam-max", "-6"], "lam_min must be below lam_max"),
        ([*VDM, "--bound-steps", "0"], "bound_steps"),
        ([*VDM, "--data-levels", "17"], "x is off the grid"),
    ],
)
def test_settings_of_training(tmp_path, capsys, flags, words):
    arguments = ["train", "digits", "--out", tmp_path / "x", "--steps", "1", *TINY, *flags]
    assert words in refused(capsys, *arguments)


def test_a_likelihood_of_a_classifier(tmp_path, capsys):
    out = tmp_path / "c"
    assert train(out, "--objective", "classifier", steps=1) == 0
    assert "holds a classifier" in refused(capsys, "likelihood", out)


def test_what_another_layout_cannot_hold_is_not_exported(vdm_run, tmp_path, capsys):
    assert "must have a fixed schedule" in refused(
        capsys, "export", "adm", vdm_run, tmp_path / "x.safetensors"
    )
    train(tmp_path / "f", "--network.fourier", "6", "7", steps=1)
    said = refused(capsys, "export", "adm", tmp_path / "f", tmp_path / "x.safetensors")
    assert "Fourier" in said
    assert not (tmp_path / "x.safetensors").exists()


# codecs


def test_codecs_on_what_is_known():
    noise = np.random.default_rng(0).integers(0, 256, (40, 3, 16, 16), dtype=np.uint8)
    for bits in codec_bits(noise).values():
        assert 8 <= bits < 9  # random bytes cannot be coded in less
    flat = np.zeros((40, 1, 16, 16), np.uint8)
    assert all(bits < 0.2 for bits in codec_bits(flat).values())
    with pytest.raises(pilotage.errors.PilotageError, match="1 or 3 channels"):
        codec_bits(np.zeros((2, 2, 4, 4), np.uint8))
