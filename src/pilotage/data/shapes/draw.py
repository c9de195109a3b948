"""Shapes to pixels: how much of every pixel a shape covers, and the colours."""

from __future__ import annotations

import numpy as np

from pilotage.data.shapes.layout import AREAS, EXTENTS, Objects
from pilotage.data.shapes.scenes import COLOURS, SHAPES

LOW, HIGH = 48, 207  # inside 0..255, so that a guided model's saturation shows
CHANNELS = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "magenta": (1, 0, 1),
    "cyan": (0, 1, 1),
}
PALETTE = np.array([CHANNELS[name] for name in COLOURS], np.float32)
LINES = 256  # that a shape is cut into; sizes that divide it show exactly the same shape
CHUNK = 32  # images at a time, to stay in the processor's cache


def draw(objects: Objects, count: int, size: int) -> np.ndarray:
    """Images of shapes on dark grey: channels are `HIGH` in a shape if its colour has them.

    Edges are anti-aliased by the covered part of a pixel, so a smaller image is (but for the
    rounding to whole numbers) the larger one averaged over squares of pixels.

    Args:
        objects: shapes of `count` images in their order, without overlap.
        count: number of images N.
        size: height and width in pixels.

    Returns:
        uint8 (N, 3, size, size).
    """
    images = np.empty((count, 3, size, size), np.uint8)
    for start in range(0, count, CHUNK):
        first, last = np.searchsorted(objects.image, [start, start + CHUNK])
        some = Objects(*(values[first:last] for values in objects))
        covered = coverage(some.shape, AREAS[some.size], some.x, some.y, size)
        part = images[start : start + CHUNK]
        lit = np.zeros(part.shape, np.float32)
        np.add.at(
            lit, some.image - start, PALETTE[some.colour][:, :, None, None] * covered[:, None]
        )
        part[:] = LOW + 0.5 + (HIGH - LOW) * lit
    return images


def coverage(
    shape: np.ndarray, area: np.ndarray, x: np.ndarray, y: np.ndarray, size: int
) -> np.ndarray:
    """The part of every pixel that a shape covers, float32 (M, size, size).

    A pixel's overlap with the shape is exact along x and summed over thin lines along y.

    Args:
        shape: int64 (M,), places in `SHAPES`.
        area: (M,), of the whole image.
        x: (M,), centre of the bounding box from the left, in units of the side.
        y: (M,), the same from above.
        size: height and width in pixels.
    """
    per_pixel = -(-LINES // size)
    extent = (EXTENTS[shape] * np.sqrt(area))[:, None]
    top, bottom = y[:, None] - extent / 2, y[:, None] + extent / 2
    lines = np.arange(size * per_pixel + 1) / (size * per_pixel)
    upper = np.clip(lines[:-1], top, bottom)
    lower = np.clip(lines[1:], top, bottom)
    half = _half_width(shape[:, None], (upper + lower) / 2 - top, extent)
    left = ((x[:, None] - half) * size).astype(np.float32)[:, :, None]
    right = ((x[:, None] + half) * size).astype(np.float32)[:, :, None]
    weight = ((lower - upper) * size).astype(np.float32)[:, :, None]
    edges = np.arange(size + 1, dtype=np.float32)
    reached = np.clip(edges, left, right) * weight
    return np.diff(reached.reshape(len(shape), size, per_pixel, size + 1).sum(2))


def _half_width(shape: np.ndarray, depth: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """Half the width of shapes `depth` below their tops."""
    circle = np.sqrt(np.maximum(depth * (extent - depth), 0))
    triangle = np.broadcast_to(depth / 2, circle.shape)
    square = np.broadcast_to(extent / 2, circle.shape)
    of = {"circle": circle, "square": square, "triangle": triangle}
    return np.choose(shape, [of[name] for name in SHAPES])
