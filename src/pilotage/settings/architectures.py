"""The networks' settings: widths, depths and where they attend (ADM, 2105.05233)."""

from typing import Annotated, Literal

from pydantic import Field

from pilotage.settings.base import Positive, Settings

Multiple = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0)]


class NetworkSettings(Settings):
    """What the U-Net and its encoder share."""

    channels: Positive = Field(64, description="Base width.")
    channel_mult: tuple[Multiple, ...] = Field(
        (1, 2, 2), min_length=1, description="Width of each resolution, in units of channels."
    )
    num_res_blocks: Positive = Field(2, description="Residual blocks per resolution.")
    attention_resolutions: tuple[Positive, ...] = Field(
        (2, 4), description="Down-sampling rates at which the network attends."
    )
    head_channels: Positive = Field(32, description="Channels per attention head.")
    heads: Positive | None = Field(
        None, description="Attention heads; if given, head_channels is not used."
    )
    scale_shift_norm: bool = Field(
        True, description="Time and class scale and shift the norms instead of being added."
    )
    resblock_updown: bool = Field(
        True, description="Residual blocks resample, instead of layers of their own."
    )
    conv_resample: bool = Field(True, description="Those layers of their own have a convolution.")
    norm_groups: Positive = Field(32, description="Groups of the group norms, at most.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout in the residual blocks.")


class UNetSettings(NetworkSettings):
    """The ADM U-Net."""

    heads_up: Positive | None = Field(
        None, description="Heads on the way up, if they are not as many as heads."
    )
    fourier: tuple[int, int] | None = Field(
        None,
        description="Also see sin and cos of 2 pi 2^n x for these n, first to last: finest levels "
        "(2107.00630).",
    )
    null_class: bool = Field(
        True, description="One more label that means no class; published ADM weights have none."
    )


class EncoderSettings(NetworkSettings):
    """The way down of the ADM U-Net, pooled to class logits."""

    pool: Literal["attention", "spatial", "spatial_v2", "adaptive"] = Field(
        "attention", description="How the feature maps become one vector."
    )
