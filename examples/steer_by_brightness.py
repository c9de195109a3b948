"""Guidance by a differentiable function: the brightness of one half of the image.

``on_x`` evaluates the function at the denoiser's x, so it needs no training on noise. The rows of
the picture have the same seeds and labels at different strengths; at the extremes the left half is
darker or brighter than the right one.

    pilotage train digits --out runs/digits
    python examples/steer_by_brightness.py --run runs/digits --out steer_by_brightness.png
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

from pilotage import Model, load_run
from pilotage.diffusion import SeededNoise, classifier, clip_x, ddim, on_x, sample
from pilotage.utils.images import save_grid, to_arrays


def left_minus_right(x: Tensor, lam: Tensor, cond: Any) -> Tensor:
    """Mean brightness of the left half less that of the right half, (B, C, H, W) to (B,)."""
    left, right = x.tensor_split(2, dim=-1)
    return left.mean(dim=(1, 2, 3)) - right.mean(dim=(1, 2, 3))


def steered(run: Model, w: float, steps: int) -> Tensor:
    """One image of every class, with the same seeds for any w."""
    guided = clip_x(classifier(run.denoiser, on_x(run.denoiser, left_minus_right), w))
    labels = torch.arange(len(run.classes), device=run.device)
    start = next(SeededNoise(range(len(labels)), run.shape, run.device))
    *_, last = sample(guided, start, run.levels(steps), ddim(), labels)
    return last.z


def main(
    run: Path,
    out: Path = Path("steer_by_brightness.png"),
    w: tuple[float, ...] = (-30.0, -10.0, 0.0, 10.0, 30.0),
    steps: int = 64,
) -> None:
    """Draw the grid and print how far each strength moves the difference.

    Args:
        run: a trained run's folder.
        out: the picture.
        w: strengths; the sign says which half becomes bright.
        steps: network levels.
    """
    model = load_run(run)
    rows = [steered(model, strength, steps) for strength in w]
    for strength, images in zip(w, rows, strict=True):
        moved = left_minus_right(images, torch.tensor(0.0), None).mean()
        print(f"w = {strength:5g}: left half {moved:+.3f} brighter than the right half, in [-2, 2]")
    save_grid(
        np.concatenate([to_arrays(images) for images in rows]),
        out,
        columns=len(model.classes),
        column_names=model.classes,
        row_names=[f"w = {strength:g}" for strength in w],
        title="left half made darker or brighter",
    )
    print(out)


if __name__ == "__main__":
    tyro.cli(main)
