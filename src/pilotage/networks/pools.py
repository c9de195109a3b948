"""From the feature maps of the way down to the logits of a classifier, in ADM's four ways.

Each pool is called with every feature map, (B, C, H, W) of its own C, H and W, from the stem's to
the middle's, and answers (B, classes). The layers are those of guided-diffusion's
``EncoderUNetModel`` (Dhariwal & Nichol, 2105.05233).
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, scaled_dot_product_attention, silu

from pilotage.networks.attention import split_heads
from pilotage.networks.blocks import GroupNorm

HIDDEN = 2048  # width of the spatial pools


class AttentionPool(nn.Module):
    """The mean of the lowest level asks all of its pixels, as in CLIP (2103.00020).

    Args:
        channels: channels of the last map.
        classes: number of logits.
        heads: number of attention heads.
        groups: groups of the norm.
        pixels: pixels of the last map; the positions are learned, so it is fixed.
    """

    def __init__(self, channels: int, classes: int, heads: int, groups: int, pixels: int):
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm(channels, groups)
        # (C, 1 + HW): the mean's position, then those of the pixels row by row
        self.positional_embedding = nn.Parameter(torch.randn(channels, 1 + pixels) / channels**0.5)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, classes)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Every feature map, of which only the last counts, to (B, classes)."""
        h = silu(self.norm(maps[-1])).flatten(2)
        tokens = torch.cat([h.mean(2, keepdim=True), h], dim=2) + self.positional_embedding
        q, k, v = split_heads(self.qkv(tokens.transpose(1, 2)), self.heads)
        answer = scaled_dot_product_attention(q[:, :, :1], k, v)  # (B, heads, 1, C / heads)
        return self.proj(answer.flatten(1))


class SpatialPool(nn.Module):
    """The spatial means of all maps, through one hidden layer.

    Args:
        features: channels of all maps together.
        classes: number of logits.
        groups: groups of the hidden norm followed by SiLU (``spatial_v2``); None for ReLU without
            a norm (``spatial``).
    """

    def __init__(self, features: int, classes: int, groups: int | None = None):
        super().__init__()
        self.hidden = nn.Linear(features, HIDDEN)
        self.norm = None if groups is None else GroupNorm(HIDDEN, groups)
        self.out = nn.Linear(HIDDEN, classes)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Every feature map to (B, classes)."""
        h = self.hidden(torch.cat([each.mean((2, 3)) for each in maps], dim=1))
        return self.out(relu(h) if self.norm is None else silu(self.norm(h)))


class AdaptivePool(nn.Module):
    """The spatial mean of the last map, normed, and a 1x1 convolution.

    Args:
        channels: channels of the last map.
        classes: number of logits.
        groups: groups of the norm.
    """

    def __init__(self, channels: int, classes: int, groups: int):
        super().__init__()
        self.norm = GroupNorm(channels, groups)
        self.out = nn.Conv2d(channels, classes, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Every feature map, of which only the last counts, to (B, classes)."""
        h = silu(self.norm(maps[-1])).mean((2, 3), keepdim=True)
        return self.out(h).flatten(1)
