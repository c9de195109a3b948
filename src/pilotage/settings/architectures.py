"""The networks' settings: widths, depths and where they attend."""

from typing import Annotated, Literal

from pydantic import Field

from pilotage.settings.base import Positive, Settings

Multiple = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0)]


class NetworkSettings(Settings):
    """What the U-Net and its encoder share (ADM, 2105.05233)."""

    channels: Positive = Field(64, le=2**16, description="Base width.")
    channel_mult: tuple[Multiple, ...] = Field(
        (1, 2, 2), min_length=1, description="Width of each resolution, in units of channels."
    )
    num_res_blocks: Positive = Field(2, le=2**10, description="Residual blocks per resolution.")
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


class TextUNetSettings(NetworkSettings):
    """The ADM U-Net whose attention also looks at a text transformer's sequence."""

    heads_up: Positive | None = Field(
        None, description="Heads on the way up, if they are not as many as heads."
    )
    text_width: Positive = Field(128, description="Width of the text transformer.")
    text_layers: Positive = Field(4, le=2**10, description="Blocks of the text transformer.")
    text_heads: Positive = Field(4, description="Attention heads of the text transformer.")
    final_norm: bool = Field(True, description="The text transformer ends in a norm.")
    padding: bool = Field(True, description="Padding has an embedding of its own.")


class EncoderSettings(NetworkSettings):
    """The way down of the ADM U-Net, pooled to class logits."""

    pool: Literal["attention", "spatial", "spatial_v2", "adaptive"] = Field(
        "attention", description="How the feature maps become one vector."
    )


class NCSNppOptions(Settings):
    """What only NCSN++ has, and its tensors leave open; the defaults are the paper's."""

    block: Literal["biggan", "biggan_one", "ddpm"] = Field(
        "biggan", description="Residual blocks; biggan_one gives the latent to their first norms."
    )
    fir: bool = Field(True, description="Resample with a filter instead of means and copies.")
    fir_kernel: tuple[float, ...] = Field((1, 3, 3, 1), min_length=1, description="That filter.")
    resample_conv: bool = Field(True, description="With ddpm blocks: resampling has a convolution.")
    skip_rescale: bool = Field(True, description="Divide residual sums by the root of 2.")
    progressive: Literal["none", "output_skip", "residual"] = Field(
        "none", description="How the result is gathered on the way up."
    )
    progressive_input: Literal["none", "input_skip", "residual"] = Field(
        "residual", description="How the image joins the features on the way down."
    )
    progressive_combine: Literal["sum", "cat"] = Field("sum", description="With input_skip.")
    centered: bool = Field(True, description="Images are in [-1, 1] inside the network too.")
    tanh: bool = Field(True, description="Where G draws x, it ends in tanh.")


class NCSNppSettings(NCSNppOptions):
    """What only NCSN++ has."""

    time_features: Literal["sinusoidal", "fourier", "none"] = Field(
        "sinusoidal", description="Embedding of the noise level; fourier is of its logarithm."
    )
    fourier_scale: float = Field(16.0, gt=0, description="Of the frequencies of fourier.")


class GeneratorSettings(Settings):
    """The stochastic generator G(z, lam, c, n)."""

    kind: Literal["ncsnpp", "unet"] = Field(
        "ncsnpp",
        description="Of images: the paper's NCSN++, or the ADM U-Net with the latent added to its "
        "time.",
    )
    channels: Positive = Field(64, le=2**16, description="Base width; for points, of the layers.")
    channel_mult: tuple[Positive, ...] = Field(
        (1, 2, 2), min_length=1, description="Width of each resolution, in units of channels."
    )
    num_res_blocks: Positive = Field(
        2, le=2**10, description="Residual blocks per resolution; for points, in all."
    )
    attention_resolutions: tuple[Positive, ...] = Field(
        (2,), description="Down-sampling rates at which the network attends."
    )
    head_channels: Positive = Field(32, description="Of a U-Net: channels per attention head.")
    norm_groups: Positive = Field(32, description="Of a U-Net: groups of the norms, at most.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout in the residual blocks.")
    latent_dim: Positive = Field(100, description="Numbers in the latent.")
    latent_width: Positive = Field(256, description="Of NCSN++: width of the mapped latent.")
    latent_layers: int = Field(3, ge=0, description="Layers of that mapping after its first.")
    ncsnpp: NCSNppSettings = NCSNppSettings()


class DiscriminatorSettings(Settings):
    """The judge of steps D(z_s, lam_t, z_t, c)."""

    size: Literal["tiny", "small", "large"] = Field(
        "small",
        description="Halves once, for about 8 pixels, three times, for about 32, or six, for 64 "
        "and more.",
    )
    channels: Positive = Field(64, le=2**16, description="Base width; for points, of the layers.")
    layers: Positive = Field(3, le=2**10, description="For points: layers.")
    time_width: Positive = Field(256, description="Width of the time's vector.")
    slope: float = Field(0.2, ge=0, description="Of the leaky ReLU below 0.")
