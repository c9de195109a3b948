"""Training health: drift, saturation, spread, EMA lag and memorisation of samples.

For a classifier: its accuracy and calibration by noise level.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pilotage.data import LabelledData
from pilotage.diffusion import NoisyClassifier, Schedule
from pilotage.diffusion.logsnr import diffuse
from pilotage.training.batches import scaled
from pilotage.utils.drawing import figure
from pilotage.utils.seeding import derived_generator

COMPARED_IMAGES = 2000
DISCRIMINATOR_WINS = 10.0  # gap of logits: the generator's loss is then 5 or more on average
# for a classifier
LEVELS = 10
BINS = 10
BATCH = 256


class Limits(NamedTuple):
    """Warning thresholds of the measurements."""

    drift: float = 0.25
    clipped: float = 0.15
    spread_low: float = 0.6
    spread_high: float = 1.5
    copies: float = 0.5


class RealImages:
    """Reference images for samples: some training and held-out images in [−1, 1]."""

    def __init__(self, train: LabelledData, held_out: LabelledData) -> None:
        self.train = _first(train)
        self.held_out = _first(held_out) if len(held_out) else None
        self.mean = self.train.mean(dim=(0, 2, 3))
        self.std = self.train.std(dim=(0, 2, 3)).clamp(min=1e-6)
        self.clipped = _clipped(self.train)


def _first(data: LabelledData) -> Tensor:
    return scaled(data.batch(np.arange(min(COMPARED_IMAGES, len(data)))))


def health(
    samples: Float[Tensor, "N C H W"], raw: Float[Tensor, "N C H W"], real: RealImages
) -> dict[str, float]:
    """Measure samples of the averaged weights, against those of the latest ones and the data.

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
    """Yield a sentence for every measurement beyond its threshold."""
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


def discriminator_health(terms: dict[str, float]) -> dict[str, float]:
    """Select a discriminator's logits of real and generated steps, and R1."""
    return {name: terms[name] for name in ("real_logit", "fake_logit", "r1") if name in terms}


def discriminator_warnings(numbers: dict[str, float]) -> Iterator[str]:
    """Yield a sentence if the discriminator overpowers the generator."""
    gap = numbers.get("real_logit", 0.0) - numbers.get("fake_logit", 0.0)
    if gap > DISCRIMINATOR_WINS:
        yield (
            f"the discriminator's logits of real and generated steps are {gap:.1f} apart: it wins, "
            "and the generator learns little; a larger r1_gamma or a smaller "
            "discriminator_learning_rate may help"
        )


def _clipped(images: Tensor) -> float:
    return float((images.abs() >= 1 - 1 / 255).float().mean())


def _nearest(images: Tensor, others: Tensor) -> Tensor:
    """Return the root mean square distance from each image to the nearest of the others."""
    flat, flat_others = images.flatten(1), others.flatten(1)
    distances: Tensor = torch.cdist(flat, flat_others).amin(dim=1) / flat.shape[1] ** 0.5
    return distances


class Level(NamedTuple):
    """Measurements of a classifier at one noise level.

    Attributes:
        u: the schedule's argument, 0 clean and 1 noise.
        lam: the log-SNR there.
        accuracy: share of images whose most probable class is right.
        confidence: mean probability of the most probable class.
        calibration_error: expected calibration error, over bins of confidence.
        log_loss: mean −log p of the right class, in nats.
    """

    u: float
    lam: float
    accuracy: float
    confidence: float
    calibration_error: float
    log_loss: float


def measure_levels(
    classifier: NoisyClassifier,
    schedule: Schedule,
    x: Float[Tensor, "N C H W"],
    labels: Int[Tensor, " N"],
    seed: int = 0,
) -> list[Level]:
    """Measure accuracy and calibration at the centres of ``LEVELS`` equal parts of the schedule.

    Args:
        classifier: in evaluation mode.
        schedule: u -> λ.
        x: clean images in [−1, 1], preferably held out.
        labels: their classes.
        seed: of the noise.
    """
    generator = derived_generator(seed, "noise levels", device=x.device)
    eps = torch.randn(x.shape, generator=generator, device=x.device)
    found = []
    for part in range(LEVELS):
        u = (part + 0.5) / LEVELS
        lam = schedule(torch.tensor(u, device=x.device))
        probabilities = _probabilities(classifier, diffuse(x, eps, lam), lam)
        found.append(_level(u, float(lam), probabilities, labels))
    return found


def _probabilities(classifier: NoisyClassifier, z: Tensor, lam: Tensor) -> Tensor:
    parts = (z[k : k + BATCH] for k in range(0, len(z), BATCH))
    with torch.no_grad():
        return torch.cat([classifier.logits(part, lam).softmax(1) for part in parts])


def _level(u: float, lam: float, probabilities: Tensor, labels: Tensor) -> Level:
    confidence, likeliest = probabilities.max(dim=1)
    right = (likeliest == labels).to(confidence)
    own = probabilities.gather(1, labels[:, None]).clamp(min=1e-30)
    return Level(
        u=u,
        lam=lam,
        accuracy=float(right.mean()),
        confidence=float(confidence.mean()),
        calibration_error=_calibration_error(confidence, right),
        log_loss=float(-own.log().mean()),
    )


def _calibration_error(confidence: Tensor, right: Tensor) -> float:
    """Return the expected calibration error over bins of confidence (1706.04599)."""
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    gaps = torch.zeros(BINS, device=confidence.device).index_add_(0, bins, confidence - right)
    return float(gaps.abs().sum() / len(confidence))


def plot_levels(levels: list[Level], classes: int, path: Path, title: str) -> None:
    """Plot accuracy, confidence and calibration error over λ, with chance level."""
    lams = [level.lam for level in levels]
    with figure(path, dpi=110, figsize=(6, 3.6), layout="constrained") as drawn:
        axes = drawn.subplots()
        axes.plot(lams, [level.accuracy for level in levels], "o-", label="accuracy")
        axes.plot(lams, [level.confidence for level in levels], "s--", label="confidence")
        errors = [level.calibration_error for level in levels]
        axes.plot(lams, errors, "x:", label="calibration error")
        axes.axhline(1 / classes, color="0.7", linewidth=1, label="chance")
        axes.set(xlabel="lam, log signal-to-noise ratio", ylim=(0, 1.02), title=title)
        axes.legend(frameon=False)
