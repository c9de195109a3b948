"""Fourier features of a network's input, which separate neighbouring intensities."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pilotage.errors import PilotageError


def fourier_features(x: Tensor, first: int, last: int) -> Tensor:
    """Return sin and cos of 2π 2ⁿ x for n = first..last (2107.00630, appendix C).

    The paper writes 2ⁿ π: its n_min = 7 and n_max = 8 are 6 and 7 here. Angles are at least
    float32. 2ⁿ x modulo 1 is exact, so that high frequencies lose no precision.

    Args:
        x: (B, C, *size).
        first: the lowest n.
        last: the highest n.

    Returns:
        (B, 2 C (last − first + 1), *size) in the dtype of x: all sines, then all cosines; in each,
        the n of the first channel, then those of the next.
    """
    powers = [2.0**n for n in range(first, last + 1)]
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    turns = torch.stack([wide * power for power in powers], dim=2).flatten(1, 2)
    angle = 2 * math.pi * (turns - turns.round())
    return torch.cat([angle.sin(), angle.cos()], dim=1).to(x.dtype)


def with_fourier(x: Tensor, fourier: Sequence[int] | None) -> Tensor:
    """Append Fourier features of n = fourier[0]..fourier[1] to x; return x alone if None."""
    return x if fourier is None else torch.cat([x, fourier_features(x, *fourier)], dim=1)


def input_channels(channels: int, fourier: Sequence[int] | None) -> int:
    """Channels of :func:`with_fourier`."""
    return channels if fourier is None else channels * (1 + 2 * (fourier[1] - fourier[0] + 1))


def check_fourier(fourier: Any) -> None:
    """Raise a `PilotageError` unless this is None or two non-decreasing whole numbers."""
    if fourier is None:
        return
    pair = isinstance(fourier, list | tuple) and len(fourier) == 2
    if not pair or not all(type(n) is int for n in fourier) or fourier[0] > fourier[1]:
        raise PilotageError(
            f"fourier is {fourier!r}: it must be None or two whole numbers, the second at least "
            "the first."
        )
