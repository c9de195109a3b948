"""What is damaged, diverged or too large is refused in a sentence, and nothing is lost by it."""

import json
import random
import shutil
from importlib import import_module

import pytest
import torch

from helpers import contents, train, train_gan
from pilotage.cli.main import main
from pilotage.errors import PilotageError
from pilotage.models.run_folder import checkpoints, state_folder
from pilotage.utils.files import read_metadata, read_tensors, write_tensors


@pytest.fixture
def copied(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "run")


def spoil(path, value):
    """Put a number into the first weight of a file, as a faulty tool would: with a right hash."""
    tensors, step = read_tensors(path), read_metadata(path)["step"]
    next(iter(tensors.values())).view(-1)[0] = value
    write_tensors(path, tensors, step=step)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "command",
    [["sample", "--out", "OUT"], ["sweep", "--w", "0", "--samples", "64"], ["likelihood"]],
    ids=lambda command: command[0],
)
def test_weights_that_are_not_finite_are_refused(copied, tmp_path, capsys, command, value):
    spoil(copied / "ema.safetensors", value)
    before, out = contents(copied), tmp_path / "a.png"
    words = [str(out) if word == "OUT" else word for word in command]
    assert main([words[0], str(copied), *words[1:]]) == 2
    assert "not finite" in capsys.readouterr().err
    assert contents(copied) == before
    assert not out.exists()


def test_samples_that_are_not_finite_are_refused(copied, tmp_path, capsys):
    large = {k: 1e30 * v for k, v in read_tensors(copied / "ema.safetensors").items()}
    write_tensors(copied / "ema.safetensors", large, step="12")
    out = tmp_path / "a.png"
    assert main(["sample", str(copied), "--labels", "3", "--seeds", "0:2", "--out", str(out)]) == 2
    assert "samples of seeds 0, 1 (2 of the batch) are not finite" in capsys.readouterr().err
    assert not out.exists()


def test_a_divergence_in_the_last_step_leaves_no_weights(tmp_path, capsys):
    out = tmp_path / "run"
    assert train(out, "--learning-rate", "1e38", "--warmup-steps", "0", steps=1) == 1
    assert "training diverged at step 1: the weights" in capsys.readouterr().err
    assert not checkpoints(out)
    assert not list(out.glob("*.safetensors"))
    assert train(out, steps=1) == 0, "a recipe is free until something was trained with it"


@pytest.mark.parametrize("name", ["ema", "model", "optimizer"])
def test_any_flipped_bit_of_weights_is_found(tiny_run, tmp_path, name):
    source = state_folder(tiny_run, 12) / f"{name}.safetensors"
    content, found = source.read_bytes(), read_tensors(source)
    draw, refused = random.Random(name), 0
    for _ in range(100):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        (path := tmp_path / "damaged.safetensors").write_bytes(damaged)
        try:
            tensors, step = read_tensors(path), read_metadata(path)["step"]
        except (PilotageError, KeyError):
            refused += 1
            continue
        assert step == "12"
        assert tensors.keys() == found.keys()
        assert all(torch.equal(tensors[key], found[key]) for key in found)
    assert refused >= 95, "what was read all the same is in bytes that nobody reads"


def test_a_changed_state_is_found(copied, capsys):
    path = state_folder(copied, 12) / "state.json"
    state = json.loads(path.read_text())
    for change in ({"step": 11}, {"ema_updates": 3}, {"terms": {"loss": 0.5}}):
        path.write_text(json.dumps({**state, **change}))
        assert train(copied, "--checkpoint-every", "6", steps=12) == 0
        assert "state.json is damaged" in (said := capsys.readouterr().err)
        assert "Resuming from the checkpoint before it" in said
        shutil.rmtree(state_folder(copied, 12).with_name("damaged-step-000000012"))


@pytest.mark.parametrize(("kind", "every"), [(train, "6"), (train_gan, "3")])
def test_what_a_kill_kept_from_being_shown_is_shown_on_resume(tmp_path, kind, every):
    flags, out = ["--checkpoint-every", every, "--sample-every", every], tmp_path / "run"
    assert kind(out, *flags, steps=6) == 0
    whole = contents(out)
    lines = (out / "health.jsonl").read_text().splitlines(keepends=True)
    for path in (out / "samples").glob("step-000000006*"):
        path.unlink()  # killed after its last checkpoint, before its last grid
    (out / "health.jsonl").write_text("".join(lines[:-1]))
    assert kind(out, *flags, steps=6) == 0
    assert contents(out) == whole


def test_a_grid_that_cannot_be_drawn_does_not_stop_training(tmp_path, capsys, monkeypatch):
    def failing(*_, **__):
        raise ValueError("no ink")

    monkeypatch.setattr("pilotage.training.callbacks.save_grid", failing)
    assert train(tmp_path / "run", steps=3) == 0
    assert "step 3 could not be shown: no ink" in capsys.readouterr().err
    assert checkpoints(tmp_path / "run")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"
        ),
    ],
)
def test_too_little_memory_is_one_sentence(tmp_path, capsys, monkeypatch, error):
    def failing(*_):
        raise error
        yield

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(import_module("pilotage.training.fit"), "train", failing)
        assert train(out) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert said[-1].startswith("error: training ran out of memory: a smaller --batch-size")
    assert len(said) == 2, "the headline and one sentence"
    assert train(out, "--batch-size", "4", steps=2) == 0, "nothing was trained yet"


@pytest.mark.parametrize("count", [4, 40])
def test_a_short_beta_schedule_is_trained_and_sampled_by_default(tmp_path, count):
    flags = ["--schedule", "cosine", "--timesteps", str(count), "--objective", "hybrid"]
    assert train(tmp_path / "run", *flags, steps=2) == 0
    assert main(["sample", str(tmp_path / "run"), "--out", str(tmp_path / "a.png")]) == 0
    assert json.loads((tmp_path / "a.png.json").read_text())["steps"] == min(count, 64)


@pytest.mark.parametrize("name", ["ema", "model", "optimizer"])
def test_a_file_of_another_checkpoint_is_found(copied, capsys, name):
    older, newer = (state_folder(copied, step) / f"{name}.safetensors" for step in (6, 12))
    whole = contents(copied / "state" / "step-000000012")
    shutil.copy(older, newer)
    assert train(copied, "--checkpoint-every", "6", steps=12) == 0
    assert f"{name}.safetensors is damaged: it is not of step 12" in capsys.readouterr().err
    assert contents(copied / "state" / "step-000000012") == whole
