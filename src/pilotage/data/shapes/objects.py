"""Pixels to shapes: connected regions of one colour, and their size, colour, outline and place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pilotage.data.shapes.draw import (
    AREAS,
    EXTENTS,
    HIGH,
    LOW,
    PALETTE,
    SAG,
    Floats,
    Objects,
    coverage,
)
from pilotage.data.shapes.scenes import NONE, SHAPES, Ints

BACKGROUND = -1
SPECK = AREAS[0] / 4  # smaller regions are no shapes
MOST = 8  # regions of one image that are looked at, the largest first
SOFTEST = 2  # times that an outline is softened to meet a blurred shape
CONTRASTS = (0.7, 1.3)  # of a shape, from the faintest to the strongest that are borne with
WORST_FIT = 0.25  # of a region's squared pixels, what its best outline may leave over
CHUNK = 64  # images at a time

Pixels = NDArray[np.float32]
Masks = NDArray[np.bool_]
Slices = tuple[slice, slice, slice]


def find(pixels: Pixels) -> Objects:
    """Find the shapes of images, at most `MOST` of each.

    A shape is a connected region of one colour. Its area, with the partly covered pixels around
    it, tells its size. Its outline is the one that, drawn with this area at this centre of mass,
    softened or not and at the best contrast, is the nearest to it in squared distance. Its place is
    the centre of mass.

    Args:
        pixels: float32 (N, 3, S, S), 0 to 255.
    """
    parts = [_find(pixels[k : k + CHUNK], k) for k in range(0, max(1, len(pixels)), CHUNK)]
    return Objects(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _find(pixels: Pixels, first: int) -> Objects:
    light = np.clip((pixels - LOW) / np.float32(HIGH - LOW), 0, 1)
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
    return Objects(first + image, size_of(area), colour_of(lit), shape, x, y)


def colour_codes(light: Pixels) -> Ints:
    """The colour of every pixel: a sum of 1, 2 and 4 for its lit channels, 0 for background.

    Lit are the channels above half of the brightest, so that a faint edge has its shape's colour,
    and a pixel is part of a shape if these are above one half on average.

    Args:
        light: float32 (N, 3, S, S), 0 where a channel is dark and 1 where it is lit.
    """
    lit = light > light.max(1, keepdims=True) / 2
    mean = (light * lit).sum(1) / np.maximum(lit.sum(1), 1)
    codes: Ints = (lit[:, 0] + 2 * lit[:, 1] + 4 * lit[:, 2]) * (mean > 0.5)
    return codes


def large_regions(labels: Ints) -> Ints:
    """Labels of the regions that may be shapes, at most `MOST` of each image, rising."""
    pixels = labels[0].size
    roots, areas = np.unique(labels[labels != BACKGROUND], return_counts=True)
    large = areas >= SPECK * pixels
    roots, areas = roots[large], areas[large]
    image = roots // pixels
    order = np.lexsort((-areas, image))
    rank = np.arange(len(order)) - np.searchsorted(image, image)
    return np.sort(roots[order[rank < MOST]])


def moments(covered: Pixels) -> tuple[Floats, Floats, Floats]:
    """Area and centre of mass of shapes (M, S, S), in units of the image and of its side."""
    side = covered.shape[-1]
    centres = (np.arange(side) + 0.5) / side
    total = covered.sum((1, 2), dtype=np.float64)
    return total / side**2, covered.sum(1) @ centres / total, covered.sum(2) @ centres / total


def size_of(area: Floats) -> Ints:
    """The size whose area is the nearest by ratio; `NONE` where that is as far as the next."""
    steps = np.log(area / AREAS[0]) / np.log(AREAS[1] / AREAS[0])
    nearest = np.floor(steps + 0.5).astype(np.int64)
    return np.where((nearest >= 0) & (nearest < len(AREAS)), nearest, NONE)


def colour_of(lit: Ints) -> Ints:
    """The colour with these channels (M, 3); `NONE` for white."""
    same = (lit[:, None] == PALETTE).all(2)
    return np.where(same.any(1), same.argmax(1), NONE)


def outline(covered: Pixels, near: Masks, area: Floats, x: Floats, y: Floats) -> Ints:
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


def _misfit(covered: Pixels, drawn: Pixels) -> Pixels:
    """Squared distance (M,) to a drawing at the best contrast."""
    fitting = (covered * drawn).sum((1, 2)) / np.square(drawn).sum((1, 2))
    contrast = np.clip(fitting, *CONTRASTS)[:, None, None]
    misfit: Pixels = np.square(covered - contrast * drawn).sum((1, 2))
    return misfit


def softened(drawn: Pixels) -> Pixels:
    """Images (M, S, S) blurred by the binomial filter 1, 2, 1 along both axes."""
    side = drawn.shape[-1]
    wide: Pixels = np.pad(drawn, ((0, 0), (1, 1), (1, 1)))
    tall = wide[:, :side] + 2 * wide[:, 1:-1] + wide[:, 2:]
    soft: Pixels = (tall[:, :, :side] + 2 * tall[:, :, 1:-1] + tall[:, :, 2:]) / 16
    return soft


def regions(colours: Ints) -> Ints:
    """Label the connected regions of equal colour in every image; diagonal neighbours connect.

    Labels spread to neighbours, and every pixel also takes over the label of the pixel that its
    own label names, so a region is done after about the logarithm of its length in rounds.

    Args:
        colours: whole numbers (N, H, W), 0 for background.

    Returns:
        int64 (N, H, W): `BACKGROUND`, or a number that only this region has in the whole batch.
    """
    colours = np.ascontiguousarray(colours)
    labels = np.where(colours > 0, np.arange(colours.size).reshape(colours.shape), BACKGROUND)
    joined = [(a, b, (colours[a] == colours[b]) & (colours[a] > 0)) for a, b in _neighbours()]
    inside = np.flatnonzero(colours)
    flat = labels.reshape(-1)
    while True:
        before = flat[inside]
        for a, b, same in joined:
            np.maximum(labels[a], labels[b], out=labels[a], where=same)
            np.maximum(labels[b], labels[a], out=labels[b], where=same)
        flat[inside] = flat[flat[inside]]
        if np.array_equal(before, flat[inside]):
            return labels


def _neighbours() -> Iterator[tuple[Slices, Slices]]:
    """Slices that lay an image over itself: one pixel right, down, and along both diagonals."""
    every, first, last = slice(None), slice(None, -1), slice(1, None)
    for rows, columns in (
        ((every, every), (first, last)),
        ((first, last), (every, every)),
        ((first, last), (first, last)),
        ((first, last), (last, first)),
    ):
        yield (every, rows[0], columns[0]), (every, rows[1], columns[1])


def widened(masks: Masks) -> Masks:
    """Masks (M, H, W) with all pixels that touch them, also at a corner."""
    wide = masks.copy()
    wide[:, 1:] |= masks[:, :-1]
    wide[:, :-1] |= masks[:, 1:]
    result = wide.copy()
    result[:, :, 1:] |= wide[:, :, :-1]
    result[:, :, :-1] |= wide[:, :, 1:]
    return result
