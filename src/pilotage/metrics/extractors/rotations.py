"""Rotations instead of classes, for images that have none.

What tells by how much an image is turned has to know what it shows, so its features are learnt
without a label (1803.07728). Where the rotations look alike, as in textures and views from above,
its accuracy is near chance and a distance in its features means little.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import NamedTuple

import numpy as np
from torch import Tensor

from pilotage.data.image_data import ImageData
from pilotage.metrics.extractors.base import Extractor, Features

NAME = "in-domain-rotations"


class Turns(NamedTuple):
    """Images, and what is done to each.

    Attributes:
        images: as they are.
        quarters: by how many quarter turns each is turned, counter-clockwise.
        mirrored: whether each is also taken mirrored, left to right, before it is turned.
    """

    images: ImageData
    quarters: tuple[int, ...]
    mirrored: bool

    @property
    def ways(self) -> int:
        """In how many ways each image is taken."""
        return len(self.quarters) * (1 + self.mirrored)


class TurnedData(ImageData):
    """Images, each turned in several ways, whose classes are the angles; made by `turned`."""

    _pixels: Turns

    @property
    def in_memory(self) -> bool:
        """Whether the images are decoded already."""
        return self._pixels.images.in_memory

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the images' fingerprint and of what is done to them."""
        images, quarters, mirrored = self._pixels
        facts = json.dumps([NAME, images.fingerprint, quarters, mirrored])
        return hashlib.sha256(facts.encode()).hexdigest()

    def _take(self, indices: np.ndarray) -> np.ndarray:
        images, quarters, _ = self._pixels
        rows, ways = np.divmod(indices.astype(np.int64), self._pixels.ways)
        found, places = np.unique(rows, return_inverse=True)  # each is decoded once
        pixels = images.batch(found).numpy()[places]
        mirrored, turns = np.divmod(ways, len(quarters))
        pixels[mirrored == 1] = pixels[mirrored == 1, ..., ::-1]
        for k, quarter in enumerate(quarters):
            pixels[turns == k] = np.rot90(pixels[turns == k], quarter, axes=(2, 3))
        return pixels


def turned(images: ImageData, mirrored: bool = False) -> TurnedData:
    """Images in all rotations that keep their shape, and the angle of each as its class.

    Square images are turned by 0, 90, 180 and 270 degrees, others by 0 and 180.

    Args:
        images: N of them.
        mirrored: take each also mirrored.
    """
    _, H, W = images.shape
    turns = Turns(images, (0, 1, 2, 3) if H == W else (0, 2), mirrored)
    classes = tuple(f"{90 * quarter} degrees" for quarter in turns.quarters)
    labels = np.arange(turns.ways * len(images)) % len(classes)
    return TurnedData(classes, labels, images.shape, turns)


class InDomainRotations:
    """The classifier of rotations as an `Extractor`; made by `in_domain`.

    Its features are of images as they are. There are no logits: they would be of angles and not of
    anything that is in the images, so there is no Inception score.

    Attributes:
        angles: how many are told apart.
        accuracy: share of held-out images, each turned by every angle, whose angle is right; None
            without any.
    """

    name = NAME
    resize = "none"

    def __init__(self, classifier: Extractor, angles: int):
        self._classifier, self.angles = classifier, angles
        self.dimensions, self.accuracy = classifier.dimensions, classifier.accuracy
        self.hash = hashlib.sha256(f"{NAME} {classifier.hash}".encode()).hexdigest()

    def __repr__(self) -> str:
        return f"InDomainRotations({self.hash[:12]}, accuracy={self.accuracy})"

    def __call__(self, images: Tensor) -> Features:
        """Features of uint8 images (B, C, H, W) of the training set's shape."""
        return self._classifier(images)._replace(logits=None)
