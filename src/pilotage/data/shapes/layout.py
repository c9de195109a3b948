"""Where the shapes lie: random places without overlap, each from the numbers of its image alone.

Lengths are in units of the image's side, so that a scene is the same one at every size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pilotage.data.shapes.scenes import NONE, RELATIONS, Codes

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


class Objects(NamedTuple):
    """Shapes of several images.

    Attributes:
        image: int64 (M,), the image's number in the batch.
        size: int64 (M,), place in `SIZES`.
        colour: int64 (M,), place in `COLOURS`.
        shape: int64 (M,), place in `SHAPES`.
        x: float64 (M,), centre of the bounding box from the left edge.
        y: float64 (M,), the same from the upper edge.
    """

    image: np.ndarray
    size: np.ndarray
    colour: np.ndarray
    shape: np.ndarray
    x: np.ndarray
    y: np.ndarray


def uniforms(seed: int, indices: np.ndarray) -> np.ndarray:
    """`DRAWS` numbers in [0, 1) for each index, float64 (N, DRAWS).

    Index i has places i · DRAWS to (i + 1) · DRAWS − 1 of the SplitMix64 sequence (Steele, Lea and
    Flood 2014), which can be entered anywhere.
    """
    places = indices.astype(np.uint64)[:, None] * np.uint64(DRAWS) + np.arange(
        1, DRAWS + 1, dtype=np.uint64
    )
    bits = np.array([seed], np.uint64) + places * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((bits ^ (bits >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


def place(codes: Codes, u: np.ndarray) -> Objects:
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
    total = np.where(second, 2, codes.count)
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
    looks = (values[image, kind] for values in (codes.size, codes.colour, codes.shape))
    return Objects(image, *looks, x[image, slot], y[image, slot])


def _layouts(codes: Codes, extent: np.ndarray, u: np.ndarray):
    """Which rows get which layout."""
    related = codes.relation != NONE
    fits = 3 * extent + 2 * GAP + 2 * MARGIN <= 1
    row = fits & (u[:, 2] < IN_A_ROW)
    yield ~related & (codes.count == 1), _one
    yield ~related & (codes.count == 2), _two
    yield related, _related
    yield (codes.count == 3) & ~row, _corner
    yield (codes.count == 3) & row, _row


def _one(e: np.ndarray, u: np.ndarray):
    return _three(_free(e[:, 0], u[:, 0])), _three(_free(e[:, 0], u[:, 1]))


def _two(e: np.ndarray, u: np.ndarray):
    along = _ahead(e, u[:, :2])
    return _three(*along.T), _three(_free(e[:, 0], u[:, 2]), _free(e[:, 1], u[:, 3]))


def _related(e: np.ndarray, u: np.ndarray):
    """The second ahead of the first, and not far aside."""
    along = _ahead(e, u[:, :2])
    first = _free(e[:, 0], u[:, 2])
    reach = CONE * (along[:, 1] - along[:, 0])
    low = np.maximum(first - reach, MARGIN + e[:, 1] / 2)
    high = np.minimum(first + reach, 1 - MARGIN - e[:, 1] / 2)
    return _three(*along.T), _three(first, low + u[:, 3] * (high - low))


def _corner(e: np.ndarray, u: np.ndarray):
    """One, and two others beside each other ahead of it."""
    extent = e[:, 0]
    along = _ahead(e, u[:, :2])
    nearest = along[:, 0] + extent + GAP
    third = nearest + u[:, 2] * (1 - MARGIN - extent / 2 - nearest)
    beside = _ahead(e, u[:, 3:5])
    return _three(*along.T, third), _three(_free(extent, u[:, 5]), *beside.T)


def _row(e: np.ndarray, u: np.ndarray):
    along = _ahead(e[:, [0, 0, 0]], u[:, :3])
    return along, np.stack([_free(e[:, 0], u[:, 3 + k]) for k in range(3)], 1)


def _free(extent: np.ndarray, u: np.ndarray) -> np.ndarray:
    """A centre anywhere between the margins."""
    return MARGIN + extent / 2 + u * (1 - 2 * MARGIN - extent)


def _ahead(extents: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Centres one after another, (N, K), uniform among all that keep the gaps in this order."""
    room = 1 - 2 * MARGIN - extents.sum(1) - GAP * (extents.shape[1] - 1)
    before = np.cumsum(extents + GAP, 1) - extents - GAP
    return MARGIN + before + extents / 2 + room[:, None] * np.sort(u, 1)


def _three(*columns: np.ndarray) -> np.ndarray:
    """Columns (N,) as (N, 3); slots that are not used repeat the first."""
    return np.stack([*columns, *[columns[0]] * (3 - len(columns))], 1)
