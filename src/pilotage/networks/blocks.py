"""The layers of the ADM U-Net, each called as ``layer(h, emb, text)``.

``h`` is (B, C, H, W), ``emb`` the (B, E) time and class embedding and ``text`` a (B, L, W) sequence
or None. Layers ignore an ``emb`` or ``text`` that they do not use, so that a stage of the network
is a plain sequence of layers.
"""

from collections.abc import Callable
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, scaled_dot_product_attention, silu


class GroupNorm(nn.GroupNorm):
    """Group norm with the given groups, or fewer where they do not divide the channels."""

    def __init__(self, channels: int, groups: int):
        super().__init__(gcd(groups, channels), channels)

    def forward(self, h: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape.

        torch's module refuses a single image of a single pixel, which can be the lowest level of a
        small image; its function does not.
        """
        return torch.group_norm(h, self.num_groups, self.weight, self.bias, self.eps)


def halve(x: Tensor) -> Tensor:
    """Average 2x2 windows; an odd last row or column is averaged over its own pixels only."""
    return avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


def double(x: Tensor) -> Tensor:
    """Repeat every pixel twice in both directions."""
    return interpolate(x, scale_factor=2.0, mode="nearest")


class Downsample(nn.Module):
    """Downsample by 2, rounded up: a strided 3x3 convolution, or the 2x2 mean."""

    def __init__(self, channels: int, conv: bool):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1) if conv else None

    def forward(self, h: Tensor, emb: Tensor, text: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B, C, ⌈H/2⌉, ⌈W/2⌉)."""
        return halve(h) if self.conv is None else self.conv(h)


class Upsample(nn.Module):
    """Upsample by 2: nearest neighbour, then optionally a 3x3 convolution."""

    def __init__(self, channels: int, conv: bool):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1) if conv else None

    def forward(self, h: Tensor, emb: Tensor, text: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B, C, 2H, 2W)."""
        return double(h) if self.conv is None else self.conv(double(h))


class ResBlock(nn.Module):
    """Residual block of ADM (2105.05233, Section 3), BigGAN's when it also resamples.

    Args:
        channels: input channels.
        out_channels: output channels; a 1x1 convolution matches the skip path where they differ.
        emb_width: width of ``emb``.
        groups: groups of its norms.
        dropout: probability of dropping an activation before the last convolution.
        scale_shift: ``emb`` gives norm(h)·(1 + scale) + shift; otherwise it is added before the
            norm.
        resample: `halve` or `double`, applied on both paths before their convolutions, or None.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        emb_width: int,
        groups: int,
        *,
        dropout: float = 0.0,
        scale_shift: bool = True,
        resample: Callable[[Tensor], Tensor] | None = None,
    ):
        super().__init__()
        self.scale_shift, self.resample = scale_shift, resample
        self.norm_in = GroupNorm(channels, groups)
        self.conv_in = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.emb = nn.Linear(emb_width, 2 * out_channels if scale_shift else out_channels)
        self.norm_out = GroupNorm(out_channels, groups)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        same = channels == out_channels
        self.skip = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def forward(self, h: Tensor, emb: Tensor, text: Tensor | None = None) -> Tensor:
        """(B, channels, H, W) to (B, out_channels, H, W), or the resampled size."""
        y = silu(self.norm_in(h))
        if self.resample is not None:
            h, y = self.resample(h), self.resample(y)
        y = self._modulated_norm(self.conv_in(y), self.emb(emb)[:, :, None, None])
        out: Tensor = self.skip(h) + self.conv_out(self.dropout(silu(y)))
        return out

    def _modulated_norm(self, y: Tensor, emb: Tensor) -> Tensor:
        if not self.scale_shift:
            shifted: Tensor = self.norm_out(y + emb)
            return shifted
        scale, shift = emb.chunk(2, dim=1)
        return torch.addcmul(shift, self.norm_out(y), 1 + scale)


class Stage(nn.ModuleDict):
    """A sequence of layers with the same ``emb`` and ``text``."""

    def __init__(self, **layers: nn.Module | None):
        super().__init__({name: layer for name, layer in layers.items() if layer is not None})

    def forward(self, h: Tensor, emb: Tensor, text: Tensor | None = None) -> Tensor:
        """Apply every layer to (B, C, H, W)."""
        for layer in self.values():
            h = layer(h, emb, text)
        return h


class Attention(nn.Module):
    """Multi-head self-attention with a residual path, as in ADM (2105.05233).

    The projection's rows are [all q | all k | all v], each ordered by head. Published weights that
    interleave the heads are permuted on loading.

    With ``text_width``, pixels also attend to a text: its keys and values precede theirs
    (GLIDE, 2112.10741, section 4.1). The rows of that projection are [all k | all v].
    """

    def __init__(self, channels: int, heads: int, groups: int, text_width: int | None = None):
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm(channels, groups)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.text_kv = None if text_width is None else nn.Linear(text_width, 2 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, h: Tensor, emb: Tensor, text: Tensor | None = None) -> Tensor:
        """Map (B, C, H, W), optionally with a text (B, L, text_width), to the same shape."""
        tokens = self.norm(h).flatten(2).transpose(1, 2)  # (B, HW, C)
        q, k, v = split_heads(self.qkv(tokens), self.heads)
        if self.text_kv is not None and text is not None:
            k_text, v_text = split_heads(self.text_kv(text), self.heads, parts=2)
            k, v = torch.cat([k_text, k], dim=2), torch.cat([v_text, v], dim=2)
        mixed = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        branch: Tensor = self.proj(mixed)
        return h + torch.unflatten(branch.transpose(1, 2), 2, h.shape[2:])


def split_heads(qkv: Tensor, heads: int, parts: int = 3) -> tuple[Tensor, ...]:
    """Split (B, L, 3C), ordered as in `Attention`, into q, k and v, (B, heads, L, C / heads).

    With 2 parts, (B, L, 2C) to k and v.
    """
    return torch.unflatten(qkv, 2, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind()
