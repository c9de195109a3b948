"""The figure of three Gaussians: it is drawn, and what its docstring says is so."""

import runpy
from pathlib import Path

import pytest
import torch
from PIL import Image

EXAMPLE = Path(__file__).parents[2] / "examples" / "three_gaussians.py"


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


def test_it_draws(example, tmp_path):
    page = example["figure"](weights=(0.0, 2.0), per_class=5, steps=4, pixels=41)
    page.savefig(tmp_path / "out.png", dpi=50)
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (300, 180)
        assert len(image.convert("RGB").getcolors(100_000)) > 100
    assert len(page.axes) == 2


def test_classes_part_and_narrow_and_samples_overshoot(example):
    mixture, distances, areas, sampled = example["triangle"](), [], [], []
    for w in (0.0, 1.0, 3.0, 10.0):
        where, maps = example["guided_maps"](mixture, w, 61)
        top = maps[0] / maps[0].sum()
        mean = (where * top).sum((1, 2))
        distances.append(mean[1].item())
        areas.append(((where - mean[:, None, None]) ** 2 * top).sum((1, 2)).prod().item())
        x, labels = example["guided_samples"](mixture, w, per_class=400, steps=128, seed=0)
        sampled.append(x[labels == 0][:, 1].mean().item())
    assert distances == sorted(distances)
    assert areas == sorted(areas, reverse=True)
    error = 4 * (0.35 / 400) ** 0.5
    assert abs(sampled[0] - distances[0]) < error
    overshoot = torch.tensor(sampled) - torch.tensor(distances)
    assert (overshoot.diff() > 0).all()
    assert distances[-1] == pytest.approx(1.4, abs=0.05)  # the docstring's numbers
    assert sampled[-1] == pytest.approx(1.9, abs=0.1)
