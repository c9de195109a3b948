"""Pixels to regions: connected pixels of one colour."""

from __future__ import annotations

import numpy as np

BACKGROUND = -1


def regions(colours: np.ndarray) -> np.ndarray:
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


def _neighbours():
    """Slices that lay an image over itself: one pixel right, down, and along both diagonals."""
    every, first, last = slice(None), slice(None, -1), slice(1, None)
    for rows, columns in (
        ((every, every), (first, last)),
        ((first, last), (every, every)),
        ((first, last), (first, last)),
        ((first, last), (last, first)),
    ):
        yield (every, rows[0], columns[0]), (every, rows[1], columns[1])


def widened(masks: np.ndarray) -> np.ndarray:
    """Masks (M, H, W) with all pixels that touch them, also at a corner."""
    wide = masks.copy()
    wide[:, 1:] |= masks[:, :-1]
    wide[:, :-1] |= masks[:, 1:]
    result = wide.copy()
    result[:, :, 1:] |= wide[:, :, :-1]
    result[:, :, :-1] |= wide[:, :, 1:]
    return result
