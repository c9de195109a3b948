"""The way down of ADM's U-Net as a classifier of noisy images (2105.05233, Section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pilotage.errors import PilotageError
from pilotage.networks.checks import positive_int
from pilotage.networks.embedding import Conditioning
from pilotage.networks.encoder_path import check_input, middle, way_down, zero, zero_branches
from pilotage.networks.plan import Plan
from pilotage.networks.pools import AdaptivePool, AttentionPool, SpatialPool

POOLS = ("attention", "spatial", "spatial_v2", "adaptive")


class UNetEncoder(nn.Module):
    """The way down and the middle of a `UNet`, pooled to logits (``EncoderUNetModel`` of ADM).

    As in `UNet`, down-sampling rounds a size up, so that any size fits.

    Args:
        size: (H, W) of the images. Only pool "attention" needs it, and it takes images of this
            size only (or of one with the same lowest level); the others take any size.
        in_channels: channels of the input.
        classes: number of logits.
        channels: base width; the time vector is 4 times as wide.
        channel_mult: width of each level, in units of ``channels``; each level halves the size.
        num_res_blocks: residual blocks per level.
        attention_resolutions: down-sampling rates (1, 2, 4, ...) with attention; the middle always
            has it.
        pool: "attention", from the mean of the lowest level to its pixels; "spatial", the means of
            all maps through ReLU; "spatial_v2", the same through a norm and SiLU; or "adaptive",
            the mean of the lowest level.
        head_channels: channels per attention head; 32 if neither this nor ``heads`` is given.
        heads: number of attention heads, instead of ``head_channels``.
        scale_shift_norm: the time scales and shifts a norm instead of being added.
        resblock_updown: residual blocks resample, instead of layers of their own.
        conv_resample: those layers of their own have a convolution.
        norm_groups: groups of every norm, fewer where they do not divide its channels.
        dropout: probability of dropping an activation in a residual block.
        zero_init: residual branches and pool "adaptive" start at zero, as in ADM.

    Attributes:
        settings: the arguments that rebuild the network, ``UNetEncoder(**encoder.settings)``, as
            JSON types.

    Raises:
        PilotageError: if a setting is out of range or two settings do not fit together.
    """

    def __init__(
        self,
        size: Sequence[int] | None = None,
        in_channels: int = 3,
        classes: int = 10,
        channels: int = 64,
        channel_mult: Sequence[float] = (1, 2, 2),
        num_res_blocks: int = 2,
        attention_resolutions: Sequence[int] = (2, 4),
        pool: str = "attention",
        head_channels: int | None = None,
        heads: int | None = None,
        scale_shift_norm: bool = True,
        resblock_updown: bool = True,
        conv_resample: bool = True,
        norm_groups: int = 32,
        dropout: float = 0.0,
        zero_init: bool = True,
    ):
        super().__init__()
        plan = EncoderPlan(
            size=size,
            in_channels=in_channels,
            classes=classes,
            channels=channels,
            channel_mult=channel_mult,
            num_res_blocks=num_res_blocks,
            attention_resolutions=attention_resolutions,
            pool=pool,
            head_channels=head_channels,
            heads=heads,
            scale_shift_norm=scale_shift_norm,
            resblock_updown=resblock_updown,
            conv_resample=conv_resample,
            norm_groups=norm_groups,
            dropout=dropout,
            zero_init=zero_init,
        )
        self.settings: dict[str, Any] = plan.settings
        self._halvings = len(plan.widths) - 1
        self.condition = Conditioning(channels)
        self.stem = nn.Conv2d(in_channels, plan.widths[0], 3, padding=1)
        self.encoder, widths = way_down(plan)
        self.middle = middle(plan)
        self.pool = _pool(plan, sum(widths) + widths[-1])
        if zero_init:
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
        check_input(x, time, self.stem.in_channels)
        self._check_size(x)
        emb = self.condition(time)
        maps = [self.stem(x)]
        for stage in self.encoder:
            maps.append(stage(maps[-1], emb))
        maps.append(self.middle(maps[-1], emb))
        return self.pool(maps)

    def _check_size(self, x: Tensor) -> None:
        if not isinstance(self.pool, AttentionPool):
            return
        size, given = self.settings["size"], x.shape[2:]
        if halved(given, self._halvings) != halved(size, self._halvings):
            raise PilotageError(
                f"x is {given[0]} x {given[1]}: it must be {size[0]} x {size[1]}, the size of this "
                "network, whose attention pool has learned positions."
            )


@dataclass(frozen=True, kw_only=True)
class EncoderPlan(Plan):
    """The settings of a `UNetEncoder`, checked.

    Raises:
        PilotageError: if a setting is out of range or two settings do not fit together.
    """

    size: Sequence[int] | None
    classes: int
    pool: str

    def __post_init__(self):
        super().__post_init__()
        positive_int("classes", self.classes)
        if self.pool not in POOLS:
            raise PilotageError(f"pool is {self.pool!r}: it must be one of {', '.join(POOLS)}.")
        if self.size is not None:
            _check_pair(self.size)
        elif self.pool == "attention":
            raise PilotageError(
                "size is None but pool is 'attention': it must be (H, W), since that pool has one "
                "learned position per pixel of the lowest level."
            )


def halved(size: Sequence[int], times: int) -> tuple[int, int]:
    """(H, W) after being halved and rounded up so many times."""
    height, width = (-(-length // 2**times) for length in size)
    return height, width


def _check_pair(size: Any) -> None:
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise PilotageError(f"size is {size!r}: it must be (H, W), or None.")
    for length in size:
        positive_int("size", length)


def _pool(plan: EncoderPlan, features: int) -> AttentionPool | SpatialPool | AdaptivePool:
    """The pool asked for; ``features`` are the channels of all maps together."""
    width = plan.widths[-1]
    if plan.pool == "attention":
        height, breadth = halved(plan.size or (), len(plan.widths) - 1)
        heads = plan.heads_in(width)
        return AttentionPool(width, plan.classes, heads, plan.norm_groups, height * breadth)
    if plan.pool == "adaptive":
        return AdaptivePool(width, plan.classes, plan.norm_groups)
    groups = plan.norm_groups if plan.pool == "spatial_v2" else None
    return SpatialPool(features, plan.classes, groups)
