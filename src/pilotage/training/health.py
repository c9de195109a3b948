"""Training health: do the samples drift, saturate, lag behind the average, or copy?"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pilotage.data import ImageData
from pilotage.utils.images import from_uint8

COMPARED_IMAGES = 2000
JUDGE_WINS = 10.0  # logits apart: the generator's loss is then 5 or more on average


class Limits(NamedTuple):
    """Where a measurement becomes a warning."""

    drift: float = 0.25
    clipped: float = 0.15
    spread_low: float = 0.6
    spread_high: float = 1.5
    copies: float = 0.5


class RealImages:
    """What samples are compared with: some training and some held-out images in [−1, 1]."""

    def __init__(self, train: ImageData, held_out: ImageData) -> None:
        self.train = _first(train)
        self.held_out = _first(held_out) if len(held_out) else None
        self.mean = self.train.mean(dim=(0, 2, 3))
        self.std = self.train.std(dim=(0, 2, 3)).clamp(min=1e-6)
        self.clipped = _clipped(self.train)


def _first(data: ImageData) -> Tensor:
    return from_uint8(data.batch(np.arange(min(COMPARED_IMAGES, len(data)))))


def health(
    samples: Float[Tensor, "N C H W"], raw: Float[Tensor, "N C H W"], real: RealImages
) -> dict[str, float]:
    """What the samples of the averaged weights tell, beside those of the latest ones.

    Returns:
        ``channel_mean_drift``: largest difference of a channel's mean from the data's, in its
        standard deviations; ``clipped_fraction``: share of pixels at −1 or 1 beyond the data's
        share; ``spread_ratio``: standard deviation over the data's (the channel furthest from 1);
        ``ema_raw_gap``: root mean square difference between both weights' samples of the same
        seeds; ``nearest_train_distance``: median root mean square distance to the nearest training
        image; ``copied_fraction``: share of samples nearer to a training image than 99% of held-out
        images are (if there are any).
    """
    samples, raw = samples.float().cpu(), raw.float().cpu()
    drift = ((samples.mean(dim=(0, 2, 3)) - real.mean).abs() / real.std).max()
    ratios = samples.std(dim=(0, 2, 3)) / real.std
    nearest = _nearest(samples, real.train)
    numbers = {
        "channel_mean_drift": float(drift),
        "clipped_fraction": _clipped(samples) - real.clipped,
        "spread_ratio": float(ratios[(ratios.log().abs()).argmax()]),
        "ema_raw_gap": float((samples - raw).square().mean().sqrt()),
        "nearest_train_distance": float(nearest.median()),
    }
    if real.held_out is not None:
        threshold = _nearest(real.held_out, real.train).quantile(0.01)
        numbers["copied_fraction"] = float((nearest < threshold).float().mean())
    return numbers


def warnings(numbers: dict[str, float], limits: Limits | None = None) -> Iterator[str]:
    """A sentence for every measurement beyond its limit."""
    limits = limits or Limits()
    if numbers["channel_mean_drift"] > limits.drift:
        yield (
            f"samples' channel means are {numbers['channel_mean_drift']:.2f} standard deviations "
            "of the data away from the data's"
        )
    if numbers["clipped_fraction"] > limits.clipped:
        yield f"{numbers['clipped_fraction']:.0%} more pixels are saturated than in the data"
    if not limits.spread_low <= numbers["spread_ratio"] <= limits.spread_high:
        yield f"samples have {numbers['spread_ratio']:.2f} times the data's standard deviation"
    if numbers.get("copied_fraction", 0.0) > limits.copies:
        yield (
            f"{numbers['copied_fraction']:.0%} of samples are nearer to a training image than 99% "
            "of held-out images are: the model may be memorising"
        )


def judge_health(told: dict[str, float]) -> dict[str, float]:
    """What a GAN's discriminator says: its logits of real and generated steps, and R1."""
    return {name: told[name] for name in ("real_logit", "fake_logit", "r1") if name in told}


def judge_warnings(numbers: dict[str, float]) -> Iterator[str]:
    """A sentence where the two networks no longer play against each other."""
    gap = numbers.get("real_logit", 0.0) - numbers.get("fake_logit", 0.0)
    if gap > JUDGE_WINS:
        yield (
            f"the discriminator's logits of real and generated steps are {gap:.1f} apart: it wins, "
            "and the generator learns little; a larger r1_gamma or a smaller "
            "discriminator_learning_rate may help"
        )


def write_health(out: Path, step: int, numbers: dict[str, float], said: list[str]) -> None:
    """One more line of ``health.jsonl``."""
    with (out / "health.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, **numbers, "warnings": said}) + "\n")


def _clipped(images: Tensor) -> float:
    return float((images.abs() >= 1 - 1 / 255).float().mean())


def _nearest(images: Tensor, others: Tensor) -> Tensor:
    """Root mean square distance from each image to the nearest of the others."""
    flat, flat_others = images.flatten(1), others.flatten(1)
    return torch.cdist(flat, flat_others).amin(dim=1) / flat.shape[1] ** 0.5
