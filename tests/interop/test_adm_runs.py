"""Checkpoints of guided-diffusion as runs, and runs as such checkpoints and back."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import pilotage
from helpers import contents, train
from interop.foreign import import_refused, refused, run_import
from pilotage.cli.main import main
from pilotage.interop import export_classifier, export_unet
from pilotage.networks import EncoderPlan, UNet, UNetEncoder, UNetPlan


def flags_of(options):
    """The options of an export as flags of an import."""
    words = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words += [flag] if value else []
        elif value is not None:
            words += [flag, *map(str, value if isinstance(value, list) else [value])]
    return words


def unet(**settings):
    torch.manual_seed(0)
    small = {"channels": 32, "channel_mult": (1, 2), "num_res_blocks": 1, "head_channels": 16}
    return UNet(
        UNetPlan(**{**small, "attention_resolutions": (2,), "zero_init": False, **settings})
    )


@pytest.fixture
def foreign(tmp_path):
    """A conditional network with a learned variance, as guided-diffusion saves it."""
    path = tmp_path / "adm.pt"
    torch.save(export_unet(unet(num_classes=3, learned_variance=True)), path)
    return path


IMPORT = ["--head-channels", "16", "--schedule", "linear", "--size", "8", "8"]


def imported(tmp_path, path, *flags):
    out = tmp_path / "imported"
    assert run_import("adm", path, out, *IMPORT, *flags) == 0
    return out


def test_our_own_run_there_and_back_gives_the_same_images(tiny_run, tmp_path):
    assert main(["export", "adm", str(tiny_run), str(tmp_path / "w.safetensors")]) == 0
    options = json.loads((tmp_path / "w.safetensors.json").read_text())["import"]
    back = tmp_path / "back"
    assert run_import("adm", tmp_path / "w.safetensors", back) == 0
    (tmp_path / "w.safetensors.json").unlink()  # the same with the options by hand
    again = tmp_path / "again"
    assert run_import("adm", tmp_path / "w.safetensors", again, *flags_of(options)) == 0
    assert contents(back) == contents(again)
    ours, theirs = pilotage.load_run(tiny_run), pilotage.load_run(back)
    assert theirs.classes == ours.classes
    how = {"seeds": range(10), "w": 1.5, "steps": 5}
    assert torch.equal(ours.sample(**how), theirs.sample(**how))


def test_a_classifier_there_and_back_guides_the_same(tiny_run, tmp_path):
    clf = str(tmp_path / "clf")
    assert train(clf, "--objective", "classifier", steps=3) == 0
    assert main(["export", "adm", clf, str(tmp_path / "c.safetensors")]) == 0
    back = str(tmp_path / "back")
    assert run_import("adm", tmp_path / "c.safetensors", back) == 0
    run = pilotage.load_run(tiny_run)
    how = {"seeds": range(10), "w": 3.0, "steps": 4}
    assert torch.equal(run.sample(classifier=clf, **how), run.sample(classifier=back, **how))


def test_an_imported_run_samples_with_its_own_levels_and_variance(foreign, tmp_path):
    run = pilotage.load_run(imported(tmp_path, foreign))
    assert run.classes == ("0", "1", "2")
    assert run.schedule.count == 1000
    for steps, count in (("ddim25", 25), ("3,2,1", 6), (7, 7)):
        assert len(run.levels(steps)) == count
    resolved = run.resolve(steps=3)
    assert resolved.sampler.v == "learned"
    images = run.sample(steps=3, seeds=range(6))
    assert images.shape == (6, 3, 8, 8)
    assert not torch.equal(images, run.sample(steps=3, seeds=range(6), v=0.0))


def test_it_trains_on_with_the_users_images(foreign, tmp_path):
    folder = imported(tmp_path, foreign)
    for k, name in enumerate(("ant", "bee")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(6):
            pixels = np.full((8, 8, 3), 90 * k + i, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    out = str(tmp_path / "tuned")
    start = ["train", "--from", str(folder), "--data", str(tmp_path / "data"), "--out", out]
    how = ["--steps", "2", "--batch-size", "4", "--network.null-class", "--p-uncond", "0.2"]
    assert main([*start, *how]) == 0
    run = pilotage.load_run(out)
    assert run.classes == ("ant", "bee")
    assert run.card.recipe.objective == "hybrid"
    line = json.loads((tmp_path / "tuned" / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"simple", "vlb"} <= line.keys()


def test_no_images_no_sweep(foreign, tmp_path, capsys):
    folder = imported(tmp_path, foreign)
    assert "imported without any images" in refused(capsys, "sweep", folder, "--samples", "4")
    assert "imported without any images" in refused(
        capsys, "train", "--from", folder, "--out", tmp_path / "x"
    )


def test_an_unconditional_network_is_guided_by_a_classifiers_classes(tmp_path, capsys):
    torch.save(export_unet(unet(learned_variance=True)), tmp_path / "u.pt")
    encoder = UNetEncoder(EncoderPlan(
        size=(8, 8), classes=4, channels=32, channel_mult=(1, 2), num_res_blocks=1,
        attention_resolutions=(2,), head_channels=16,
    ))  # fmt: skip
    save_file(export_classifier(encoder), tmp_path / "c.safetensors")
    run = pilotage.load_run(imported(tmp_path, tmp_path / "u.pt"))
    clf = str(tmp_path / "clf")
    blocks = ["--num-res-blocks", "1"]
    assert run_import("adm", tmp_path / "c.safetensors", clf, *IMPORT, *blocks) == 0
    assert run.classes == ()
    assert run.sample(seeds=range(2), steps=2).shape == (2, 3, 8, 8)
    guided = run.resolve(["1", "3"], seeds=range(4), classifier=clf, w=1.0)
    assert guided.conditions == (1, 3, 1, 3)
    assert "no classes, so it must be 0" in refused(
        capsys, "sample", tmp_path / "imported", "--w", "1"
    )


def test_a_network_without_null_has_no_classifier_free_guidance(foreign, tmp_path, capsys):
    folder = imported(tmp_path, foreign)
    assert "no null label" in refused(capsys, "sample", folder, "--w", "1")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--schedule", "linear", "--size", "8", "8"], "heads and head_channels"),
        (["--head-channels", "16", "--size", "8", "8"], "schedule is missing"),
        (["--head-channels", "16", "--schedule", "linear"], "size is missing"),
        ([*IMPORT, "--head-channels", "24"], "head_channels"),
        ([*IMPORT, "--preset", "imagenet"], "preset is 'imagenet'"),
        (["--preset", "256x256_diffusion", "--schedule", "cosine"], "schedule is 'cosine'"),
    ],
)
def test_options_that_are_missing_or_wrong(foreign, tmp_path, capsys, flags, words):
    out = tmp_path / "x"
    assert words in import_refused(capsys, "adm", foreign, out, *flags)
    assert not out.exists()


def test_tensors_that_are_missing_or_extra_are_listed(foreign, tmp_path, capsys):
    tensors = torch.load(foreign, weights_only=True)
    tensors.pop("middle_block.1.qkv.bias")
    tensors["surplus"] = torch.zeros(1)
    save_file(tensors, tmp_path / "t.safetensors")
    said = import_refused(capsys, "adm", tmp_path / "t.safetensors", "x", *IMPORT)
    assert "middle_block.1.qkv.bias" in said
    assert "surplus" in said


def test_a_json_file_that_is_no_export(foreign, tmp_path, capsys):
    foreign.with_name("adm.pt.json").write_text("{}")
    said = import_refused(capsys, "adm", foreign, tmp_path / "x", *IMPORT)
    assert "must hold the options of an export" in said


def test_class_names(foreign, tmp_path, capsys):
    names = tmp_path / "names.txt"
    names.write_text("ant\nbee\ncat\n")
    assert pilotage.load_run(imported(tmp_path, foreign, "--class-names", str(names))).classes == (
        "ant",
        "bee",
        "cat",
    )
    names.write_text("ant\n")
    flags = [*IMPORT, "--class-names", names]
    assert "1 names" in import_refused(capsys, "adm", foreign, tmp_path / "y", *flags)


def test_nothing_is_overwritten(foreign, tiny_run, tmp_path, capsys):
    (tmp_path / "old.safetensors").write_bytes(b"mine")
    assert "nothing is overwritten" in refused(
        capsys, "export", "adm", tiny_run, tmp_path / "old.safetensors"
    )
    assert (tmp_path / "old.safetensors").read_bytes() == b"mine"
    folder = imported(tmp_path, foreign)
    mode = (folder / "ema.safetensors").stat().st_mode
    assert mode == (folder / "recipe.yaml").stat().st_mode
    assert "nothing is overwritten" in import_refused(capsys, "adm", foreign, folder, *IMPORT)


def test_hybrid_from_scratch(tmp_path):
    assert train(tmp_path / "h", "--objective", "hybrid", "--predicts", "eps", steps=3) == 0
    assert train(tmp_path / "l", "--objective", "hybrid", "--schedule", "linear", steps=3) == 0
    for name in "hl":
        run = pilotage.load_run(tmp_path / name)
        assert run.resolve().sampler.v == "learned"
        assert run.sample(steps=4).isfinite().all()
    assert load_file(tmp_path / "h" / "ema.safetensors")["out.weight"].shape[0] == 2
