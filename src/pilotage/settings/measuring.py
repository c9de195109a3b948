"""Requests for measurements of trained runs, and of images of any origin."""

from pathlib import Path
from typing import Annotated, Literal, Self

import tyro
from pydantic import Field, model_validator

from pilotage.settings.base import (
    DeviceSettings,
    Fraction,
    MaybeSize,
    OneRun,
    Positive,
    Runs,
    Settings,
)
from pilotage.settings.samplers import Ancestral, Sampler, SamplerField, with_short_forms
from pilotage.settings.sampling import PromptSteering, SteeringSettings


class MeasureSettings(Settings):
    """What samples are compared with, and in which features."""

    data: Annotated[str | None, tyro.conf.arg(metavar="DATA")] = Field(
        None, description="The real images to compare with; the run's own if not given."
    )
    extractor: Annotated[str, tyro.conf.arg(metavar="NAME")] = Field(
        "in-domain", description="in-domain, inception[:FILE] or dinov2[:NAME]: the features."
    )
    force: bool = Field(
        False, description="Measure distances from fewer samples than features have dimensions."
    )


class EvaluateSettings(DeviceSettings, MeasureSettings):
    """Images of any origin, and the data that they are compared with."""

    data: Annotated[str, tyro.conf.arg(metavar="DATA")] = Field(
        description="The real images to compare with; digits are scikit-learn's."
    )
    images: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")] = Field(
        description="A folder of images, an .npz (images: uint8 N, H, W, C), or real: the held-out."
    )
    size: MaybeSize = Field(
        None, description="Height and width to resize both to; the images' own if not given."
    )
    skip_bad: bool = Field(False, description="Leave out images that cannot be read, by name.")
    allow_outside: bool = Field(
        False, description="Tables of the data may name images outside of its folder."
    )
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE.jsonl")] = Field(
        None, description="A table (.jsonl) to add the row to."
    )


class SeriesSettings(MeasureSettings):
    """A series of images of a run, to be measured."""

    samples: Annotated[int, Field(ge=2)] = Field(1000, description="Images per setting.")
    first_seed: int = Field(0, ge=0, description="Images have the seeds from this one on.")
    batch_size: Positive = Field(64, description="Images per network call.")


class SpeedSettings(Settings):
    """How it is timed that models make images."""

    images: Positive = Field(100, description="Images in the one batch that is timed.")
    rounds: Positive = Field(
        3, description="Times that each is timed, in turns; the median counts."
    )


class GridSettings(SeriesSettings, SteeringSettings):
    """A grid of sampling settings, each measured with the same seeds."""

    w: tuple[float, ...] = Field(
        (0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 4.0), min_length=1, description="Guidance strengths."
    )
    steps: tuple[Positive, ...] | None = Field(
        None, min_length=1, description="Numbers of steps T: 64, or a generator's own, by default."
    )
    sampler: tuple[SamplerField, ...] = Field(
        (Ancestral(),),
        min_length=1,
        description="Step functions, such as ancestral or ddim(eta=0.5).",
    )
    keep: bool = Field(False, description="Keep the images of every setting (sweep/images).")

    @model_validator(mode="after")
    def _of_a_sampler(self) -> Self:
        with_short_forms(self.sampler, {"v": self.v, "eta": self.eta})
        return self

    @property
    def samplers(self) -> list[Sampler]:
        """The samplers with their short forms."""
        return with_short_forms(self.sampler, {"v": self.v, "eta": self.eta})

    @model_validator(mode="after")
    def _once(self) -> Self:
        for name in ("runs", "w", "steps", "sampler"):
            values = getattr(self, name, None) or ()
            twice = [value for k, value in enumerate(values) if value in values[:k]]
            if twice:
                raise ValueError(f"{name} has {twice[0]} twice: each value once is enough.")
        return self


class SweepSettings(DeviceSettings, PromptSteering, GridSettings):
    """The same grid for each of some runs."""

    runs: Runs = Field(min_length=1, description="The run folders.")
    per_caption: Positive = Field(
        1,
        description="Of runs on captions: images of each caption in a row; from two on their "
        "diversity is measured.",
    )


class LikelihoodSettings(DeviceSettings):
    """How much a run's model needs to code images, in bits per dimension."""

    run_folder: OneRun = Field(description="The run folder.")
    data: Annotated[str | None, tyro.conf.arg(metavar="DATA")] = Field(
        None, description="Data whose held-out images are coded; the run's own if not given."
    )
    steps: int | Literal["inf"] = Field(
        "inf", description="T of the bound, or inf for continuous time."
    )
    evaluations: Positive = Field(
        64,
        description="Network calls per image for the diffusion term; T of them where T is less, or "
        "the levels are a truncated cosine's.",
    )
    images: Positive | None = Field(None, description="The first so many images; all by default.")
    unconditional: bool = Field(False, description="Code without the class.")
    v: Fraction | None = Field(
        None, description="With a beta schedule: variance fraction, as learned or 0 by default."
    )
    weights: Literal["ema", "model"] = Field("ema", description="Averaged or latest weights.")
    batch_size: Positive = Field(64, description="Images per network call.")
    seed: int = Field(0, ge=0, lt=2**31, description="Decides the noise.")
    codecs: bool = Field(False, description="Also code the images by lossless image codecs.")
    per_image: Annotated[Path | None, tyro.conf.arg(metavar="FILE.csv")] = Field(
        None, description="A .csv for the values of every image."
    )

    @model_validator(mode="after")
    def _steps_count(self) -> Self:
        if self.steps != "inf" and self.steps < 1:
            raise ValueError(f"steps is {self.steps}: it must be at least 1, or inf.")
        if self.per_image is not None and self.per_image.suffix != ".csv":
            raise ValueError(f"per_image is {self.per_image}: it must end in .csv.")
        return self
