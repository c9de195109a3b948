"""Each failure mode shows in its own measurement, and only there."""

import json

import numpy as np
import pytest
import torch

from helpers import train
from pilotage.data import ImageData
from pilotage.settings import Recipe
from pilotage.training.health import RealImages, health, warnings
from pilotage.training.tasks import TASKS
from pilotage.utils.images import from_uint8


def images(seed, count):
    random = np.random.default_rng(seed)
    pixels = random.normal(120, 40, (count, 3, 8, 8)).clip(5, 250).astype(np.uint8)
    return ImageData.from_arrays(pixels, np.arange(count) % 2, ("a", "b"))


@pytest.fixture(scope="module")
def real():
    return RealImages(images(0, 400), images(1, 200))


@pytest.fixture
def healthy():
    return from_uint8(images(2, 64).batch(np.arange(64)))


def test_samples_like_the_data_are_healthy(real, healthy):
    numbers = health(healthy, healthy, real)
    assert list(warnings(numbers)) == []
    assert numbers["channel_mean_drift"] < 0.1
    assert numbers["spread_ratio"] == pytest.approx(1, abs=0.1)
    assert numbers["ema_raw_gap"] == 0
    assert numbers["copied_fraction"] < 0.1


@pytest.mark.parametrize(
    ("sicken", "number", "said"),
    [
        (lambda x: x + torch.tensor([0.0, 0.4, 0.0])[:, None, None], "channel_mean_drift", "means"),
        (lambda x: (4 * x).clamp(-1, 1), "clipped_fraction", "saturated"),
        (lambda x: 0.3 * x, "spread_ratio", "0.3"),
    ],
)
def test_drift_saturation_and_spread_are_noticed(real, healthy, sicken, number, said):
    before, after = health(healthy, healthy, real), health(sicken(healthy), healthy, real)
    assert abs(after[number] - before[number]) > 0.2
    assert any(said in sentence for sentence in warnings(after))
    assert after["ema_raw_gap"] > 0.1


def test_copies_of_training_images_are_noticed(real):
    copies = real.train[:64] + 0.01 * torch.randn(64, 3, 8, 8)
    numbers = health(copies, copies, real)
    assert numbers["copied_fraction"] == 1
    assert numbers["nearest_train_distance"] < 0.05
    assert any("memorising" in sentence for sentence in warnings(numbers))


def test_training_writes_health_once_per_look_also_after_a_resume(tmp_path):
    out = tmp_path / "run"
    train(out, "--sample-every", "2", "--checkpoint-every", "2", steps=4)
    with (out / "health.jsonl").open("a") as file:
        file.write('{"step": 5, "ema_raw_gap": 1.0}\n{"step": 6, "em')
    train(out, "--sample-every", "2", "--checkpoint-every", "2", steps=6)
    lines = [json.loads(line) for line in (out / "health.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert all(line["nearest_train_distance"] > 0 for line in lines)


def test_a_beta_schedule_of_few_timesteps_is_sampled_at_all_of_them(tmp_path):
    how = ["--schedule", "cosine", "--timesteps", "10", "--sample-every", "2"]
    assert train(tmp_path / "run", *how, steps=2) == 0
    assert (tmp_path / "run" / "samples" / "step-000000002-ema.png").is_file()
    assert TASKS["denoiser"].spec(Recipe(schedule="cosine", timesteps=10)).steps == 10
    assert TASKS["denoiser"].spec(Recipe(schedule="cosine")).steps == 32
    assert TASKS["denoiser"].spec(Recipe()).steps == 32
