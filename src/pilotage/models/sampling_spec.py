"""A sampling spec, resolved for one model and its images: everything checked, nothing left open."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import index
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from pilotage.diffusion import SeededNoise
from pilotage.errors import PilotageError
from pilotage.models.conditioning import ConditionImages
from pilotage.models.guidance_spec import Guidance
from pilotage.settings import SamplingOptions
from pilotage.settings.samplers import Sampler


class Batch(NamedTuple):
    """Some of the images.

    Attributes:
        rows: their places among all.
        images: (B, C, H, W) in [−1, 1].
    """

    rows: slice
    images: Float[Tensor, "B *shape"]


class SampleOptions(SamplingOptions, ConditionImages, total=False):
    """The keywords of :meth:`Model.sample`: a spec's, and what belongs to the images."""

    seeds: int | Iterable[int] | None
    on_step: Callable[[], None] | None


@dataclass(frozen=True)
class ResolvedSpec:
    """How the images are sampled: image i has seeds[i].

    Attributes:
        conditions: what the images are conditioned on: a label each, or prompts.
        seeds: one per image.
        guidance: strengths, rule, and the classifier if any.
        lams: the levels at which the network is evaluated, float64.
        sampler: with all its parameters.
        batch_size: images per network call (twice that where guided).
        classes: names of the labels.
    """

    conditions: Any
    seeds: tuple[int, ...]
    guidance: Guidance
    lams: Float[Tensor, " T"]
    sampler: Sampler
    batch_size: int
    classes: tuple[str, ...]

    @property
    def steps(self) -> int:
        """Network levels T."""
        return len(self.lams)

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
