"""Scenes to pixels: where the shapes lie, how much of every pixel each covers, and the colours.

Places are random and without overlap, each from the numbers of its image alone. Lengths are in
units of the image's side, so that a scene is the same one at every size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pilotage.data.shapes.scenes import COLOURS, NONE, RELATIONS, SHAPES, Codes, Ints

RADII = np.array([3.25, 5.0]) / 32  # of the small and the large circle
AREAS = np.pi * RADII**2  # of every shape: size is area, whatever the shape
EXTENTS = np.array([2 / np.sqrt(np.pi), 1.0, np.sqrt(2.0)])  # box of a shape of area 1
SAG = np.array([0.0, 0.0, 1 / 6])  # of the centre of mass below the box's centre, in extents
MARGIN = 1 / 32  # to the image's edge
GAP = 3 / 32  # between boxes: still over a pixel at 16 x 16
CONE = 0.5  # how far a related shape may lie aside, as a part of how far it lies ahead
IN_A_ROW = 0.25  # chance that three lie in one row or column, where they fit
DRAWS = 10
LEAST_SIZE = 16  # in pixels, at which shapes can still be told apart

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

Floats = NDArray[np.float64]
Places = tuple[Floats, Floats]  # centres (N, 3) along and aside


class Objects(NamedTuple):
    """Shapes of several images; `NONE` stands for a look that has no name.

    Attributes:
        image: int64 (M,), the image's number in the batch, rising.
        size: int64 (M,), place in `SIZES`.
        colour: int64 (M,), place in `COLOURS`.
        shape: int64 (M,), place in `SHAPES`.
        x: float64 (M,), centre from the left edge: of the bounding box where shapes are placed, of
            mass where they are found.
        y: float64 (M,), the same from the upper edge.
    """

    image: Ints
    size: Ints
    colour: Ints
    shape: Ints
    x: Floats
    y: Floats


def uniforms(seed: int, indices: Ints) -> Floats:
    """`DRAWS` numbers in [0, 1) for each index, float64 (N, DRAWS).

    Index i has places i · DRAWS to (i + 1) · DRAWS − 1 of the SplitMix64 sequence (Steele, Lea and
    Flood 2014), which can be entered anywhere.
    """
    first = indices.astype(np.uint64)[:, None] * np.uint64(DRAWS)
    places = first + np.arange(1, DRAWS + 1).astype(np.uint64)
    bits: NDArray[np.uint64] = np.array([seed], np.uint64) + places * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((bits ^ (bits >> np.uint64(31))) >> np.uint64(11)) * np.float64(2.0**-53)


def place(codes: Codes, u: Floats) -> Objects:
    """Lay out scenes.

    Bounding boxes lie `MARGIN` inside the image and `GAP` apart, along the relation's axis where
    there is one; there the second centre is also within a cone around that axis, so that one
    relation of four is the right one.

    Args:
        codes: N scenes.
        u: numbers in [0, 1), (N, DRAWS).
    """
    second = codes.relation != NONE
    extents = EXTENTS[codes.shape] * np.sqrt(AREAS[codes.size])
    extents[~second, 1] = extents[~second, 0]
    total = np.where(second, 2, codes.number)
    along, aside = np.zeros((2, len(total), 3))
    for rows, layout in _layouts(codes, extents[:, 0], u):
        along[rows], aside[rows] = layout(extents[rows], u[rows, 3:])
    backward = np.where(second, codes.relation % 2 == 1, u[:, 1] < 0.5)  # "below", "right of"
    along = np.where(backward[:, None], 1 - along, along)
    upright = np.where(second, codes.relation < RELATIONS.index("left of"), u[:, 0] < 0.5)
    x = np.where(upright[:, None], aside, along)
    y = np.where(upright[:, None], along, aside)
    image, slot = np.nonzero(np.arange(3) < total[:, None])
    kind = np.where(second[image], slot, 0)
    size, colour, shape = (v[image, kind] for v in (codes.size, codes.colour, codes.shape))
    return Objects(image, size, colour, shape, x[image, slot], y[image, slot])


def _layouts(
    codes: Codes, extent: Floats, u: Floats
) -> Iterator[tuple[NDArray[np.bool_], Callable[[Floats, Floats], Places]]]:
    """Which rows get which layout."""
    related = codes.relation != NONE
    fits = 3 * extent + 2 * GAP + 2 * MARGIN <= 1
    row = fits & (u[:, 2] < IN_A_ROW)
    yield ~related & (codes.number == 1), _one
    yield ~related & (codes.number == 2), _two
    yield related, _related
    yield (codes.number == 3) & ~row, _corner
    yield (codes.number == 3) & row, _row


def _one(e: Floats, u: Floats) -> Places:
    return _three(_free(e[:, 0], u[:, 0])), _three(_free(e[:, 0], u[:, 1]))


def _two(e: Floats, u: Floats) -> Places:
    along = _ahead(e, u[:, :2])
    return _three(*along.T), _three(_free(e[:, 0], u[:, 2]), _free(e[:, 1], u[:, 3]))


def _related(e: Floats, u: Floats) -> Places:
    """The second ahead of the first, and not far aside."""
    along = _ahead(e, u[:, :2])
    first = _free(e[:, 0], u[:, 2])
    reach = CONE * (along[:, 1] - along[:, 0])
    low = np.maximum(first - reach, MARGIN + e[:, 1] / 2)
    high = np.minimum(first + reach, 1 - MARGIN - e[:, 1] / 2)
    return _three(*along.T), _three(first, low + u[:, 3] * (high - low))


def _corner(e: Floats, u: Floats) -> Places:
    """One, and two others beside each other ahead of it."""
    extent = e[:, 0]
    along = _ahead(e, u[:, :2])
    nearest = along[:, 0] + extent + GAP
    third = nearest + u[:, 2] * (1 - MARGIN - extent / 2 - nearest)
    beside = _ahead(e, u[:, 3:5])
    return _three(*along.T, third), _three(_free(extent, u[:, 5]), *beside.T)


def _row(e: Floats, u: Floats) -> Places:
    along = _ahead(e[:, [0, 0, 0]], u[:, :3])
    return along, np.stack([_free(e[:, 0], u[:, 3 + k]) for k in range(3)], 1)


def _free(extent: Floats, u: Floats) -> Floats:
    """A centre anywhere between the margins."""
    return MARGIN + extent / 2 + u * (1 - 2 * MARGIN - extent)


def _ahead(extents: Floats, u: Floats) -> Floats:
    """Centres one after another, (N, K), uniform among all that keep the gaps in this order."""
    room: Floats = 1 - 2 * MARGIN - extents.sum(1) - GAP * (extents.shape[1] - 1)
    before = np.cumsum(extents + GAP, 1) - extents - GAP
    return MARGIN + before + extents / 2 + room[:, None] * np.sort(u, 1)


def _three(*columns: Floats) -> Floats:
    """Columns (N,) as (N, 3); slots that are not used repeat the first."""
    return np.stack([*columns, *[columns[0]] * (3 - len(columns))], 1)


def draw(objects: Objects, count: int, size: int) -> NDArray[np.uint8]:
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
        some = Objects._make(values[first:last] for values in objects)
        covered = coverage(some.shape, AREAS[some.size], some.x, some.y, size)
        part = images[start : start + CHUNK]
        lit = np.zeros(part.shape, np.float32)
        np.add.at(
            lit, some.image - start, PALETTE[some.colour][:, :, None, None] * covered[:, None]
        )
        part[:] = LOW + 0.5 + (HIGH - LOW) * lit
    return images


def coverage(shape: Ints, area: Floats, x: Floats, y: Floats, size: int) -> NDArray[np.float32]:
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


def _half_width(shape: Ints, depth: Floats, extent: Floats) -> Floats:
    """Half the width of shapes `depth` below their tops."""
    circle = np.sqrt(np.maximum(depth * (extent - depth), 0))
    triangle = np.broadcast_to(depth / 2, circle.shape)
    square = np.broadcast_to(extent / 2, circle.shape)
    of = {"circle": circle, "square": square, "triangle": triangle}
    return np.choose(shape, [of[name] for name in SHAPES])
