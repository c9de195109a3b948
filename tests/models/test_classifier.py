"""Noisy classifiers: trained, resumed, measured by noise level, and guiding."""

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pilotage
from helpers import TINY, contents, train
from pilotage.cli.main import main
from pilotage.diffusion import NoisyClassifier, TruncatedCosine, classifier, clip_x, sample
from pilotage.diffusion.guidance import BrokenGuidanceError
from pilotage.errors import PilotageError
from pilotage.models.run_folder import checkpoints, state_folder
from pilotage.sweep.table import read_rows, table_path
from pilotage.training.health import LEVELS, measure_levels

EXAMPLE = Path(__file__).parents[2] / "examples" / "steer_by_brightness.py"


def train_classifier(out, *flags, preset="digits", steps=12):
    return train(out, "--objective", "classifier", *flags, preset=preset, steps=steps)


@pytest.fixture(scope="module")
def tiny_classifier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifiers") / "tiny"
    assert train_classifier(folder, "--checkpoint-every", "6") == 0
    return folder


def refused(capsys, *arguments):
    assert main([str(a) for a in arguments]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ")
    return said


# training


def test_it_has_a_run_folder_like_any_other(tiny_classifier):
    names = set(contents(tiny_classifier))
    assert {"recipe.yaml", "model.safetensors", "ema.safetensors", "metrics.jsonl"} <= names
    assert [step for step, _ in checkpoints(tiny_classifier)] == [6, 12]
    lines = [json.loads(x) for x in (tiny_classifier / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert all(0 <= line["accuracy"] <= 1 for line in lines)


def test_stopped_and_continued_equals_uninterrupted(tmp_path):
    flags = ["--checkpoint-every", "4", "--network.dropout", "0.1", "--sample-every", "3"]
    train_classifier(tmp_path / "whole", *flags)
    train_classifier(tmp_path / "parts", *flags, steps=5)
    train_classifier(tmp_path / "parts", *flags)
    whole, parts = (contents(state_folder(tmp_path / name, 12)) for name in ("whole", "parts"))
    assert whole == parts
    for name in ("metrics.jsonl",):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_noise_levels_are_written_and_drawn(tiny_classifier):
    lines = (tiny_classifier / "noise_levels.jsonl").read_text().splitlines()
    levels = json.loads(lines[-1])["levels"]
    assert len(levels) == LEVELS
    assert [x["lam"] for x in levels] == sorted((x["lam"] for x in levels), reverse=True)
    with Image.open(tiny_classifier / "samples" / "step-000000012-noise-levels.png") as picture:
        assert picture.width > 300


def test_it_learns_clean_digits_and_knows_nothing_of_noise(tmp_path):
    flags = ["--network.channels", "16", "--learning-rate", "3e-3", "--ema-decay", "0.9"]
    assert train_classifier(tmp_path / "c", *flags, "--batch-size", "32", steps=150) == 0
    last = (tmp_path / "c" / "noise_levels.jsonl").read_text().splitlines()[-1]
    levels = json.loads(last)["levels"]
    assert levels[0]["accuracy"] > 0.8
    assert levels[-1]["accuracy"] < 0.35
    assert levels[-1]["confidence"] < 0.35  # and it says so


def test_calibration_of_a_known_classifier():
    """p = 0.9 for class 0 whatever it sees, and 6 of 10 examples are of class 0."""
    logits = torch.tensor([[0.9, 0.1]]).log()
    known = NoisyClassifier(lambda z, time: logits.expand(len(z), 2))
    labels = torch.tensor([0] * 6 + [1] * 4)
    for level in measure_levels(known, TruncatedCosine(), torch.zeros(10, 1, 2, 2), labels):
        assert level.accuracy == pytest.approx(0.6)
        assert level.confidence == pytest.approx(0.9)
        assert level.calibration_error == pytest.approx(0.3, abs=1e-6)
        assert level.log_loss == pytest.approx(-0.6 * np.log(0.9) - 0.4 * np.log(0.1), rel=1e-5)


# guiding


def test_the_gradient_is_float32_whatever_the_network_runs_in():
    def network(z, time):
        assert z.dtype == torch.float32
        return torch.stack([z.flatten(1).sum(1), z.flatten(1).sum(1) * 0], 1).bfloat16()

    z = torch.randn(3, 1, 2, 2)
    log_prob = NoisyClassifier(network).log_prob(z, torch.zeros(3), torch.tensor([0, 1, 0]))
    assert log_prob.dtype == torch.float32


def test_strength_0_is_the_model_and_others_are_not(tiny_run, tiny_classifier):
    run, guide = pilotage.load_run(tiny_run), pilotage.load_classifier(tiny_classifier)
    how = {"seeds": range(10), "steps": 4}
    plain = run.sample(**how)
    assert torch.equal(run.sample(classifier=guide, **how), plain)
    for shift in ("eps", "mean"):
        guided = run.sample(classifier=guide, w=5.0, classifier_shift=shift, **how)
        assert not torch.equal(guided, plain)
        assert guided.abs().max() <= 1


def test_both_kinds_of_guidance_at_once(tiny_run, tiny_classifier):
    run, guide = pilotage.load_run(tiny_run), pilotage.load_classifier(tiny_classifier)
    how = {"seeds": range(10), "steps": 4, "sampler": "ddim"}
    free = run.sample(w=2.0, **how)
    both = run.sample(classifier=guide, w=0.0, classifier_free_w=2.0, **how)
    assert torch.equal(free, both)
    assert not torch.equal(run.sample(classifier=guide, w=1.0, classifier_free_w=2.0, **how), both)


def test_an_unconditional_run_is_guided_from_its_null(tmp_path, tiny_classifier):
    train(tmp_path / "u", "--p-uncond", "1", steps=3)
    run = pilotage.load_run(tmp_path / "u")
    resolved = run.resolve(classifier=tiny_classifier, w=1.0)
    assert resolved.guidance.classifier_free_w == -1


def test_a_callable_guides_without_any_classifier(tiny_run):
    """Brightness of the left half, as a score of z."""
    run = pilotage.load_run(tiny_run)

    def left(z, lam, cond):
        return z[..., :4].mean(dim=(1, 2, 3))

    def brightness(w):
        guided = clip_x(classifier(run.denoiser, left, w))
        start = torch.randn(8, *run.shape, generator=torch.Generator().manual_seed(0))
        *_, last = sample(guided, start, run.levels(8), pilotage.diffusion.ddim(), torch.arange(8))
        return last.z[..., :4].mean()

    assert brightness(20.0) > brightness(0.0) > brightness(-20.0)


def test_a_broken_gradient_names_step_and_lam(tiny_run, tiny_classifier):
    run, guide = pilotage.load_run(tiny_run), pilotage.load_classifier(tiny_classifier)
    for parameter in guide.network.parameters():
        parameter.fill_(torch.nan)
    with pytest.raises(BrokenGuidanceError, match=r"step 1 of 4: .* lam = -20 is not finite"):
        run.sample(classifier=guide, w=1.0, steps=4)


def test_the_record_names_both_strengths(tiny_run, tiny_classifier, tmp_path):
    out = tmp_path / "s.npz"
    guide = ["--classifier", tiny_classifier, "--classifier-free-w", "0.5", "--w", "2"]
    arguments = ["sample", tiny_run, *guide, "--steps", "3", "--seeds", "0:10", "--out", out]
    assert main([str(word) for word in arguments]) == 0
    record = json.loads((tmp_path / "s.npz.json").read_text())
    assert (record["w"], record["classifier_free_w"]) == (2.0, 0.5)
    assert record["classifier"] == str(tiny_classifier)
    assert "guidance_scale" not in record


def test_sweeps_keep_the_two_kinds_apart(tiny_run, tiny_classifier, tmp_path):

    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    grid = ["--w", "0", "1", "--steps", "2", "--samples", "20", "--force"]
    assert main(["sweep", str(folder), *grid]) == 0
    assert main(["sweep", str(folder), *grid, "--classifier", str(tiny_classifier)]) == 0
    rows = [row for row in read_rows(table_path(folder)) if row["kind"] == "sample"]
    assert len({row["id"] for row in rows}) == 4
    free, guided = rows[:2], rows[2:]
    assert free[0]["metrics"] == guided[0]["metrics"]  # w = 0 is the same model
    assert free[1]["metrics"] != guided[1]["metrics"]
    assert all(row["guidance"] == "classifier" for row in guided)


# bad input


def test_what_does_not_fit_is_refused_by_name(tiny_run, tiny_classifier, tmp_path, capsys):
    sample_with = ("sample", tiny_run, "--out", tmp_path / "s.png", "--classifier")
    assert "a denoiser, not a classifier" in refused(capsys, *sample_with, tiny_run)
    train_classifier(tmp_path / "levels", "--lam-max", "10", steps=1)
    assert "noise levels" in refused(capsys, *sample_with, tmp_path / "levels")
    train_classifier(tmp_path / "size", "--size", "12", "12", steps=1)
    assert "image shape" in refused(capsys, *sample_with, tmp_path / "size")
    make_folder(tmp_path / "data", size=(8, 8))
    train_classifier(tmp_path / "classes", "--data", str(tmp_path / "data"), steps=1)
    assert "classes" in refused(capsys, *sample_with, tmp_path / "classes")
    assert "holds a classifier" in refused(capsys, "sample", tiny_classifier)
    assert not (tmp_path / "s.png").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"classifier_free_w": 1.0}, "classifier_free_w is 1.0: it needs a classifier"),
        ({"classifier_shift": "mean"}, "classifier_shift is mean: it needs a classifier"),
    ],
)
def test_settings_of_a_classifier_that_is_not_there(tiny_run, settings, words):
    with pytest.raises(PilotageError, match=words):
        pilotage.load_run(tiny_run).resolve(**settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"classifier_shift": "mean", "sampler": "ddim"}, "needs the ancestral sampler"),
        ({"guidance_scale": 2.0}, "give w and classifier_free_w"),
        ({"w": float("nan")}, "w is nan"),
    ],
)
def test_settings_that_do_not_go_together(tiny_run, tiny_classifier, settings, words):
    with pytest.raises(PilotageError, match=words):
        pilotage.load_run(tiny_run).resolve(classifier=tiny_classifier, **settings)


def test_a_run_of_the_other_kind_is_not_trained_on(tiny_classifier, tiny_run, capsys):
    assert "objective" in refused(
        capsys, "train", "digits", "--out", tiny_classifier, "--steps", "13", *TINY
    )
    assert "start_from is" in refused(
        capsys, "train", "--from", tiny_classifier, "--out", tiny_classifier
    )


# start from a run


def test_training_starts_from_another_run(tiny_run, tmp_path):
    source = ["train", "--from", str(tiny_run)]
    assert main([*source, "--out", str(tmp_path / "a"), "--steps", "1", "--p-uncond", "0.2"]) == 0
    first, own = (pilotage.load_run(x, weights="ema") for x in (tiny_run, tmp_path / "a"))
    assert own.card.recipe.start_from == str(tiny_run)
    # one step of a warmed-up AdamW moves a weight by no more than the first learning rate
    rate = own.card.recipe.learning_rate_at(1)
    for a, b in zip(first.network.parameters(), own.network.parameters(), strict=True):
        assert (a - b).abs().max() <= 1.01 * rate


def test_a_start_with_other_classes_keeps_all_but_the_labels(tiny_run, tmp_path):
    make_folder(tmp_path / "data", size=(8, 8))
    flags = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "b"), "--steps", "1"]
    assert main(["train", "--from", str(tiny_run), *flags]) == 0
    assert pilotage.load_run(tmp_path / "b").classes == ("ant", "bee", "cat")


def test_a_start_that_does_not_fit(tiny_run, tmp_path, capsys):
    flags = ["--network.channels", "16", "--out", tmp_path / "c"]
    said = refused(capsys, "train", "--from", tiny_run, *flags)
    assert "do not fit" in said
    assert not (tmp_path / "c").exists()
    assert "--from is missing its value" in refused(capsys, "train", "--out", "x", "--from")


# everything on a user's own folder


def make_folder(root, size):
    """Three classes of grey images that differ in brightness."""
    random = np.random.default_rng(0)
    for level, name in enumerate(("ant", "bee", "cat")):
        (root / name).mkdir(parents=True)
        for k in range(12):
            pixels = random.integers(80 * level, 80 * level + 60, size, dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{k}.png")


def test_three_folders_of_odd_images_from_training_to_report(tmp_path):
    make_folder(tmp_path / "data", size=(28, 20))
    data = ["--data", str(tmp_path / "data")]
    run, guide = str(tmp_path / "run"), str(tmp_path / "clf")
    assert train(run, *data, preset="mnist", steps=3) == 0
    assert train_classifier(guide, *data, preset="mnist", steps=3) == 0
    steer = ["--classifier", guide, "--w", "1", "--steps", "3"]
    assert main(["sample", run, *steer, "--out", str(tmp_path / "s.png")]) == 0
    grid = ["--w", "0", "1", "--steps", "2", "--samples", "12", "--force"]
    assert main(["sweep", run, "--classifier", guide, *grid]) == 0
    assert main(["report", run, guide]) == 0
    assert "classifier" in (tmp_path / "run" / "report.html").read_text()
    with Image.open(tmp_path / "s.png") as x:
        assert x.width > 20


def test_the_example_steers_brightness(tiny_run, tmp_path, capsys):
    example = runpy.run_path(str(EXAMPLE))
    example["main"](tiny_run, tmp_path / "steer.png", w=(-30.0, 0.0, 30.0), steps=8)
    said = capsys.readouterr().out.splitlines()
    moved = [float(line.split("half ")[1].split()[0]) for line in said[:3]]
    assert moved == sorted(moved)
    assert moved[0] < moved[1] < moved[2]
    with Image.open(tmp_path / "steer.png") as picture:
        assert picture.width > 100
