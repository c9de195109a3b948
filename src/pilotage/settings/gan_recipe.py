"""The recipe of a denoising diffusion GAN (2112.07804)."""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pilotage.settings.architectures import DiscriminatorSettings, GeneratorSettings
from pilotage.settings.base import Positive
from pilotage.settings.recipe import TrainingRecipe


class AdversarialRecipe(TrainingRecipe):
    """A denoising diffusion GAN: a generator of steps and its discriminator (2112.07804)."""

    task: ClassVar[str] = "gan"
    marks: ClassVar[dict[str, str]] = {"objective": "ddgan"}

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
    def knows_labels(self) -> bool:
        """Unless all are dropped."""
        return self.p_uncond < 1

    @property
    def null_label(self) -> bool:
        """With labels."""
        return self.knows_labels
