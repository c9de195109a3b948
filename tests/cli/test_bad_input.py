"""Every mistake: one sentence, exit status 2, nothing written."""

import os
import pickle
import struct

import numpy as np
import pytest
import yaml
from PIL import Image

from helpers import TINY, contents, pilotage, train
from pilotage.cli.main import main


def refused(capsys, *arguments):
    """The one sentence that a command is refused with."""
    assert main([str(a) for a in arguments]) == 2
    lines = [x for x in capsys.readouterr().err.splitlines() if x]
    sentences = [line for line in lines if line.startswith("error: ")]
    assert len(sentences) == 1, lines
    assert lines[-1] == sentences[0]
    return sentences[0]


def save_images(folder, classes=("a", "b"), count=3, side=8):
    for name in classes:
        (folder / name).mkdir(parents=True)
        for k in range(count):
            pixels = np.random.default_rng(k).integers(0, 255, (side, side), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{k}.png")
    return folder


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--data", "/nowhere/at/all"], "/nowhere/at/all"),
        (["--steps", "0"], "steps is 0"),
        (["--steps", "many"], "steps is 'many': it must be a whole number"),
        (["--size", "28"], "size is ['28']: it must be 2 values"),
        (["--clip-norm", "x"], "clip_norm is 'x': it must be a number"),
        (["--betas", "1", "x"], "betas has 'x': it must be a number"),
        (["--lam-min", "3", "--lam-max", "3"], "lam_min is 3.0 and lam_max is 3.0"),
        (["--lam-min", "30"], "lam_min is 30.0 and lam_max is 20.0"),
        (["--p-uncond", "1.5"], "p_uncond is 1.5"),
        (["--p-uncond", "nan"], "p_uncond is nan"),
        (["--learning-rate", "inf"], "learning_rate is inf"),
        (["--accumulate", "3"], "accumulate is 3"),
        (["--flavour", "sweet"], "--flavour"),
        (["--network.head-channels", "7"], "head_channels"),
        (["--held-out", "1"], "held_out is 1.0"),
        (["--size", "0", "4"], "size"),
        (["--predicts", "y"], "'y'"),
    ],
)
def test_train_settings(tmp_path, capsys, flags, said):
    out = tmp_path / "run"
    command = ["train", "digits", "--out", out, *TINY]
    assert said in refused(capsys, *command, *flags)
    assert not out.exists()


def test_unknown_preset_and_command(capsys):
    assert "preset is 'digitz': it must be one of digits" in refused(capsys, "train", "digitz")
    assert "command is 'trian'" in refused(capsys, "trian")
    assert "out is missing: it must be the run folder" in refused(capsys, "train", "digits")
    assert "preset is missing: `pilotage train` needs one of digits, mnist" in refused(
        capsys, "train", "--out", "x"
    )
    with pytest.raises(SystemExit):
        main([])
    assert "usage: pilotage" in capsys.readouterr().out


def test_empty_folder(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    command = ["train", "digits", "--out", tmp_path / "run", "--data", tmp_path / "data"]
    assert str(tmp_path / "data") in refused(capsys, *command)
    assert not (tmp_path / "run").exists()


def test_unreadable_image_is_named(tmp_path, capsys):
    data = save_images(tmp_path / "data")
    (data / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    command = ["train", "digits", "--out", tmp_path / "run", "--data", data]
    assert "broken.png" in refused(capsys, *command)
    assert not (tmp_path / "run").exists()


def test_one_class_is_allowed_and_said(tmp_path, capsys):
    data = save_images(tmp_path / "data", classes=["only"])
    assert train(tmp_path / "run", "--data", str(data), steps=2) == 0
    assert "only one class ('only')" in capsys.readouterr().err


def test_out_that_holds_something_else(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "out is " in refused(capsys, "train", "digits", "--out", tmp_path, *TINY)
    assert list(contents(tmp_path)) == ["thesis.txt"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--w", "nan"], "w is nan"),
        (["--w", "inf"], "w is inf"),
        (["--w", "two"], "w is 'two': it must be a number"),
        (["--eta", "0.5"], "eta is 0.5: it must go with the ddim sampler"),
        (["--v", "0.5", "--sampler", "ddim"], "v is 0.5"),
        (["--up-steps", "5"], "up_steps is 5: it needs a cascade"),
        (["--guidance-scale", "nan"], "guidance_scale is nan"),
        (["--w", "1", "--guidance-scale", "2"], "w is 1.0 and guidance_scale is 2.0"),
        (["--steps", "0"], "steps is 0"),
        (["--batch-size", "0"], "batch_size is 0"),
        (["--labels", "10"], "labels has '10'"),
        (["--labels", "-1"], "-1"),
        (["--labels", "seven"], "labels has 'seven'"),
        (["--seeds", "3:3"], "seeds has '3:3'"),
        (["--seeds", "a:b"], "seeds has 'a:b'"),
        (["--seeds", "99999999999999999999"], "seed"),
        (["--labels", "1", "2", "--seeds", "0"], "seeds has 1 for 2 labels"),
        (["--guidance-interval", "2", "-2"], "guidance_interval is (2.0, -2.0)"),
        (["--sampler", "magic"], "sampler is 'magic': it must be one of ancestral, ddim"),
        (["--eta", "2"], "eta is 2.0"),
        (["--v", "-0.1"], "v is -0.1"),
        (["--noise", "loud"], "--noise"),
    ],
)
def test_sample_settings(tiny_run, tmp_path, capsys, flags, said):
    out = tmp_path / "x.png"
    assert said in refused(capsys, "sample", tiny_run, "--out", out, *flags)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["grid.jpg", "arrays.npy", "file/x.png", "full"])
def test_out_that_cannot_be_written(tiny_run, tmp_path, capsys, name):
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.png").write_bytes(b"mine")
    before = contents(tmp_path)
    assert "out is " in refused(capsys, "sample", tiny_run, "--out", tmp_path / name)
    assert contents(tmp_path) == before


def test_train_into_an_impossible_place(capsys):
    assert "/dev/null" in refused(capsys, "train", "digits", "--out", "/dev/null/x", *TINY)


def test_half_a_split_layout_is_not_taken_for_classes(tmp_path, capsys):
    for split in ("Train", "unlabeled"):
        save_images(tmp_path / "data" / split)
    command = ["train", "digits", "--out", tmp_path / "run", "--data", tmp_path / "data", *TINY]
    assert "not all folders beside it are splits" in refused(capsys, *command)


def test_sample_without_a_run(tmp_path, capsys):
    assert "no such folder" in refused(capsys, "sample", tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    assert "not a run folder" in refused(capsys, "sample", tmp_path / "empty")


@pytest.fixture
def broken_run(tiny_run, tmp_path):
    """A copy of the tiny run that a test may damage."""
    import shutil

    return shutil.copytree(tiny_run, tmp_path / "broken")


class Payload:
    """A pickle that would make a file if it were ever loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["model", "ema"])
def test_truncated_weights(broken_run, tmp_path, capsys, name):
    file = broken_run / f"{name}.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    out = tmp_path / "x.png"
    assert f"{name}.safetensors" in refused(capsys, "sample", broken_run, "--out", out)
    assert not out.exists()


@pytest.mark.parametrize("name", ["model", "ema"])
def test_pickle_in_place_of_weights_does_not_run(broken_run, tmp_path, capsys, name):
    mark = tmp_path / "payload-ran"
    payload = pickle.dumps(Payload(mark))
    pickle.loads(payload)  # noqa: S301 (it does run where something unpickles it)
    assert mark.exists()
    mark.rmdir()
    (broken_run / f"{name}.safetensors").write_bytes(payload)
    assert f"{name}.safetensors" in refused(capsys, "sample", broken_run)
    assert not mark.exists()


def test_pickle_in_a_torch_file_does_not_run(tmp_path):
    from pilotage.errors import PilotageError
    from pilotage.interop import load_unet

    mark = tmp_path / "payload-ran"
    (tmp_path / "weights.pt").write_bytes(pickle.dumps(Payload(mark)))
    config = {
        **{"in_channels": 3, "out_channels": 3, "model_channels": 32},
        **{"num_res_blocks": 1, "attention_resolutions": [2], "channel_mult": [1, 2]},
    }
    with pytest.raises(PilotageError, match=r"weights\.pt"):
        load_unet(tmp_path / "weights.pt", config=config)
    assert not mark.exists()


def test_weights_of_another_network(broken_run, capsys):
    from safetensors.torch import load_file, save_file

    file = broken_run / "ema.safetensors"
    tensors = load_file(file)
    first = sorted(tensors)[0]
    tensors["stranger"] = tensors.pop(first)
    save_file(tensors, file, {"step": "12"})
    assert "does not hold this run's weights" in refused(capsys, "sample", broken_run)


def test_safetensors_with_a_lying_header(broken_run, capsys):
    (broken_run / "model.safetensors").write_bytes(struct.pack("<Q", 2**40) + b"{}")
    assert "model.safetensors" in refused(capsys, "sample", broken_run)


def test_run_folder_from_a_newer_version(broken_run, capsys):
    path = broken_run / "recipe.yaml"
    card = yaml.safe_load(path.read_text())
    card["version"] = 99
    card["recipe"]["not_yet_invented"] = True
    path.write_text(yaml.safe_dump(card))
    before = contents(broken_run)
    assert "version 99" in refused(capsys, "sample", broken_run)
    assert "version 99" in refused(capsys, "train", "digits", "--out", broken_run, *TINY)
    assert contents(broken_run) == before


@pytest.mark.parametrize("text", ["", "]]", "recipe: 3\nversion: 1", "version: one"])
def test_damaged_card(broken_run, capsys, text):
    (broken_run / "recipe.yaml").write_text(text)
    assert "recipe.yaml" in refused(capsys, "sample", broken_run)


def test_exit_status_reaches_the_shell(tmp_path):
    answer = pilotage("train", "digits", "--out", tmp_path / "run", "--steps", "0")
    assert answer.returncode == 2
    assert answer.stderr == ("error: steps is 0: it must be greater than or equal to 1.\n")
    assert answer.stdout == ""
