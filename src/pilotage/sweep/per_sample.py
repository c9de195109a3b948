"""What an image gets right of its caption and condition: numbers of its own, before any average.

Each has the name of the metric that its mean is, an entry of `pilotage.metrics.registry`.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from pilotage.data.shapes import ATTRIBUTES, check, parse
from pilotage.data.shapes.draw import LEAST_SIZE
from pilotage.errors import PilotageError
from pilotage.metrics.features import Array, PerSample
from pilotage.objectives.conditioned import shrunk

LEVELS = 255
ROUNDING = 1 / 12  # mean square, in levels, of what rounding to whole levels takes away


def judged_by_pixels(captions: Sequence[str], shape: Sequence[int]) -> bool:
    """Whether all captions are those of captioned shapes, and such images can be checked."""
    channels, height, width = shape
    if channels != 3 or height != width or height < LEAST_SIZE:
        return False
    try:
        for caption in set(captions):
            parse(caption)
    except PilotageError:
        return False
    return True


def attribute_scores(images: UInt8[Tensor, "N 3 S S"], captions: Sequence[str]) -> PerSample:
    """1 where an attribute of the caption is right, 0 where it is wrong.

    The relation is NaN where a caption has none.
    """
    found = check(images, captions)
    scores = {f"attribute_{name}": getattr(found, name) * 1.0 for name in ("all", *ATTRIBUTES)}
    scores["attribute_relation"][~found.related] = np.nan
    return scores


def condition_psnr(images: UInt8[Tensor, "N C H W"], low_res: Float[Tensor, "N C h w"]) -> Array:
    """PSNR of enlarged images, made small again, against what they were enlarged from.

    In dB, 20 log10(255 / RMSE): both are compared in the 255 levels of 8-bit images, unrounded but
    for the enlarged image itself. RMSE² counts as 1/12 at least, so equal images have 58.9 dB.

    Args:
        images: the enlarged ones.
        low_res: in [−1, 1].
    """
    small = shrunk(images.cpu().double(), (low_res.shape[2], low_res.shape[3]))
    return _psnr(((small - _levels(low_res)) ** 2).mean(dim=(1, 2, 3)))


def known_psnr(
    images: UInt8[Tensor, "N C H W"],
    known: Float[Tensor, "N C H W"],
    mask: Float[Tensor, "N 1 H W"],
) -> Array:
    """PSNR of completed images over their known pixels, in the levels of :func:`condition_psnr`.

    Args:
        images: the completed ones.
        known: the true image, in [−1, 1], where it is known.
        mask: 1 where it is known; NaN comes back where nothing is.
    """
    mask = mask.cpu().double()
    squares = (images.cpu().double() - _levels(known)) ** 2 * mask
    return _psnr(squares.sum(dim=(1, 2, 3)) / (images.shape[1] * mask.sum(dim=(1, 2, 3))))


def caption_diversity(images: Array, per_caption: int) -> Array:
    """How much images of one caption differ: RMS pixel difference, mean over their pairs.

    Args:
        images: uint8 (N, H, W, C), a caption's in a row.
        per_caption: how many these are, of the last caption perhaps fewer.

    Returns:
        (N,) in units of the whole range of a pixel; NaN but at a caption's first image, and there
        too if it has no other.
    """
    found = np.full(len(images), np.nan)
    for k in range(0, len(images) - 1, per_caption):
        pairs = combinations(images[k : k + per_caption] / LEVELS, 2)
        apart = [np.sqrt(np.square(a - b).mean()) for a, b in pairs]
        found[k] = np.mean(apart) if apart else np.nan
    return found


def _levels(images: Tensor) -> Tensor:
    return (images.cpu().double() + 1) * (LEVELS / 2)


def _psnr(squares: Float[Tensor, " N"]) -> Array:
    found: Array = 10 * torch.log10(LEVELS**2 / squares.clamp_min(ROUNDING)).numpy()
    return found
