"""The validated settings of `NCSNpp`, and the layers that they make."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pilotage.errors import PilotageError
from pilotage.networks.adaptive import AdaptiveBlock, Block, PixelAttention, Resample
from pilotage.networks.embedding import DDGANEmbedding, check_time_features
from pilotage.networks.latent_unet import LatentPlan
from pilotage.networks.plan import MultiscalePlan, class_settings, one_of, positive_int
from pilotage.networks.resampling import BINOMIAL, DownConv, Resampling, UpConv, resampling

_CHOICES = {
    "block": ("biggan", "biggan_one", "ddpm"),
    "progressive": ("none", "output_skip", "residual"),
    "progressive_input": ("none", "input_skip", "residual"),
    "progressive_combine": ("sum", "cat"),
    "time_features": ("sinusoidal", "fourier", "none"),
}


@dataclass(frozen=True, kw_only=True)
class NCSNppPlan(LatentPlan, MultiscalePlan):
    """The settings of an `NCSNpp`, and the layers that they make.

    They are those of `MultiscalePlan` (widths are whole multiples), of `LatentPlan`, and these.

    Attributes:
        latent_width: of the mapped latent.
        num_classes: number of classes, added to the time, or None.
        block: "biggan" (blocks resample), "biggan_one" (the latent enters a block's first norm
            only) or "ddpm" (layers of their own resample).
        fir: resample with a filter; otherwise by 2x2 means and nearest neighbours.
        fir_kernel: that filter, in one direction; its scale does not matter.
        resample_conv: with ``block="ddpm"``, the layers that resample have a convolution.
        skip_rescale: divide every residual sum by √2.
        progressive: progressive growing of the output, "none", "output_skip" or "residual".
        progressive_input: progressive growing of the input, "none", "input_skip" or "residual".
        progressive_combine: with "input_skip", "sum" or "cat".
        time_features: "sinusoidal", "fourier" (of log time, so times above 0 only) or "none".
        fourier_scale: of the random frequencies of "fourier".
        centered: images are in [−1, 1]; otherwise in [0, 1], and are centered first.
    """

    channels: int = 128
    channel_mult: Sequence[int] = (1, 2, 2, 2)
    attention_resolutions: Sequence[int] = (2,)
    latent_width: int = 256
    num_classes: int | None = None
    block: Block = "biggan"
    fir: bool = True
    fir_kernel: Sequence[float] = BINOMIAL
    resample_conv: bool = True
    skip_rescale: bool = True
    progressive: Literal["none", "output_skip", "residual"] = "none"
    progressive_input: Literal["none", "input_skip", "residual"] = "residual"
    progressive_combine: Literal["sum", "cat"] = "sum"
    time_features: Literal["sinusoidal", "fourier", "none"] = "sinusoidal"
    fourier_scale: float = 16.0
    centered: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_int("latent_width", self.latent_width)
        for name, allowed in _CHOICES.items():
            one_of(name, getattr(self, name), allowed)
        class_settings(self.num_classes, null_class=False)
        if self.num_classes is not None and self.time_features == "none":
            raise PilotageError(
                f"num_classes is {self.num_classes} but time_features is 'none': the class is "
                "added to the time, so time_features must be 'sinusoidal' or 'fourier'."
            )
        _check_numbers("channel_mult", self.channel_mult, at_least=1)
        _check_numbers("attention_resolutions", self.attention_resolutions, at_least=0)
        resampling(self.fir, self.fir_kernel)
        if self.time_width is not None:
            check_time_features("channels", self.channels)

    @property
    def levels(self) -> int:
        """Number of resolutions, each half the previous one."""
        return len(self.channel_mult)

    @property
    def time_width(self) -> int | None:
        """Width of the time and class vector, or None without a time."""
        return None if self.time_features == "none" else 4 * self.channels

    @property
    def filter(self) -> Resampling:
        """The resampling between levels."""
        return resampling(self.fir, self.fir_kernel)

    def width(self, level: int) -> int:
        """Channels at a level, from the full size down."""
        return self.channels * self.channel_mult[level]

    def embedding(self) -> DDGANEmbedding | None:
        """The time and class embedding, if the network has a time."""
        if self.time_width is None:
            return None
        scale = self.fourier_scale if self.time_features == "fourier" else None
        return DDGANEmbedding(self.channels, self.time_width, self.num_classes, scale)

    def attention_at(self, level: int, channels: int) -> PixelAttention | None:
        """The attention of a level, if it has any."""
        return self.attention(channels) if self.attended(level) else None

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
