"""What the way down of ADM's networks is made of: its checked settings and kinds of layers."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from pilotage.errors import PilotageError
from pilotage.networks.attention import Attention
from pilotage.networks.blocks import Downsample, ResBlock, halve
from pilotage.networks.checks import fraction, positive_int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The settings that a `UNet` and a `UNetEncoder` share, checked, and their kinds of layers.

    Raises:
        PilotageError: if a setting is out of range or two settings do not fit together.
    """

    in_channels: int
    channels: int
    channel_mult: Sequence[float]
    num_res_blocks: int
    attention_resolutions: Sequence[int]
    head_channels: int | None
    heads: int | None
    scale_shift_norm: bool
    resblock_updown: bool
    conv_resample: bool
    norm_groups: int
    dropout: float
    zero_init: bool

    def __post_init__(self):
        for name in ("in_channels", "channels", "num_res_blocks", "norm_groups"):
            positive_int(name, getattr(self, name))
        for name in ("head_channels", "heads"):
            if getattr(self, name) is not None:
                positive_int(name, getattr(self, name))
        fraction("dropout", self.dropout)
        _check_widths(self.channels, self.channel_mult)
        _check_rates(self.attention_resolutions)
        self._check_heads()

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as JSON writes them."""
        pairs = asdict(self).items()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in pairs}

    @property
    def widths(self) -> list[int]:
        """Channels at each level, from the full size down."""
        return [int(mult * self.channels) for mult in self.channel_mult]

    def attended(self, level: int) -> bool:
        """Whether the blocks of this level are followed by attention."""
        return 2**level in self.attention_resolutions

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

    def attention(self, channels: int) -> Attention:
        """Self-attention with the heads of the way down and the middle."""
        return Attention(channels, self.heads_in(channels), self.norm_groups)

    def down(self, channels: int) -> nn.Module:
        """The layer that halves the size."""
        if self.resblock_updown:
            return self.block(channels, channels, halve)
        return Downsample(channels, self.conv_resample)

    def heads_in(self, channels: int) -> int:
        """Number of heads that share these channels, on the way down and in the middle."""
        return channels // self._channels_per_head if self.heads is None else self.heads

    def _check_heads(self) -> None:
        if self.heads is not None and self.head_channels is not None:
            raise PilotageError(
                f"heads is {self.heads} and head_channels is {self.head_channels}: "
                "only one of the two may be given."
            )
        for level, width in enumerate(self.widths):
            if self.attended(level) or level == len(self.widths) - 1:
                check_split("heads", self.heads, width)
                check_split("head_channels", self._channels_per_head, width)

    @property
    def _channels_per_head(self) -> int | None:
        return self.head_channels or (32 if self.heads is None else None)


def check_split(name: str, parts: int | None, width: int) -> None:
    """Raise a `PilotageError` unless a level's width splits into (or by) this many."""
    if parts is not None and width % parts:
        raise PilotageError(
            f"{name} is {parts}: it must divide {width}, the width of a level with attention."
        )


def _check_widths(channels: int, mults: Any) -> None:
    if not isinstance(mults, list | tuple) or not mults:
        raise PilotageError(
            f"channel_mult is {mults!r}: it must be a sequence of at least one number."
        )
    for mult in mults:
        if not _is_number(mult) or mult <= 0 or mult * channels != int(mult * channels):
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


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
