"""A run folder never loses work: killed, interrupted, diverged or continued."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from PIL import Image

from helpers import TINY, contents, pilotage, train, train_gan
from pilotage.models.run_folder import checkpoints, state_folder

LEFTOVER = f".step-000000003.pilotage-tmp-{2**22}"  # of no living process

FINAL_FILES = ("model.safetensors", "ema.safetensors", "metrics.jsonl")


WRITTEN = {"model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json"}
OF_A_GAN = {"discriminator.safetensors", "discriminator-optimizer.safetensors"}


def final_state(out, step):
    """Weights, average, optimiser, counters and the log, as bytes."""
    files = contents(state_folder(out, step))
    assert set(files) in (WRITTEN, WRITTEN | OF_A_GAN)
    return files | {name: (out / name).read_bytes() for name in FINAL_FILES}


def test_stopped_and_continued_equals_uninterrupted(tmp_path):
    flags = ["--checkpoint-every", "4", "--network.dropout", "0.1", "--flip"]
    assert train(tmp_path / "whole", *flags, steps=12) == 0
    assert train(tmp_path / "parts", *flags, steps=4) == 0
    assert train(tmp_path / "parts", *flags, steps=12) == 0
    assert final_state(tmp_path / "whole", 12) == final_state(tmp_path / "parts", 12)


def test_seed_and_p_uncond_change_the_run(tmp_path):
    train(tmp_path / "a", steps=3)
    train(tmp_path / "b", "--seed", "1", steps=3)
    train(tmp_path / "c", "--p-uncond", "0.9", steps=3)
    states = [final_state(tmp_path / name, 3)["model.safetensors"] for name in "abc"]
    assert len(set(states)) == 3


def _train_in_child(out, steps, errors, kind):
    """What the fork server's children run."""
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = open(errors, "a")  # noqa: SIM115, PTH123 (lives as long as the child)
    sys.exit(kind(out, "--checkpoint-every", "3", "--sample-every", "30", steps=steps))


def _wait_for_progress(out, child):
    """Until the child has saved a checkpoint, so that the kill falls into its work."""
    before = checkpoints(out)
    deadline = time.monotonic() + 60
    while checkpoints(out) == before:
        assert child.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "kills"), [(train, 20), (train_gan, 8)])
def test_kills_then_bit_identical(tmp_path, kind, kills):
    """SIGKILL at random moments of starting, training, saving and drawing samples."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "pilotage.training.fit",
            "sklearn.datasets",
            "datasets",
            "torch._dynamo",
            "matplotlib.figure",
        ]
    )
    killed, whole, errors = tmp_path / "killed", tmp_path / "whole", tmp_path / "errors.txt"
    moments = random.Random(0)
    reached = []
    for attempt in range(kills):
        child = context.Process(target=_train_in_child, args=(killed, 100_000, errors, kind))
        child.start()
        if attempt % 4:
            _wait_for_progress(killed, child)
        time.sleep(moments.uniform(0, 0.8))
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL, errors.read_text()
        reached.append(max([step for step, _ in checkpoints(killed)], default=0))
    assert reached == sorted(reached)
    assert len(set(reached)) > kills // 4, f"the kills must fall into training: {reached}"

    steps = reached[-1] + 10
    for out in (killed, whole):
        child = context.Process(target=_train_in_child, args=(out, steps, errors, kind))
        child.start()
        child.join()
        assert child.exitcode == 0, errors.read_text()
    assert final_state(killed, steps) == final_state(whole, steps)
    assert not [name for name in contents(killed) if "-tmp-" in name]


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "pilotage", "train", "digits", "--out", out, *TINY]
    process = subprocess.Popen(
        [*map(str, command), "--steps", "100000", "--checkpoint-every", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    log = out / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_text().count("\n") >= 3):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Rerun to resume." in said
    ((step, _),) = checkpoints(out)
    assert json.loads(log.read_text().splitlines()[-1])["step"] == step
    assert train(out, "--checkpoint-every", "100000", steps=step + 2) == 0


def test_two_trainings_into_one_folder_are_refused(tmp_path, capsys):
    from pilotage.utils.files import only_writer

    out = tmp_path / "run"
    train(out, steps=2)
    with only_writer(out):
        before = contents(out)
        assert train(out, steps=4) == 2
        assert "another process is training into it" in capsys.readouterr().err
        assert contents(out) == before
    assert train(out, steps=4) == 0


def test_divergence_stops_and_keeps_the_last_good_checkpoint(tmp_path, capsys, monkeypatch):
    from pilotage.objectives import Denoising

    honest = Denoising.terms

    def poisoned(self, denoise, x, labels, draws):
        terms = honest(self, denoise, x, labels, draws)
        factor = torch.nan if denoise.calls > 5 else 1.0
        return {"loss": terms["loss"] * factor}

    monkeypatch.setattr(Denoising, "terms", poisoned)
    out = tmp_path / "run"
    assert train(out, "--checkpoint-every", "2", steps=10) == 1
    assert "diverged at step 6" in capsys.readouterr().err
    assert [step for step, _ in checkpoints(out)] == [2, 4]
    monkeypatch.undo()
    assert train(out, "--checkpoint-every", "2", steps=10) == 0
    assert train(tmp_path / "whole", "--checkpoint-every", "2", steps=10) == 0
    assert final_state(out, 10) == final_state(tmp_path / "whole", 10)


def test_infinite_gradient_is_divergence_too(tmp_path, capsys):
    assert train(tmp_path / "run", "--learning-rate", "1e30", "--warmup-steps", "0", steps=50) == 1
    assert "training diverged at step" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--learning-rate", "0.5"], "learning_rate"),
        (["--seed", "7"], "seed"),
        (["--p-uncond", "0.3"], "p_uncond"),
        (["--network.channels", "16"], "network.channels"),
        (["--held-out", "0.5"], "held_out"),
    ],
)
def test_conflicting_setting_is_refused_by_name(tmp_path, capsys, flags, named):
    out = tmp_path / "run"
    train(out, steps=2)
    before = contents(out)
    assert train(out, *flags, steps=4) == 2
    assert f"error: {named} is " in capsys.readouterr().err
    assert contents(out) == before


def test_changed_data_is_refused(tmp_path, capsys):
    folder, out = tmp_path / "data", tmp_path / "run"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for k in range(4):
            Image.new("L", (8, 8), 40 * k).save(folder / name / f"{k}.png")
    assert train(out, "--data", str(folder), steps=2) == 0
    Image.new("L", (8, 8), 250).save(folder / "a" / "0.png")
    assert train(out, "--data", str(folder), steps=4) == 2
    assert "error: data is " in capsys.readouterr().err


def test_fewer_steps_than_done_are_refused_and_a_rerun_does_nothing_more(tmp_path, capsys):
    out = tmp_path / "run"
    train(out, steps=4)
    before = final_state(out, 4)
    assert train(out, steps=3) == 2
    assert "steps is 3: it must be at least 4, the steps that the run" in capsys.readouterr().err
    assert train(out, steps=4) == 0
    assert final_state(out, 4) == before


def test_half_written_files_of_a_killed_writer_are_swept_away(tmp_path):
    out = tmp_path / "run"
    train(out, steps=2)
    (out / "state" / LEFTOVER).mkdir()
    (out / "state" / LEFTOVER / "model.safetensors").write_bytes(b"half")
    (out / f".ema.safetensors.pilotage-tmp-{2**22}").write_bytes(b"half")
    with (out / "metrics.jsonl").open("a") as log:
        log.write('{"step": 3, "loss": 1.0}\n{"step": 4, "lo')
    assert train(out, steps=3) == 0
    assert not [name for name in contents(out) if "-tmp-" in name]
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3]


@pytest.mark.parametrize("name", ["model", "ema", "optimizer"])
def test_damaged_checkpoint_is_named_and_nothing_is_touched(tmp_path, capsys, name):
    out = tmp_path / "run"
    train(out, steps=2)
    damaged = state_folder(out, 2) / f"{name}.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    before = contents(out)
    assert train(out, steps=4) == 2
    assert str(damaged) in capsys.readouterr().err
    assert contents(out) == before


def test_damaged_newest_checkpoint_gives_way_to_the_one_before(tmp_path, capsys):
    out = tmp_path / "run"
    train(out, "--checkpoint-every", "2", steps=4)
    (state_folder(out, 4) / "ema.safetensors").unlink()
    assert train(out, "--checkpoint-every", "2", steps=6) == 0
    assert "Resuming from the checkpoint before it" in capsys.readouterr().err
    assert (out / "state" / "damaged-step-000000004").is_dir()
    train(tmp_path / "whole", "--checkpoint-every", "2", steps=6)
    assert final_state(out, 6) == final_state(tmp_path / "whole", 6)


def test_weights_without_checkpoints_are_not_replaced(tmp_path, capsys):
    out = tmp_path / "run"
    train(out, steps=2)
    shutil.rmtree(out / "state")
    before = contents(out)
    assert train(out, steps=2) == 2
    assert "it must have a checkpoint in state/ to be resumed" in capsys.readouterr().err
    assert contents(out) == before


def test_moved_data_is_the_same_data(tmp_path):
    folder, out = tmp_path / "data", tmp_path / "run"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for k in range(4):
            Image.new("L", (8, 8), 40 * k).save(folder / name / f"{k}.png")
    assert train(out, "--data", str(folder), steps=2) == 0
    folder.rename(tmp_path / "elsewhere")
    assert train(out, "--data", str(tmp_path / "elsewhere"), steps=3) == 0


def test_a_batch_in_parts_is_the_same_batch(tmp_path):
    for parts in ("1", "4"):
        assert train(tmp_path / parts, "--accumulate", parts, steps=6) == 0
    one, four = (
        [json.loads(line) for line in (tmp_path / n / "metrics.jsonl").read_text().splitlines()]
        for n in ("1", "4")
    )
    for a, b in zip(one, four, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-4)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], abs=1e-3)


def test_one_process_may_train_in_two_precisions(tmp_path):
    assert train(tmp_path / "a", steps=1) == 0
    assert train(tmp_path / "b", "--precision", "bf16", steps=1) == 0
    assert train(tmp_path / "c", steps=1) == 0


def test_old_checkpoints_make_room(tmp_path):
    out = tmp_path / "run"
    train(out, "--checkpoint-every", "2", steps=9)
    assert [step for step, _ in checkpoints(out)] == [8, 9]


def test_a_command_line_run_says_what_it_does(tmp_path):
    answer = pilotage("train", "digits", "--out", tmp_path / "run", "--steps", "2", *TINY)
    assert answer.returncode == 0, answer.stderr
    assert "1618 images of 1x8x8 in 10 classes (179 held out)" in answer.stderr
    assert {"ema.safetensors", "metrics.jsonl", "model.safetensors", "recipe.yaml"} <= set(
        contents(tmp_path / "run")
    )
    assert len(list((tmp_path / "run" / "samples").glob("step-000000002-*.png"))) == 2
