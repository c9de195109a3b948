"""A checked wish for images."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from operator import index
from typing import Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor

from pilotage.diffusion import SeededNoise
from pilotage.errors import PilotageError
from pilotage.models.classifier import NoisyRun

Sampler = Literal["ancestral", "ddim"]

# written beside every result
CONVENTION = "(1 + w) * conditional - w * unconditional; guidance_scale = 1 + w"
CLASSIFIER_CONVENTION = "eps - w * sigma * grad log p(c | z), of the model at classifier_free_w"


class Batch(NamedTuple):
    """Some of the images of a request.

    Attributes:
        rows: their places in the request.
        images: (B, C, H, W) in [−1, 1].
    """

    rows: slice
    images: Float[Tensor, "B C H W"]


@dataclass(frozen=True)
class Guidance:
    """How images are guided.

    Attributes:
        w: the strength: of the classifier if there is one, else classifier-free.
        classifier: that guides, or None.
        classifier_free_w: the strength beside a classifier's; w without one.
        classifier_shift: what a classifier moves, "eps" or "mean" (ADM's Algorithm 1).
        interval: the log-SNR between which guidance acts; None for everywhere.
    """

    w: float
    classifier: NoisyRun | None = None
    classifier_free_w: float = 0.0
    classifier_shift: Literal["eps", "mean"] = "eps"
    interval: tuple[float, float] | None = None

    @property
    def convention(self) -> str:
        """What w means, in words."""
        return CONVENTION if self.classifier is None else CLASSIFIER_CONVENTION

    def record(self) -> dict:
        """The strengths and what they mean, for a file beside the images."""
        where = {} if self.interval is None else {"guidance_interval": list(self.interval)}
        if self.classifier is None:
            strengths = {"w": self.w, "guidance_scale": 1 + self.w}
            return {**strengths, "convention": self.convention, **where}
        return {
            "w": self.w,
            "classifier": str(self.classifier.folder),
            "classifier_step": self.classifier.step,
            "classifier_free_w": self.classifier_free_w,
            "classifier_shift": self.classifier_shift,
            "convention": self.convention,
            **where,
        }


@dataclass(frozen=True)
class Request:
    """A checked wish for images: image i has seeds[i] and labels[i].

    Attributes:
        labels: one class index per image.
        seeds: one seed per image.
        guidance: strengths, and the classifier if any.
        lams: the levels at which the network is asked, float64.
        sampler: "ancestral" or "ddim".
        v: the ancestral sampler's variance fraction, or "learned".
        eta: the DDIM sampler's randomness.
        batch_size: images per network call (twice that where guided).
        classes: names of the labels.
    """

    labels: tuple[int, ...]
    seeds: tuple[int, ...]
    guidance: Guidance
    lams: Float[Tensor, " T"]
    sampler: Sampler
    v: float | Literal["learned"]
    eta: float
    batch_size: int
    classes: tuple[str, ...]

    @property
    def w(self) -> float:
        """The guidance strength."""
        return self.guidance.w

    @property
    def steps(self) -> int:
        """Network levels T."""
        return len(self.lams)

    @property
    def random(self) -> bool:
        """Whether the steps use noise."""
        return self.sampler == "ancestral" or self.eta > 0

    def batches(self) -> list[slice]:
        """The rows of each batch."""
        count = len(self.seeds)
        return [slice(i, min(i + self.batch_size, count)) for i in range(0, count, self.batch_size)]


def checked_seeds(seeds: int | Iterable[int]) -> tuple[int, ...]:
    """Seeds as numbers.

    Raises:
        PilotageError: if one is not a whole number, or out of range.
    """
    try:
        found = tuple(index(s) for s in (seeds if isinstance(seeds, Iterable) else [seeds]))
    except TypeError:
        raise PilotageError(f"seeds is {seeds!r}: whole numbers are needed.") from None
    SeededNoise(found, ())  # refuses what is out of range, now rather than in the first batch
    return found


def guidance_strength(w: float | None, guidance_scale: float | None) -> float:
    """w from either convention: w itself, or guidance_scale − 1; 0 if neither is given.

    Raises:
        PilotageError: if both are given, or the value is NaN or infinite.
    """
    if w is not None and guidance_scale is not None:
        raise PilotageError(
            f"w is {w} and guidance_scale is {guidance_scale}: give one, guidance_scale is 1 + w."
        )
    if guidance_scale is not None:
        name, value, strength = "guidance_scale", guidance_scale, guidance_scale - 1
    else:
        name, value, strength = "w", w, w or 0.0
    if not math.isfinite(strength):
        raise PilotageError(f"{name} is {value}: it must be a finite number.")
    return float(strength)
