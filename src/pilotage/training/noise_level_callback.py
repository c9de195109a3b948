"""What a classifier's run shows while it trains: accuracy and calibration by noise level."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pilotage.data import ImageData
from pilotage.diffusion import NoisyClassifier, Schedule
from pilotage.diffusion.logsnr import diffuse
from pilotage.models.build import build_classifier, build_schedule
from pilotage.models.run_folder import Card
from pilotage.training.trainer import Training
from pilotage.utils.images import from_uint8
from pilotage.utils.seeding import derived_generator

LEVELS = 10
MOST_IMAGES = 1000
BINS = 10
BATCH = 256


class Level(NamedTuple):
    """A classifier at one noise level.

    Attributes:
        u: the schedule's argument, 0 clean and 1 noise.
        lam: the log-SNR there.
        accuracy: share of images whose likeliest class is right.
        confidence: mean probability of the likeliest class.
        calibration_error: mean distance of confidence from accuracy, over bins of confidence.
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
    """Accuracy and calibration at the middles of ``LEVELS`` equal parts of the schedule.

    Args:
        classifier: in eval mode.
        schedule: u -> λ.
        x: clean images in [−1, 1], best not those it was trained on.
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
    with torch.no_grad():
        return torch.cat([classifier.logits(part, lam).softmax(1) for part in z.split(BATCH)])


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
    """|Σ (confidence − right)| over each bin of confidence, per example (1706.04599)."""
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    gaps = torch.zeros(BINS, device=confidence.device).index_add_(0, bins, confidence - right)
    return float(gaps.abs().sum() / len(confidence))


class NoiseLevelWatch:
    """Levels of the averaged weights, now and then, on the main process."""

    def __init__(
        self,
        training: Training,
        card: Card,
        out: Path,
        data: tuple[ImageData, ImageData],
        say: Callable[[str], None],
    ) -> None:
        self.training, self.card, self.out, self.say = training, card, out, say
        train, held_out = data
        self.split = "held out" if len(held_out) else "train"
        self.images = held_out if len(held_out) else train

    def look(self) -> None:
        """One more line of ``noise_levels.jsonl``, and a picture."""
        if self.training.accelerator.is_main_process:
            levels = self._measure()
            step = self.training.step
            record = {"step": step, "images": self.split, "levels": [x._asdict() for x in levels]}
            with (self.out / "noise_levels.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            plot_levels(
                levels,
                len(self.card.data.classes),
                self.out / "samples" / f"step-{step:09d}-noise-levels.png",
                title=f"step {step}, {self.split} images",
            )
            self.say(
                f"step {step}: accuracy {levels[0].accuracy:.2f} at lam {levels[0].lam:.1f}, "
                f"{levels[len(levels) // 2].accuracy:.2f} at {levels[len(levels) // 2].lam:.1f} "
                f"({self.split} images)"
            )
        self.training.accelerator.wait_for_everyone()

    def _measure(self) -> list[Level]:
        recipe, device = self.card.recipe, self.training.accelerator.device
        rows = np.arange(min(MOST_IMAGES, len(self.images)))
        x = from_uint8(self.images.batch(rows).to(device))
        labels = torch.from_numpy(self.images.labels[rows]).to(device)
        network = self.training.ema.module.eval()
        classifier = build_classifier(network, recipe)
        levels = measure_levels(classifier, build_schedule(recipe), x, labels, recipe.seed)
        network.train()
        return levels


def plot_levels(levels: list[Level], classes: int, path: Path, title: str) -> None:
    """Accuracy, confidence and calibration error against λ, with chance as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    lams = [level.lam for level in levels]
    axes.plot(lams, [level.accuracy for level in levels], "o-", label="accuracy")
    axes.plot(lams, [level.confidence for level in levels], "s--", label="confidence")
    axes.plot(lams, [level.calibration_error for level in levels], "x:", label="calibration error")
    axes.axhline(1 / classes, color="0.7", linewidth=1, label="chance")
    axes.set(xlabel="lam, log signal-to-noise ratio", ylim=(0, 1.02), title=title)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)
