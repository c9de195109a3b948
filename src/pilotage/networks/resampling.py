"""Down- and upsampling of images with a finite impulse response filter, in pure PyTorch.

``upfirdn2d`` (up-sample, filter, down-sample) and its four uses are those of StyleGAN2
(1912.04958, appendix B). Every operation can be differentiated twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, conv_transpose2d, interpolate, pad

from pilotage.errors import PilotageError
from pilotage.networks.initial import uniform_init
from pilotage.networks.plan import is_number

BINOMIAL = (1.0, 3.0, 3.0, 1.0)


def upfirdn2d(
    x: Tensor, kernel: Tensor, up: int = 1, down: int = 1, padding: tuple[int, int] = (0, 0)
) -> Tensor:
    """Put up − 1 zeros after every pixel, pad with zeros, convolve, and keep every down-th pixel.

    Args:
        x: (B, C, H, W).
        kernel: (K, K), convolved (not correlated) with every channel.
        up: factor of the zeros put between, in both directions.
        down: factor of the pixels kept, in both directions.
        padding: zeros before and after, in both directions; a negative number crops.

    Returns:
        (B, C, H', W') with H' = (up · H + padding − K) // down + 1, and W' alike.
    """
    channels, (before, after) = x.shape[1], padding
    weight = kernel.expand(channels, 1, -1, -1)
    if up == 1:
        padded = pad(x, (before, after, before, after))
        return conv2d(padded, weight.flip(2, 3), stride=down, groups=channels)
    full = conv_transpose2d(x, weight, stride=up, groups=channels)
    # the valid part of the padded, widened image, counted in pixels of the full convolution
    edge = kernel.shape[0] - 1
    left, right = before - edge, after + up - 1 - edge
    return pad(full, (left, right, left, right))[..., ::down, ::down]


@dataclass(frozen=True)
class Resampling:
    """Halving and doubling by a separable filter, or by 2x2 means and nearest neighbours.

    Attributes:
        taps: the filter in one direction, or None for means and nearest neighbours.
    """

    taps: tuple[float, ...] | None = BINOMIAL

    def down(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, ⌊H/2⌋, ⌊W/2⌋)."""
        if self.taps is None:
            return avg_pool2d(x, 2)
        spare = len(self.taps) - 2
        return upfirdn2d(x, self._kernel(x, 1), down=2, padding=((spare + 1) // 2, spare // 2))

    def up(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, 2H, 2W)."""
        if self.taps is None:
            return interpolate(x, scale_factor=2.0, mode="nearest")
        spare = len(self.taps) - 2
        padding = ((spare + 1) // 2 + 1, spare // 2)
        return upfirdn2d(x, self._kernel(x, 4), up=2, padding=padding)

    def conv_down(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """A 3x3 convolution that halves, after the filter; padded once, before both."""
        if self.taps is None:
            return conv2d(pad(x, (0, 1, 0, 1)), weight, bias, stride=2)
        spare = len(self.taps)
        x = upfirdn2d(x, self._kernel(x, 1), padding=((spare + 1) // 2, spare // 2))
        return conv2d(x, weight, bias, stride=2)

    def conv_up(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """A 3x3 convolution of the doubled image, before the filter; padded once, after both."""
        if self.taps is None:
            return conv2d(self.up(x), weight, bias, padding=1)
        spare = len(self.taps) - 4
        x = conv_transpose2d(x, weight.transpose(0, 1).flip(2, 3), stride=2)
        padding = ((spare + 1) // 2 + 1, spare // 2 + 1)
        y = upfirdn2d(x, self._kernel(x, 4), padding=padding)
        return y if bias is None else y + bias[:, None, None]

    def _kernel(self, x: Tensor, gain: int) -> Tensor:
        assert self.taps is not None
        return _kernel(self.taps, gain, x.device, x.dtype)


class _ResamplingConv(nn.Module):
    def __init__(self, channels: int, out_channels: int, resampling: Resampling):
        super().__init__()
        self.resampling = resampling
        self.conv = uniform_init(nn.Conv2d(channels, out_channels, 3))


class DownConv(_ResamplingConv):
    """Half the size by `Resampling.conv_down`."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, out_channels, H/2, W/2), for even H and W."""
        return self.resampling.conv_down(x, self.conv.weight, self.conv.bias)


class UpConv(_ResamplingConv):
    """Twice the size by `Resampling.conv_up`."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, out_channels, 2H, 2W)."""
        return self.resampling.conv_up(x, self.conv.weight, self.conv.bias)


def resampling(fir: bool, taps: Any) -> Resampling:
    """The resampling that two settings name, ``fir`` and ``fir_kernel``.

    Raises:
        PilotageError: unless the taps are a sequence of numbers with a sum other than 0.
    """
    good = isinstance(taps, Sequence) and not isinstance(taps, str) and all(map(is_number, taps))
    if not good or not sum(taps):
        raise PilotageError(
            f"fir_kernel is {taps!r}: it must be a sequence of numbers with a sum other than 0."
        )
    return Resampling(tuple(float(tap) for tap in taps) if fir else None)


@lru_cache(maxsize=64)
def _kernel(taps: tuple[float, ...], gain: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The outer product of the taps with a sum of ``gain``, rounded to float32 as published."""
    with torch.inference_mode(False), torch.no_grad():  # cached, and may be differentiated through
        line = torch.tensor(taps, dtype=torch.float32)
        square = torch.outer(line, line)
        return (square / square.sum() * gain).to(device, dtype)
