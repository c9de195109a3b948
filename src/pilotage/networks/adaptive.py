"""The layers of NCSN++ with a latent, each called as ``layer(h, emb)`` (2112.07804, appendix C).

``h`` is (B, C, H, W) and ``emb`` the `Embeddings`. Layers ignore embeddings that they do not use.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from pilotage.networks.initial import NEARLY_ZERO, uniform_init

EPS = 1e-6
Block = Literal["biggan", "biggan_one", "ddpm"]
Resample = Callable[[Tensor], Tensor]


class Embeddings(NamedTuple):
    """The conditioning of every block.

    Attributes:
        time: (B, E), the time and class embedding; None for a network without a time.
        latent: (B, Z), the mapped latent.
    """

    time: Tensor | None
    latent: Tensor


def group_count(channels: int) -> int:
    """Return the groups of a norm: a quarter of the channels, at most 32, and a divisor of them."""
    most = max(1, min(channels // 4, 32))
    return next(groups for groups in range(most, 0, -1) if channels % groups == 0)


class Norm(nn.GroupNorm):
    """Group norm with learned weight and bias."""

    def __init__(self, channels: int):
        super().__init__(group_count(channels), channels, eps=EPS)

    def forward(self, h: Tensor, emb: Embeddings | None = None) -> Tensor:
        """(B, C, H, W) to the same shape, a single pixel included."""
        return torch.group_norm(h, self.num_groups, self.weight, self.bias, self.eps)


class AdaptiveNorm(nn.Module):
    """Group norm whose scale γ and shift β are linear in the mapped latent (not 1 + γ)."""

    def __init__(self, channels: int, latent_width: int):
        super().__init__()
        self.groups = group_count(channels)
        self.style = uniform_init(nn.Linear(latent_width, 2 * channels), over="outputs")
        nn.init.ones_(self.style.bias[:channels])

    def forward(self, h: Tensor, emb: Embeddings) -> Tensor:
        """(B, C, H, W) to the same shape."""
        gamma, beta = self.style(emb.latent)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(beta, gamma, torch.group_norm(h, self.groups, eps=EPS))


class AdaptiveBlock(nn.Module):
    """Residual block with adaptive group norms; the time is added between its convolutions.

    Args:
        channels: input channels.
        out_channels: output channels.
        time_width: of ``emb.time``, or None for a network without a time.
        latent_width: of ``emb.latent``.
        kind: "biggan", or "biggan_one" with an adaptive norm at the input only, or "ddpm".
        dropout: probability of dropping an activation before the last convolution.
        rescale: divide the residual sum by √2.
        resample: applied on both paths before their convolutions, or None.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        time_width: int | None,
        latent_width: int,
        kind: Block = "biggan",
        dropout: float = 0.0,
        rescale: bool = True,
        resample: Resample | None = None,
    ):
        super().__init__()
        self.kind, self.resample, self.divisor = kind, resample, divisor(rescale)
        self.norm_in = AdaptiveNorm(channels, latent_width)
        self.conv_in = uniform_init(nn.Conv2d(channels, out_channels, 3, padding=1))
        self.time = None
        if time_width is not None:
            self.time = uniform_init(nn.Linear(time_width, out_channels))
        one = kind == "biggan_one"
        self.norm_out = Norm(out_channels) if one else AdaptiveNorm(out_channels, latent_width)
        self.dropout = nn.Dropout(dropout)
        last = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_out = uniform_init(last, NEARLY_ZERO)
        same = channels == out_channels and resample is None
        self.skip = None if same else uniform_init(nn.Conv2d(channels, out_channels, 1))

    def forward(self, h: Tensor, emb: Embeddings) -> Tensor:
        """(B, channels, H, W) to (B, out_channels, H, W), or the resampled size."""
        y = silu(self.norm_in(h, emb))
        if self.resample is not None:
            h, y = self.resample(h), self.resample(y)
        y = self.conv_in(y)
        if self.time is not None:
            y = y + self.time(emb.time)[:, :, None, None]
        y = self.conv_out(self.dropout(silu(self.norm_out(y, emb))))
        out: Tensor = ((h if self.skip is None else self.skip(h)) + y) / self.divisor
        return out


class PixelAttention(nn.Module):
    """Self-attention over the pixels, with one head and a residual path."""

    def __init__(self, channels: int, rescale: bool = True):
        super().__init__()
        self.divisor = divisor(rescale)
        self.norm = Norm(channels)
        self.q, self.k, self.v = (_projection(channels, 0.1) for _ in range(3))
        self.proj = _projection(channels, NEARLY_ZERO)

    def forward(self, h: Tensor, emb: Embeddings | None = None) -> Tensor:
        """(B, C, H, W) to the same shape."""
        tokens = self.norm(h).flatten(2).transpose(1, 2)[:, None]  # one head: (B, 1, HW, C)
        mixed = scaled_dot_product_attention(self.q(tokens), self.k(tokens), self.v(tokens))
        branch: Tensor = self.proj(mixed[:, 0])
        return (h + torch.unflatten(branch.transpose(1, 2), 2, h.shape[2:])) / self.divisor


def divisor(rescale: bool) -> float:
    """Return the divisor of a sum of two paths."""
    return math.sqrt(2) if rescale else 1.0


def _projection(channels: int, scale: float) -> nn.Linear:
    return uniform_init(nn.Linear(channels, channels), scale)
