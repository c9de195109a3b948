"""Two processes do what one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers import TINY, TWO_PROCESSES, pilotage

WORKER = Path(__file__).parents[1] / "training" / "worker_ema.py"


def log(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


ACCELERATE = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "rate", "two_processes"),
    [
        (["train", "digits"], 2e-3, TWO_PROCESSES),
        (["train", "digits"], 2e-3, ACCELERATE),
        (["train", "digits", "--objective", "classifier"], 1e-3, TWO_PROCESSES),
    ],
)
def test_training_on_two_processes_is_the_same_training(tmp_path, how, rate, two_processes):
    flags = ["--steps", "12", *TINY, "--warmup-steps", "20", "--accumulate", "2", "--flip"]
    flags += ["--network.dropout", "0"]
    for name, launcher in (("one", ()), ("two", two_processes)):
        command = [*how, "--out", tmp_path / name, *flags]
        answer = pilotage(*command, launcher=launcher)
        assert answer.returncode == 0, answer.stderr
    one, two = log(tmp_path / "one"), log(tmp_path / "two")
    assert [r["step"] for r in one] == [r["step"] for r in two] == list(range(1, 13))
    for a, b in zip(one, two, strict=True):
        assert abs(a["loss"] - b["loss"]) <= 1e-4
        assert abs(a["grad_norm"] - b["grad_norm"]) <= 1e-3
        # counted in optimiser steps, not in calls of each process
        assert a["learning_rate"] == b["learning_rate"] == pytest.approx(rate * a["step"] / 20)


@pytest.mark.slow
def test_samples_of_two_processes_are_those_of_one(tiny_run, tmp_path):
    flags = ["--seeds", "0:20", "--batch-size", "6", "--w", "1", "--steps", "8"]
    for name, launcher in (("one", ()), ("two", TWO_PROCESSES)):
        out = tmp_path / f"{name}.npz"
        answer = pilotage("sample", tiny_run, *flags, "--out", out, launcher=launcher)
        assert answer.returncode == 0, answer.stderr
    one, two = (np.load(tmp_path / f"{name}.npz") for name in ("one", "two"))
    assert one["images"].shape == (20, 8, 8, 1)
    for key in ("images", "labels", "seeds"):
        assert np.array_equal(one[key], two[key]), key


@pytest.mark.slow
def test_average_is_updated_on_both_processes(tmp_path):
    """Each process reports its own average; they are equal, and have left the start."""
    answer = subprocess.run(
        [sys.executable, *TWO_PROCESSES, str(WORKER), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert answer.returncode == 0, answer.stderr
    first, second = (json.loads((tmp_path / f"{k}.json").read_text()) for k in (0, 1))
    assert first["ema"] == second["ema"]
    assert first["network"] == second["network"]
    assert first["start"] != first["ema"] != first["network"]
    assert first["updates"] == second["updates"] == 4


def test_batch_that_cannot_be_shared_is_refused(tmp_path):
    flags = [*TINY, "--steps", "2", "--batch-size", "9"]
    command = ["train", "digits", "--out", tmp_path / "run", *flags]
    answer = pilotage(*command, launcher=TWO_PROCESSES)
    assert answer.returncode != 0
    assert "batch_size is 9: it must be a multiple of 2" in answer.stderr
    assert not (tmp_path / "run").exists()
