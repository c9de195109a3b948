"""`PointData`: points drawn from a mixture of Gaussians, whose modes are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from numbers import Real
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from pilotage.data.image_data import hash_of
from pilotage.data.request import Say, is_whole
from pilotage.errors import PilotageError
from pilotage.utils.seeding import derived_generator

TRAIN_POINTS = 100_000
HELD_OUT_POINTS = 10_000


class GaussianModes(NamedTuple):
    """Equally likely Gaussians with one spread in every direction.

    Attributes:
        means: (M, D).
        std: Standard deviation of each coordinate about its mean.
    """

    means: Float[np.ndarray, "M D"]
    std: float


@dataclass(frozen=True, eq=False)
class PointData:
    """Points with the mode that each was drawn from as their class, used like `ImageData`.

    Attributes:
        classes: The numbers of the modes, as text.
        labels: int64 (N,), read-only; label i is of a point around `modes.means[i]`.
        modes: What the points were drawn from.
    """

    classes: tuple[str, ...]
    labels: Int64[np.ndarray, " N"]
    modes: GaussianModes
    _points: Float32[np.ndarray, "N D"] = field(repr=False)
    captions: ClassVar[None] = None
    in_memory: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.labels.setflags(write=False)

    @classmethod
    def draw(cls, modes: GaussianModes, count: int, seed: int, purpose: str) -> PointData:
        """Points of a mixture: each of a random mode, x = mean + std · n with n ~ N(0, I).

        Args:
            modes: The mixture.
            count: N.
            seed: Decides the points, together with
            purpose: What they are for; other purposes get other points.

        Raises:
            PilotageError: The means are not (M, D), or the spread or the count is negative.
        """
        means = check_modes(modes, count)
        random = derived_generator(seed, "points", purpose)
        labels = torch.randint(len(means), (count,), generator=random).numpy()
        noise = torch.randn(count, means.shape[1], generator=random, dtype=torch.float64).numpy()
        points = (means[labels] + modes.std * noise).astype(np.float32)
        return cls(
            tuple(map(str, range(len(means)))), labels, GaussianModes(means, modes.std), points
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """(D,)."""
        return self._points.shape[1:]

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> Float32[Tensor, "B D"]:
        """Points by index, as a new float32 tensor (B, D)."""
        rows = np.atleast_1d(np.asarray(indices))
        return torch.from_numpy(self._points[rows] if rows.size else self._points[:0].copy())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of classes, labels, shape and points."""
        facts = [self.classes, self.shape, len(self)]
        return hash_of(facts, self.labels.astype("<i8"), self._points.astype("<f4"))


def check_modes(modes: GaussianModes, count: int) -> np.ndarray:
    """The means as float64 (M, D), read-only."""
    means = np.array(modes.means, np.float64)
    if means.ndim != 2 or not means.size or not np.isfinite(means).all():
        raise PilotageError(
            f"data: means of shape {means.shape} are not allowed; give finite numbers (M, D)"
        )
    if not isinstance(modes.std, Real) or not 0 < modes.std < np.inf:
        raise PilotageError(f"data: std={modes.std!r} is not allowed; give a positive number")
    if not is_whole(count) or count < 0:
        raise PilotageError(f"data: count={count!r} is not allowed; give a whole number from 0 up")
    means.setflags(write=False)
    return means


def grid(side: int, reach: float, std: float) -> GaussianModes:
    """`side` x `side` modes in the plane, evenly from -reach to reach in both directions."""
    places = np.linspace(-reach, reach, side)
    return GaussianModes(np.array(list(product(places, places))), std)


MIXTURES = {"25-gaussians": grid(5, 0.8, 0.01)}


def is_mixture(source: object) -> bool:
    """Whether `source` is the name of a mixture."""
    return isinstance(source, str) and source in MIXTURES


def load_points(name: str, held_out: float, seed: int, say: Say) -> tuple[PointData, PointData]:
    """The training and the held-out points of a named mixture.

    Args:
        name: A key of `MIXTURES`.
        held_out: Not used, which is said: there are as many points as one likes.
        seed: Draws the points.
        say: Receives one-line notes.
    """
    say(
        f"data: {name!r} has {TRAIN_POINTS} training and {HELD_OUT_POINTS} held-out points; "
        f"held_out={held_out:g} is not used"
    )
    modes = MIXTURES[name]
    train = PointData.draw(modes, TRAIN_POINTS, seed, "train")
    return train, PointData.draw(modes, HELD_OUT_POINTS, seed, "held out")
