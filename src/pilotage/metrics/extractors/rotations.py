"""Rotations as the classes of images that have none, for the in-domain extractor.

What tells by how much an image is turned has to know what it shows, so its features are learnt
without a label (1803.07728). Where the rotations look alike, as in textures and views from above,
its accuracy is near chance and a distance in its features means little.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from pilotage.data.image_data import ImageData, LabelledData
from pilotage.metrics.features import Array

NAME = "in-domain-rotations"


@dataclass(frozen=True, eq=False)
class TurnedData(ImageData):
    """Images, each turned in several ways, whose classes are the angles; made by `turned`.

    Attributes:
        images: as they are.
        quarters: by how many quarter turns each is turned, counter-clockwise.
        mirrored: whether each is also taken mirrored, left to right, before it is turned.
    """

    images: LabelledData = field(kw_only=True)
    quarters: tuple[int, ...] = field(kw_only=True)
    mirrored: bool = field(kw_only=True)

    @property
    def in_memory(self) -> bool:
        """Whether the images are decoded already."""
        return self.images.in_memory

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the images' fingerprint and of what is done to them."""
        facts = json.dumps([NAME, self.images.fingerprint, self.quarters, self.mirrored])
        return hashlib.sha256(facts.encode()).hexdigest()

    def _take(self, indices: Array) -> Array:
        ways = len(self.quarters) * (1 + self.mirrored)
        rows, way = np.divmod(indices.astype(np.int64), ways)
        found, places = np.unique(rows, return_inverse=True)  # each is decoded once
        pixels: Array = self.images.batch(found).numpy()[places]
        mirrored, turns = np.divmod(way, len(self.quarters))
        pixels[mirrored == 1] = pixels[mirrored == 1, ..., ::-1]
        for k, quarter in enumerate(self.quarters):
            pixels[turns == k] = np.rot90(pixels[turns == k], quarter, axes=(2, 3))
        return pixels


def turned(images: LabelledData, mirrored: bool = False) -> TurnedData:
    """Images in all rotations that keep their shape, and the angle of each as its class.

    Square images are turned by 0, 90, 180 and 270 degrees, others by 0 and 180.

    Args:
        images: N of them.
        mirrored: take each also mirrored.
    """
    C, H, W = images.shape
    quarters = (0, 1, 2, 3) if H == W else (0, 2)
    classes = tuple(f"{90 * quarter} degrees" for quarter in quarters)
    labels = np.arange(len(quarters) * (1 + mirrored) * len(images)) % len(classes)
    none = np.empty((0, C, H, W), np.uint8)  # the pixels are those of `images`
    return TurnedData(
        classes, labels, (C, H, W), none, images=images, quarters=quarters, mirrored=mirrored
    )
