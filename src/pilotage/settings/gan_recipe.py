"""The recipe of a denoising diffusion GAN (2112.07804)."""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pilotage.settings.base import Positive, Settings
from pilotage.settings.recipe import TrainingRecipe


class NCSNppOptions(Settings):
    """What only NCSN++ has, and its tensors leave open; the defaults are the paper's."""

    block: Literal["biggan", "biggan_one", "ddpm"] = Field(
        "biggan", description="Residual blocks; biggan_one tells the latent to their first norms."
    )
    fir: bool = Field(True, description="Resample with a filter instead of means and copies.")
    fir_kernel: tuple[float, ...] = Field((1, 3, 3, 1), min_length=1, description="That filter.")
    resample_conv: bool = Field(True, description="With ddpm blocks: resampling has a convolution.")
    skip_rescale: bool = Field(True, description="Divide residual sums by the root of 2.")
    progressive: Literal["none", "output_skip", "residual"] = Field(
        "none", description="How the result is gathered on the way up."
    )
    progressive_input: Literal["none", "input_skip", "residual"] = Field(
        "residual", description="How the image goes down beside the features."
    )
    progressive_combine: Literal["sum", "cat"] = Field("sum", description="With input_skip.")
    centered: bool = Field(True, description="Images are in [-1, 1] inside the network too.")
    tanh: bool = Field(True, description="Where G draws x, it ends in tanh.")


class NCSNppSettings(NCSNppOptions):
    """What only NCSN++ has."""

    time_features: Literal["sinusoidal", "fourier", "none"] = Field(
        "sinusoidal", description="How the level is told; fourier is of its logarithm."
    )
    fourier_scale: float = Field(16.0, gt=0, description="Of the frequencies of fourier.")


class GeneratorSettings(Settings):
    """The stochastic generator G(z, lam, c, n)."""

    kind: Literal["ncsnpp", "unet"] = Field(
        "ncsnpp",
        description="Of images: the paper's NCSN++, or the ADM U-Net with the latent added to its "
        "time.",
    )
    channels: Positive = Field(64, description="Base width; for points, of the layers.")
    channel_mult: tuple[Positive, ...] = Field(
        (1, 2, 2), min_length=1, description="Width of each resolution, in units of channels."
    )
    num_res_blocks: Positive = Field(
        2, description="Residual blocks per resolution; for points, in all."
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
    channels: Positive = Field(64, description="Base width; for points, of the layers.")
    layers: Positive = Field(3, description="For points: layers.")
    time_width: Positive = Field(256, description="Width of the time's vector.")
    slope: float = Field(0.2, ge=0, description="Of the leaky ReLU below 0.")


class AdversarialRecipe(TrainingRecipe):
    """A denoising diffusion GAN: a generator of steps and its discriminator (2112.07804)."""

    task: ClassVar[str] = "gan"

    objective: Literal["ddgan"] = Field("ddgan", description="The non-saturating GAN loss.")
    steps_T: Positive = Field(4, description="Network calls per image; 1 is an ordinary GAN.")
    beta_min: float = Field(0.1, gt=0, description="Rate of the noise at the data end.")
    beta_max: float = Field(20.0, gt=0, description="Rate of the noise at the noise end.")
    geometric: bool = Field(False, description="The two are variances of a geometric schedule.")
    network: GeneratorSettings = GeneratorSettings()
    discriminator: DiscriminatorSettings = DiscriminatorSettings()
    discriminator_learning_rate: float | None = Field(
        None, gt=0, description="The discriminator's; learning_rate if not given."
    )
    r1_gamma: float = Field(0.05, ge=0, description="Strength of the R1 penalty; 0 is none.")
    r1_every: Positive = Field(15, description="Steps from one R1 penalty to the next.")
    p_uncond: float = Field(
        0.1, ge=0, le=1, description="Probability of dropping a label; at 1 networks know none."
    )
    # the paper's ablations (its table 2)
    predicts: Literal["x", "eps"] = Field("x", description="What G draws; eps: noise generation.")
    with_latent: bool = Field(True, description="Off: the latent is always 0.")
    direct: bool = Field(False, description="G draws the next z itself: direct denoising.")
    learning_rate: float = Field(2e-4, gt=0, description="The generator's, after the warm-up.")
    betas: tuple[float, float] = Field((0.5, 0.9), description="AdamW's two decay rates.")
    decay: Literal["none", "cosine"] = Field(
        "cosine", description="How learning rates fall: not at all, or to 0 at the last step."
    )
    clip_norm: float = Field(1e3, gt=0, description="Largest norm of either network's gradient.")

    @model_validator(mode="after")
    def _draws_fit(self) -> Self:
        if self.direct and self.predicts == "eps":
            raise ValueError(
                "direct is True: it needs predicts x, since G draws the next z itself."
            )
        return self

    @property
    def noise_levels(self) -> dict[str, Any]:
        """The settings that decide the noise levels."""
        names = ("steps_T", "beta_min", "beta_max", "geometric")
        return {"schedule": "ddgan", **{name: getattr(self, name) for name in names}}

    @property
    def learned_variance(self) -> bool:
        """Never: the posterior's variance goes with a draw of x."""
        return False
