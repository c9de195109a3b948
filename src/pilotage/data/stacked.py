"""`StackedData`: three random grey images as the three channels of one, with K³ known modes.

Of MNIST's digits it is the stacked MNIST of 1,000 modes (1611.02163).
"""

from __future__ import annotations

from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

from pilotage.data.decode import Shape
from pilotage.data.image_data import ImageData, LabelledData, hash_of
from pilotage.data.request import Say
from pilotage.errors import PilotageError
from pilotage.utils.seeding import derived_generator

PREFIX = "stacked:"
PLANES = 3
TRAIN_TRIPLES = 50_000
HELD_OUT_TRIPLES = 5_000
MAX_CLASSES = 32


class Stack(NamedTuple):
    """Which images are stacked.

    Attributes:
        planes: The grey images.
        rows: int64 (N, 3), numbers of the images in the first, second and third channel.
    """

    planes: LabelledData
    rows: Int64[np.ndarray, "N 3"]

    @property
    def in_memory(self) -> bool:
        """Whether the grey images are decoded already."""
        return self.planes.in_memory

    def take(self, indices: np.ndarray, shape: Shape) -> NDArray[np.uint8]:
        """Triples by index, uint8 (B, 3, H, W)."""
        found = self.planes.batch(self.rows[indices].ravel()).numpy()
        return found.reshape(len(indices), *shape)


class StackedData(ImageData):
    """Triples of grey images, put together when asked for; made by `stack` or `draw`.

    Label K²a + Kb + c stands for images of the classes a, b and c in the three channels, and all K³
    of them are classes, the modes, whether or not a triple of theirs was drawn.
    """

    _pixels: Stack

    @classmethod
    def draw(cls, planes: LabelledData, count: int, seed: int, purpose: str) -> StackedData:
        """Random triples: each image of each one drawn from all, whatever the others.

        Args:
            planes: Grey images of K classes.
            count: N; none are drawn where there are no images.
            seed: Decides the triples, together with
            purpose: What they are for; other purposes get other triples.

        Raises:
            PilotageError: The images are not grey, or of one class or too many.
        """
        check_planes(planes)
        random = derived_generator(seed, "stacked", purpose)
        size = (count if len(planes) else 0, PLANES)
        rows = torch.randint(max(1, len(planes)), size, generator=random).numpy()
        K = len(planes.classes)
        labels = planes.labels[rows] @ np.array([K * K, K, 1])
        _, H, W = planes.shape
        return cls(mode_names(planes.classes), labels, (PLANES, H, W), Stack(planes, rows))

    @property
    def planes(self) -> LabelledData:
        """The grey images that the triples are made of."""
        return self._pixels.planes

    @property
    def triples(self) -> Int64[np.ndarray, "N 3"]:
        """Which of `planes` are in the three channels."""
        return self._pixels.rows

    @property
    def mode_shares(self) -> Float64[np.ndarray, " modes"]:
        """The probability of each mode, (K³,): the product of its classes' shares of `planes`."""
        counts = np.bincount(self.planes.labels, minlength=len(self.planes.classes))
        p = counts / len(self.planes)
        shares: NDArray[np.float64] = np.einsum("a,b,c->abc", p, p, p).ravel()
        return shares

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of classes, shape, the fingerprint of `planes`, and `triples`."""
        facts = [self.classes, self.shape, self.planes.fingerprint]
        return hash_of(facts, self.triples.astype("<i8"))


def stack(
    train: LabelledData, held_out: LabelledData, seed: int, say: Say
) -> tuple[StackedData, StackedData]:
    """Training triples of training images alone, and held-out triples of held-out images alone.

    There are `TRAIN_TRIPLES`, or as many as training images if those are more, and
    `HELD_OUT_TRIPLES`.

    Raises:
        PilotageError: The images are not grey, or of one class or too many.
    """
    count = max(TRAIN_TRIPLES, len(train))
    triples = StackedData.draw(train, count, seed, "train")
    held = StackedData.draw(held_out, HELD_OUT_TRIPLES, seed, "held out")
    say(
        f"data: {len(triples)} triples of {len(train)} training images and {len(held)} of "
        f"{len(held_out)} held-out ones, in {len(triples.classes)} modes"
    )
    return triples, held


def check_planes(planes: LabelledData) -> None:
    """Raise a `PilotageError` unless these are grey images of two classes or more."""
    if len(planes.shape) == 1 or planes.shape[0] != 1:
        what = "points" if len(planes.shape) == 1 else f"{planes.shape[0]} channels"
        raise PilotageError(
            f"data: {PREFIX}SOURCE is not allowed with {what}; the source must have grey images"
        )
    if not 2 <= len(planes.classes) <= MAX_CLASSES:
        raise PilotageError(
            f"data: {PREFIX}SOURCE is not allowed with {len(planes.classes)} class(es); the source "
            f"must have 2 to {MAX_CLASSES}, of which any three make a mode"
        )


def mode_names(classes: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the K³ modes, in the order of their labels: "012", or "cat-cat-dog"."""
    between = "" if all(len(name) == 1 for name in classes) else "-"
    return tuple(between.join(names) for names in product(classes, repeat=PLANES))
