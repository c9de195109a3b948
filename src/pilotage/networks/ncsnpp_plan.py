"""The settings of `NCSNpp`, checked, and the kinds of layers that they make."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pilotage.errors import PilotageError
from pilotage.networks.adaptive import AdaptiveBlock, Block, PixelAttention, Resample
from pilotage.networks.checks import class_settings, fraction, positive_int
from pilotage.networks.resampling import DownConv, Resampling, UpConv, resampling

_CHOICES = {
    "block": ("biggan", "biggan_one", "ddpm"),
    "progressive": ("none", "output_skip", "residual"),
    "progressive_input": ("none", "input_skip", "residual"),
    "progressive_combine": ("sum", "cat"),
    "time_features": ("sinusoidal", "fourier", "none"),
}


@dataclass(frozen=True, kw_only=True)
class NCSNppPlan:
    """The settings of an `NCSNpp`.

    Raises:
        PilotageError: if a setting is out of range or two settings do not fit together.
    """

    in_channels: int
    channels: int
    channel_mult: Sequence[int]
    num_res_blocks: int
    attention_resolutions: Sequence[int]
    latent_dim: int
    latent_width: int
    latent_layers: int
    num_classes: int | None
    block: Block
    fir: bool
    fir_kernel: Sequence[float]
    resample_conv: bool
    skip_rescale: bool
    progressive: Literal["none", "output_skip", "residual"]
    progressive_input: Literal["none", "input_skip", "residual"]
    progressive_combine: Literal["sum", "cat"]
    time_features: Literal["sinusoidal", "fourier", "none"]
    fourier_scale: float
    dropout: float
    centered: bool
    tanh: bool

    def __post_init__(self):
        for name in ("in_channels", "channels", "num_res_blocks", "latent_dim", "latent_width"):
            positive_int(name, getattr(self, name))
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise PilotageError(
                    f"{name} is {getattr(self, name)!r}: it must be one of {', '.join(allowed)}."
                )
        fraction("dropout", self.dropout)
        class_settings(self.num_classes, null_class=False)
        if self.num_classes is not None and self.time_features == "none":
            raise PilotageError(
                f"num_classes is {self.num_classes} but time_features is 'none': the class is "
                "added to the time, so time_features must be 'sinusoidal' or 'fourier'."
            )
        _check_numbers("channel_mult", self.channel_mult, at_least=1)
        _check_numbers("attention_resolutions", self.attention_resolutions, at_least=0)
        resampling(self.fir, self.fir_kernel)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as JSON writes them."""
        pairs = asdict(self).items()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in pairs}

    @property
    def levels(self) -> int:
        """How many sizes there are, each half the one before."""
        return len(self.channel_mult)

    @property
    def time_width(self) -> int | None:
        """Width of the time and class vector, or None where no time is told."""
        return None if self.time_features == "none" else 4 * self.channels

    @property
    def filter(self) -> Resampling:
        """How sizes are halved and doubled."""
        return resampling(self.fir, self.fir_kernel)

    def width(self, level: int) -> int:
        """Channels at a level, from the full size down."""
        return self.channels * self.channel_mult[level]

    def attention_at(self, level: int, channels: int) -> PixelAttention | None:
        """The attention of a level, if it has any."""
        return self.attention(channels) if 2**level in self.attention_resolutions else None

    def attention(self, channels: int) -> PixelAttention:
        """Self-attention."""
        return PixelAttention(channels, self.skip_rescale)

    def residual(
        self, channels: int, out_channels: int, resample: Resample | None = None
    ) -> AdaptiveBlock:
        """A residual block."""
        return AdaptiveBlock(
            channels,
            out_channels,
            time_width=self.time_width,
            latent_width=self.latent_width,
            kind=self.block,
            dropout=self.dropout,
            rescale=self.skip_rescale,
            resample=resample,
        )

    def down_conv(self, channels: int, out_channels: int) -> DownConv:
        """A convolution that halves the size."""
        return DownConv(channels, out_channels, self.filter)

    def up_conv(self, channels: int, out_channels: int) -> UpConv:
        """A convolution that doubles the size."""
        return UpConv(channels, out_channels, self.filter)


def _check_numbers(name: str, values: Any, at_least: int) -> None:
    if not isinstance(values, list | tuple) or len(values) < at_least:
        raise PilotageError(
            f"{name} is {values!r}: it must be a sequence of at least {at_least} whole numbers."
        )
    for value in values:
        positive_int(name, value)
