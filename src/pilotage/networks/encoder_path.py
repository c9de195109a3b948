"""The encoder of ADM's networks (2105.05233): settings, layers and their order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pilotage.errors import PilotageError
from pilotage.networks.blocks import Attention, Downsample, ResBlock, Stage, halve
from pilotage.networks.plan import MultiscalePlan, is_number, positive_int

HEAD_CHANNELS = 32  # where neither these nor the number of heads is given


@dataclass(frozen=True, kw_only=True)
class ADMPlan(MultiscalePlan):
    """The settings that all networks of ADM share, and the layers that they make.

    They are those of `MultiscalePlan`, and these.

    Attributes:
        head_channels: channels per attention head; 32 if neither this nor ``heads`` is given.
        heads: number of attention heads, instead of ``head_channels``.
        scale_shift_norm: the time and class scale and shift a norm instead of being added.
        resblock_updown: residual blocks resample, instead of layers of their own.
        conv_resample: those layers of their own have a convolution.
        norm_groups: groups of every norm, fewer where they do not divide its channels; with as many
            groups as channels, a norm removes each channel's mean: use fewer in narrow networks.
        zero_init: residual branches and the output start at zero, as in ADM.
    """

    head_channels: int | None = None
    heads: int | None = None
    scale_shift_norm: bool = True
    resblock_updown: bool = True
    conv_resample: bool = True
    norm_groups: int = 32
    zero_init: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_int("norm_groups", self.norm_groups)
        for name in ("head_channels", "heads"):
            if getattr(self, name) is not None:
                positive_int(name, getattr(self, name))
        _check_widths(self.channels, self.channel_mult)
        _check_rates(self.attention_resolutions)
        self._check_heads()

    @property
    def widths(self) -> list[int]:
        """Channels at each level, from the full size down."""
        return [int(mult * self.channels) for mult in self.channel_mult]

    def heads_in(self, channels: int) -> int:
        """Number of heads that share these channels, on the way down and in the middle."""
        if self.heads is not None:
            return self.heads
        return channels // (self.head_channels or HEAD_CHANNELS)

    def block(
        self,
        channels: int,
        out_channels: int,
        resample: Callable[[Tensor], Tensor] | None = None,
    ) -> ResBlock:
        """A residual block."""
        return ResBlock(
            channels,
            out_channels,
            4 * self.channels,
            self.norm_groups,
            dropout=self.dropout,
            scale_shift=self.scale_shift_norm,
            resample=resample,
        )

    def attention(self, channels: int, heads: int) -> Attention:
        """An attention layer."""
        return Attention(channels, heads, self.norm_groups)

    def down(self, channels: int) -> nn.Module:
        """The layer that halves the size."""
        if self.resblock_updown:
            return self.block(channels, channels, halve)
        return Downsample(channels, self.conv_resample)

    def _check_heads(self) -> None:
        if self.heads is not None and self.head_channels is not None:
            raise PilotageError(
                f"heads is {self.heads} and head_channels is {self.head_channels}: "
                "only one of the two may be given."
            )
        for level, width in enumerate(self.widths):
            if self.attended(level) or level == len(self.widths) - 1:
                if self.heads is not None:
                    check_split("heads", self.heads, width)
                else:
                    check_split("head_channels", self.head_channels or HEAD_CHANNELS, width)


def way_down(plan: ADMPlan) -> tuple[nn.ModuleList, list[int]]:
    """The stages after the stem, and the channels of every feature map, the stem's first."""
    stages, widths = [], [plan.widths[0]]
    for level, width in enumerate(plan.widths):
        for _ in range(plan.num_res_blocks):
            heads = plan.heads_in(width)
            attention = plan.attention(width, heads) if plan.attended(level) else None
            stages.append(Stage(block=plan.block(widths[-1], width), attention=attention))
            widths.append(width)
        if level < len(plan.widths) - 1:
            stages.append(Stage(down=plan.down(width)))
            widths.append(width)
    return nn.ModuleList(stages), widths


def middle(plan: ADMPlan) -> Stage:
    """Attention between two blocks, at the lowest level."""
    width = plan.widths[-1]
    return Stage(
        block_in=plan.block(width, width),
        attention=plan.attention(width, plan.heads_in(width)),
        block_out=plan.block(width, width),
    )


def zero_branches(network: nn.Module) -> None:
    """Start every residual branch of blocks and attention at zero, as in ADM."""
    for module in network.modules():
        if isinstance(module, ResBlock):
            zero(module.conv_out)
        elif isinstance(module, Attention):
            zero(module.proj)


def zero(layer: nn.Linear | nn.Conv2d) -> None:
    """Set a layer's weight and bias to zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def check_split(name: str, parts: int, width: int) -> None:
    """Raise a `PilotageError` unless a level's width splits into (or by) this many."""
    if width % parts:
        raise PilotageError(
            f"{name} is {parts}: it must divide {width}, the width of a level with attention."
        )


def _check_widths(channels: int, mults: Any) -> None:
    if not isinstance(mults, list | tuple) or not mults:
        raise PilotageError(
            f"channel_mult is {mults!r}: it must be a sequence of at least one number."
        )
    for mult in mults:
        if not is_number(mult) or mult <= 0 or mult * channels != int(mult * channels):
            raise PilotageError(
                f"channel_mult has {mult!r}: each entry must be a positive number that gives a "
                f"whole number of channels, times {channels}."
            )


def _check_rates(rates: Any) -> None:
    if not isinstance(rates, list | tuple):
        raise PilotageError(f"attention_resolutions is {rates!r}: it must be a sequence of rates.")
    for rate in rates:
        positive_int("attention_resolutions", rate)
        if rate & (rate - 1):
            raise PilotageError(
                f"attention_resolutions has {rate}: each rate must be a power of two (1, 2, 4, "
                "...), since every level halves the size."
            )
