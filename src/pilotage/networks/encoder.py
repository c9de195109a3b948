"""The encoder of ADM's U-Net as a classifier of noisy images (2105.05233, section 4).

It ends in one of ADM's four pools. Each is called with every feature map, (B, C, H, W) of its own
C, H and W, from the stem's to the middle's, and returns (B, classes). The layers are those of
guided-diffusion's ``EncoderUNetModel``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, scaled_dot_product_attention, silu

from pilotage.errors import PilotageError
from pilotage.networks.blocks import GroupNorm, split_heads
from pilotage.networks.embedding import TimeClassEmbedding
from pilotage.networks.encoder_path import ADMPlan, middle, way_down, zero, zero_branches
from pilotage.networks.plan import Network, check_input, one_of, positive_int

POOLS = ("attention", "spatial", "spatial_v2", "adaptive")
HIDDEN = 2048  # width of the spatial pools


@dataclass(frozen=True, kw_only=True)
class EncoderPlan(ADMPlan):
    """The settings of a `UNetEncoder`: those of `ADMPlan`, and these.

    Attributes:
        size: (H, W) of the images. Only pool "attention" needs it, and supports only this
            size (or one with the same lowest level); the others support any size.
        classes: number of logits.
        pool: "attention", from the mean of the lowest level to its pixels; "spatial", the means of
            all maps through ReLU; "spatial_v2", the same through a norm and SiLU; or "adaptive",
            the mean of the lowest level, which ``zero_init`` starts at zero.
    """

    size: Sequence[int] | None = None
    classes: int = 10
    pool: str = "attention"

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_int("classes", self.classes)
        one_of("pool", self.pool, POOLS)
        if self.size is not None:
            _check_pair(self.size)
        elif self.pool == "attention":
            raise PilotageError(
                "size is None but pool is 'attention': it must be (H, W), since that pool has one "
                "learned position per pixel of the lowest level."
            )

    def lowest(self, size: Sequence[int]) -> tuple[int, int]:
        """(H, W) of the lowest level, for images of this size."""
        return halved(size, len(self.widths) - 1)


class UNetEncoder(Network):
    """The encoder and the middle of a `UNet`, pooled to logits (``EncoderUNetModel`` of ADM).

    As in `UNet`, down-sampling rounds a size up, so that any size is supported.
    """

    plan: EncoderPlan

    def __init__(self, plan: EncoderPlan):
        super().__init__(plan)
        self.condition = TimeClassEmbedding(plan.channels)
        self.stem = nn.Conv2d(plan.in_channels, plan.widths[0], 3, padding=1)
        self.encoder, widths = way_down(plan)
        self.middle = middle(plan)
        self.pool = _pool(plan, sum(widths) + widths[-1])
        if plan.zero_init:
            zero_branches(self)
            if isinstance(self.pool, AdaptivePool):
                zero(self.pool.out)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Logits of the classes of noisy images.

        Args:
            x: (B, C, H, W) images.
            time: (B,) times.

        Returns:
            (B, classes).

        Raises:
            PilotageError: if a shape is wrong.
        """
        check_input(x, time, self.plan.in_channels)
        self._check_size(x)
        emb = self.condition(time)
        maps = [self.stem(x)]
        for stage in self.encoder:
            maps.append(stage(maps[-1], emb))
        maps.append(self.middle(maps[-1], emb))
        logits: Tensor = self.pool(maps)
        return logits

    def _check_size(self, x: Tensor) -> None:
        size, given = self.plan.size, x.shape[2:]
        if self.plan.pool != "attention" or size is None:
            return
        if self.plan.lowest(given) != self.plan.lowest(size):
            raise PilotageError(
                f"x is {given[0]} x {given[1]}: it must be {size[0]} x {size[1]}, the size of this "
                "network, whose attention pool has learned positions."
            )


class AttentionPool(nn.Module):
    """Attention pooling: the mean attends to all pixels, as in CLIP (2103.00020).

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
        pooled = scaled_dot_product_attention(q[:, :, :1], k, v)  # (B, heads, 1, C / heads)
        logits: Tensor = self.proj(pooled.flatten(1))
        return logits


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
        logits: Tensor = self.out(relu(h) if self.norm is None else silu(self.norm(h)))
        return logits


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
        logits: Tensor = self.out(h).flatten(1)
        return logits


def _pool(plan: EncoderPlan, features: int) -> AttentionPool | SpatialPool | AdaptivePool:
    """Make the pool of a plan; ``features`` are the channels of all maps together."""
    width = plan.widths[-1]
    if plan.pool == "attention" and plan.size is not None:
        height, breadth = plan.lowest(plan.size)
        heads = plan.heads_in(width)
        return AttentionPool(width, plan.classes, heads, plan.norm_groups, height * breadth)
    if plan.pool == "adaptive":
        return AdaptivePool(width, plan.classes, plan.norm_groups)
    groups = plan.norm_groups if plan.pool == "spatial_v2" else None
    return SpatialPool(features, plan.classes, groups)


def halved(size: Sequence[int], times: int) -> tuple[int, int]:
    """(H, W) after being halved and rounded up so many times."""
    height, width = (-(-length // 2**times) for length in size)
    return height, width


def _check_pair(size: Any) -> None:
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise PilotageError(f"size is {size!r}: it must be (H, W), or None.")
    for length in size:
        positive_int("size", length)
