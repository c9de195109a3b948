"""The recipes: every setting of a training run, of a denoiser or of a noisy classifier."""

import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self

import tyro
from pydantic import Field, model_validator

from pilotage.settings.architectures import (
    EncoderSettings,
    GeneratorSettings,
    NetworkSettings,
    UNetSettings,
)
from pilotage.settings.base import MaybeSize, Positive, Settings

Predicts = Annotated[Literal["eps", "x", "v"], Field(description="What the network outputs.")]
VlbWeight = Annotated[
    float, Field(ge=0, description="Weight of the bound in hybrid, in 1/1000 of its whole.")
]


class TrainingRecipe(Settings):
    """What every training run has: data, optimisation and cadence.

    A subclass that has ``marks`` is known by them in files.

    Attributes:
        task: the kind of training and of model, under which both are registered.
        marks: settings whose values in a file decide the class.
        noun: what is trained, in messages.
        known: all subclasses that have marks.
    """

    task: ClassVar[str]
    marks: ClassVar[dict[str, str]]
    noun: ClassVar[str] = "denoiser"
    known: ClassVar[list[type["TrainingRecipe"]]] = []
    groups: ClassVar[dict[str, str]] = {
        "data": "data",
        "steps": "optimisation",
        "log_every": "cadence",
        "schedule": "noise",
        "objective": "objective",
    }

    # data
    data: Annotated[str, tyro.conf.arg(metavar="DATA")] = Field(
        "digits",
        description="digits, a folder of class folders, a parquet, npz, zip, tar, csv or jsonl "
        "file, or a hub id.",
    )
    size: MaybeSize = Field(
        None, description="Height and width to resize and crop to; the images' own if not given."
    )
    image_column: str | None = Field(None, description="Column of the images; found if not given.")
    label_column: str | None = Field(None, description="Column of the labels; found if not given.")
    label_from: Literal["filename"] | None = Field(
        None, description="filename: the label is what stands before the first _ of a file's name."
    )
    skip_bad: bool = Field(False, description="Leave out images that cannot be read, by name.")
    allow_outside: bool = Field(
        False, description="Tables of the data may name images outside of its folder."
    )
    held_out: float = Field(
        0.1, ge=0, lt=1, description="Share kept aside where the data has no split of its own."
    )
    flip: bool = Field(False, description="Mirror half of the training images left to right.")
    network: NetworkSettings | GeneratorSettings = NetworkSettings()
    start_from: Annotated[str | None, tyro.conf.arg(metavar="RUN")] = Field(
        None, description="A run whose averaged weights training starts from (train --from RUN)."
    )
    # optimisation
    steps: Positive = Field(10_000, description="Optimiser steps in all.")
    batch_size: Positive = Field(
        128, description="Examples per optimiser step, over all processes."
    )
    accumulate: Positive = Field(1, description="Parts that a batch is processed in.")
    learning_rate: float = Field(1e-3, gt=0, description="AdamW's, after the warm-up.")
    warmup_steps: int = Field(100, ge=0, description="Steps of linear learning-rate warm-up.")
    decay: Literal["none", "cosine"] = Field(
        "none", description="How the learning rate falls: not at all, or to 0 at the last step."
    )
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled weight decay.")
    betas: tuple[float, float] = Field((0.9, 0.99), description="AdamW's two decay rates.")
    clip_norm: float = Field(1.0, gt=0, description="Largest norm of the gradient.")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="EMA decay, with warm-up.")
    precision: Literal["no", "bf16"] = Field("no", description="Mixed precision of the network.")
    seed: int = Field(0, ge=0, lt=2**63, description="Decides weights, order, noise and dropping.")
    # cadence
    log_every: Positive = Field(10, description="Steps between lines of metrics.jsonl.")
    checkpoint_every: Positive = Field(500, description="Steps between checkpoints.")
    sample_every: Positive = Field(2000, description="Steps between sample grids.")

    @classmethod
    def __pydantic_init_subclass__(cls, **how: Any) -> None:
        """Make a recipe known."""
        super().__pydantic_init_subclass__(**how)
        if "marks" in cls.__dict__:
            TrainingRecipe.known.append(cls)

    @classmethod
    def from_file(cls, content: dict[str, Any]) -> "TrainingRecipe":
        """The recipe with these settings, of the class of which they have most marks.

        Raises:
            PilotageError: if a setting does not exist or its value is not allowed.
        """
        fitting = [kind for kind in cls.known if kind.marks.items() <= content.items()]
        return max(fitting, key=lambda kind: len(kind.marks))(**content)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"accumulate is {self.accumulate}: it must divide batch_size {self.batch_size}."
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas is {self.betas}: both must lie in [0, 1).")
        return self

    @property
    def caption_settings(self) -> dict[str, Any]:
        """How captions are read from the data, for a run on captions."""
        return {}

    @property
    def noise_levels(self) -> dict[str, Any]:
        """The settings that decide the noise levels; "schedule" names their kind."""
        raise NotImplementedError

    @property
    def knows_labels(self) -> bool:
        """Whether the network is conditioned on the data's labels, where it has any."""
        return True

    @property
    def null_label(self) -> bool:
        """Whether the network knows one more label, which means none."""
        return False

    @property
    def learned_variance(self) -> bool:
        """Whether the network also predicts the variance of the ancestral step."""
        return getattr(self, "objective", None) == "hybrid"

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of optimiser step ``step`` (counted from 1)."""
        return self.learning_rate * self.rate_factor(step)

    def rate_factor(self, step: int) -> float:
        """The share of its learning rate that an optimiser has at a step, counted from 1."""
        warm = min(1.0, step / max(1, self.warmup_steps))
        if self.decay == "none":
            return warm
        return warm * (1 + math.cos(math.pi * (step - 1) / self.steps)) / 2


class NoiseLevelSettings(Settings):
    """The noise levels that a network is trained at."""

    schedule: Literal[
        "truncated_cosine", "linear", "cosine", "linear_lam", "learned_ends", "learned"
    ] = Field(
        "truncated_cosine",
        description="Noise levels: continuous; the beta schedules of DDPM and improved DDPM; or "
        "linear in lam, with learned ends, or a monotone network.",
    )
    timesteps: int = Field(
        1000, ge=2, description="Levels of a beta schedule, and of the hybrid objective's chain."
    )
    lam_min: float = Field(-20.0, description="Log-SNR of the noise end.")
    lam_max: float = Field(20.0, description="Log-SNR of the data end.")

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if not self.lam_min < self.lam_max:
            raise ValueError(
                f"lam_min is {self.lam_min} and lam_max is {self.lam_max}: "
                "lam_min must be below lam_max."
            )
        if not max(abs(self.lam_min), abs(self.lam_max)) <= 60:
            raise ValueError(
                f"lam_min is {self.lam_min} and lam_max is {self.lam_max}: "
                "beyond 60 float32 has no signal or no noise left."
            )
        return self

    @property
    def noise_levels(self) -> dict[str, Any]:
        """The settings that decide the noise schedule."""
        if self.schedule not in ("linear", "cosine"):
            return {"schedule": self.schedule, "lam_min": self.lam_min, "lam_max": self.lam_max}
        return {"schedule": self.schedule, "timesteps": self.timesteps}


class FixedNoiseLevels(NoiseLevelSettings):
    """Noise levels of which none is learned."""

    schedule: Literal["truncated_cosine", "linear", "cosine"] = Field(
        "truncated_cosine",
        description="Noise levels: continuous, or the beta schedules of DDPM and improved DDPM.",
    )


class Recipe(NoiseLevelSettings, TrainingRecipe):
    """A denoiser's training run (2207.12598, Algorithm 1)."""

    task: ClassVar[str] = "denoiser"
    marks: ClassVar[dict[str, str]] = {}

    objective: Literal["simple", "hybrid", "vdm"] = Field(
        "simple",
        description="Squared error of the output; hybrid also learns the variance (2102.09672); "
        "vdm is the bound in bits per dimension (2107.00630).",
    )
    bound_steps: Positive | None = Field(
        None, description="T of the bound that vdm minimises; continuous time if not given."
    )
    data_levels: int = Field(
        256, ge=2, le=256, description="Values that a number of the data may have, for vdm."
    )
    vlb_weight: VlbWeight = 1.0
    network: UNetSettings = UNetSettings()
    predicts: Predicts = "v"
    p_uncond: float = Field(
        0.1, ge=0, le=1, description="Probability of dropping the label of an example."
    )

    @model_validator(mode="after")
    def _schedule_fits(self) -> Self:
        if self.schedule in ("learned", "learned_ends") and self.objective != "vdm":
            raise ValueError(
                f"schedule is {self.schedule}: it is learned by the bound, so objective must be "
                "vdm."
            )
        if self.schedule in ("linear", "cosine") and self.objective == "vdm":
            raise ValueError(
                f"schedule is {self.schedule}: vdm needs a continuous one, not timesteps."
            )
        return self

    @model_validator(mode="after")
    def _null_is_known(self) -> Self:
        if self.p_uncond and not self.network.null_class:
            raise ValueError(
                f"p_uncond is {self.p_uncond}: it must be 0 without network.null_class, the label "
                "that stands for a dropped one."
            )
        return self

    @property
    def null_label(self) -> bool:
        """As its network has one."""
        return self.network.null_class


class ClassifierRecipe(FixedNoiseLevels, TrainingRecipe):
    """A classifier of noisy images (2105.05233, section 4)."""

    task: ClassVar[str] = "classifier"
    marks: ClassVar[dict[str, str]] = {"objective": "classifier"}
    noun: ClassVar[str] = "classifier"

    objective: Literal["classifier"] = Field("classifier", description="Cross-entropy.")
    network: EncoderSettings = EncoderSettings()


# Settings that a run may change when it is resumed: none alters what a given step computes.
# (Where the data lies may change; that it is the same is seen from its fingerprint.)
MAY_CHANGE = (
    *("data", "steps", "log_every", "checkpoint_every", "sample_every"),
    *("skip_bad", "allow_outside"),
)


def conflict(old: TrainingRecipe, new: TrainingRecipe) -> str | None:
    """The first setting in which a resumed run may not differ but does, as a sentence; or None."""
    before, now = old.model_dump(), new.model_dump()
    if type(old) is not type(new):
        was, given = (found.get("objective", "another") for found in (before, now))
        return f"objective is {given!r}: it must be {was!r}, as in the run."
    allowed = [name for name in MAY_CHANGE if name != "steps" or old.decay == "none"]
    for name, was, given in _differences(before, now):
        if name not in allowed:
            return (
                f"{name} is {given!r}: it must be {was!r}, as in the run; only "
                f"{', '.join(allowed)} may change."
            )
    return None


def _differences(
    old: dict[str, Any], new: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    for key, was in old.items():
        if isinstance(was, dict):
            yield from _differences(was, new[key], f"{prefix}{key}.")
        elif was != new[key]:
            yield f"{prefix}{key}", was, new[key]
