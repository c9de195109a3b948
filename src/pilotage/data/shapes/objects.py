"""Regions to shapes: their size, colour, outline and place, as far as they have a name."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pilotage.data.shapes.draw import HIGH, LOW, PALETTE, coverage
from pilotage.data.shapes.layout import AREAS, EXTENTS, SAG
from pilotage.data.shapes.scenes import NONE, SHAPES
from pilotage.data.shapes.segment import BACKGROUND, regions, widened

SPECK = AREAS[0] / 4  # smaller regions are no shapes
MOST = 8  # regions of one image that are looked at, the largest first
SOFTEST = 2  # times that an outline is softened to meet a blurred shape
CONTRASTS = (0.7, 1.3)  # of a shape, from the faintest to the strongest that are borne with
WORST_FIT = 0.25  # of a region's squared pixels, what its best outline may leave over
CHUNK = 64  # images at a time


class Found(NamedTuple):
    """Shapes found in several images; `NONE` stands for a look that has no name.

    Attributes:
        image: int64 (M,), the image's number in the batch, rising.
        size: int64 (M,), place in `SIZES`.
        colour: int64 (M,), place in `COLOURS`.
        shape: int64 (M,), place in `SHAPES`.
        x: float64 (M,), centre of mass from the left edge, in units of the image's side.
        y: float64 (M,), the same from the upper edge.
    """

    image: np.ndarray
    size: np.ndarray
    colour: np.ndarray
    shape: np.ndarray
    x: np.ndarray
    y: np.ndarray


def find(pixels: np.ndarray) -> Found:
    """Find the shapes of images, at most `MOST` of each.

    A shape is a connected region of one colour. Its area, with the partly covered pixels around
    it, tells its size. Its outline is the one that, drawn with this area at this centre of mass,
    softened or not and at the best contrast, is the nearest to it in squared distance.

    Args:
        pixels: float32 (N, 3, S, S), 0 to 255.
    """
    parts = [_find(pixels[k : k + CHUNK], k) for k in range(0, max(1, len(pixels)), CHUNK)]
    return Found(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _find(pixels: np.ndarray, first: int) -> Found:
    light = np.clip((pixels - LOW) / (HIGH - LOW), 0, 1)
    codes = colour_codes(light)
    labels = regions(codes)
    roots = large_regions(labels)
    image = roots // labels[0].size
    lit = (codes.reshape(-1)[roots][:, None] >> np.arange(3)) & 1
    own = labels[image] == roots[:, None, None]
    near = own | (widened(own) & (codes[image] == 0))
    weights = (lit / lit.sum(1, keepdims=True)).astype(np.float32)
    covered = np.einsum("mchw,mc->mhw", light[image], weights) * near
    area, x, y = moments(covered)
    shape = outline(covered, near, area, x, y)
    return Found(first + image, size_of(area), colour_of(lit), shape, x, y)


def colour_codes(light: np.ndarray) -> np.ndarray:
    """The colour of every pixel: a sum of 1, 2 and 4 for its lit channels, 0 for background.

    Lit are the channels above half of the brightest, so that a faint edge has its shape's colour,
    and a pixel is part of a shape if these are above one half on average.

    Args:
        light: float32 (N, 3, S, S), 0 where a channel is dark and 1 where it is lit.
    """
    lit = light > light.max(1, keepdims=True) / 2
    mean = (light * lit).sum(1) / np.maximum(lit.sum(1), 1)
    return (lit[:, 0] + 2 * lit[:, 1] + 4 * lit[:, 2]) * (mean > 0.5)


def large_regions(labels: np.ndarray) -> np.ndarray:
    """Labels of the regions that may be shapes, at most `MOST` of each image, rising."""
    pixels = labels[0].size
    roots, areas = np.unique(labels[labels != BACKGROUND], return_counts=True)
    large = areas >= SPECK * pixels
    roots, areas = roots[large], areas[large]
    image = roots // pixels
    order = np.lexsort((-areas, image))
    rank = np.arange(len(order)) - np.searchsorted(image, image)
    return np.sort(roots[order[rank < MOST]])


def moments(covered: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Area and centre of mass of shapes (M, S, S), in units of the image and of its side."""
    side = covered.shape[-1]
    centres = (np.arange(side) + 0.5) / side
    total = covered.sum((1, 2), dtype=np.float64)
    return total / side**2, covered.sum(1) @ centres / total, covered.sum(2) @ centres / total


def size_of(area: np.ndarray) -> np.ndarray:
    """The size whose area is the nearest by ratio; `NONE` where that is as far as the next."""
    steps = np.log(area / AREAS[0]) / np.log(AREAS[1] / AREAS[0])
    nearest = np.floor(steps + 0.5).astype(np.int64)
    return np.where((nearest >= 0) & (nearest < len(AREAS)), nearest, NONE)


def colour_of(lit: np.ndarray) -> np.ndarray:
    """The colour with these channels (M, 3); `NONE` for white."""
    same = (lit[:, None] == PALETTE).all(2)
    return np.where(same.any(1), same.argmax(1), NONE)


def outline(
    covered: np.ndarray, near: np.ndarray, area: np.ndarray, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """The shape whose drawing is the nearest to each region; `NONE` where none is near."""
    misfits = []
    for shape in range(len(SHAPES)):
        middle = y - SAG[shape] * EXTENTS[shape] * np.sqrt(area)
        drawn = coverage(np.full(len(area), shape), area, x, middle, covered.shape[-1])
        tried = []
        for _ in range(SOFTEST + 1):
            tried.append(_misfit(covered, drawn * near))
            drawn = softened(drawn)
        misfits.append(np.min(tried, axis=0))
    fits = np.min(misfits, axis=0) <= WORST_FIT * np.square(covered).sum((1, 2))
    return np.where(fits, np.argmin(misfits, axis=0), NONE)


def _misfit(covered: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Squared distance (M,) to a drawing at the best contrast."""
    fitting = (covered * drawn).sum((1, 2)) / np.square(drawn).sum((1, 2))
    contrast = np.clip(fitting, *CONTRASTS)[:, None, None]
    return np.square(covered - contrast * drawn).sum((1, 2))


def softened(drawn: np.ndarray) -> np.ndarray:
    """Images (M, S, S) blurred by the binomial filter 1, 2, 1 along both axes."""
    side = drawn.shape[-1]
    wide = np.pad(drawn, ((0, 0), (1, 1), (1, 1)))
    tall = wide[:, :side] + 2 * wide[:, 1:-1] + wide[:, 2:]
    return (tall[:, :, :side] + 2 * tall[:, :, 1:-1] + tall[:, :, 2:]) / 16
