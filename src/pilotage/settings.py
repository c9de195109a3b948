"""The recipe: every setting of a training run, as validated pydantic models.

The command line, ``recipe.yaml`` and the Python API all read this one list.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pilotage.errors import PilotageError

Positive = Annotated[int, Field(ge=1)]


class Settings(BaseModel):
    """Frozen, strict about names, and with one-sentence errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise PilotageError(_sentence(error)) from None

    def replace(self, **changes: Any) -> Self:
        """A copy with some settings changed, validated like any other.

        Raises:
            PilotageError: if a setting does not exist or its value is not allowed.
        """
        return type(self)(**{**dict(self), **changes})

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Tell each setting's bounds in its help."""
        for field in cls.model_fields.values():
            bounds = _bounds(field.metadata)
            if field.description and bounds and not field.description.endswith(bounds):
                field.description += bounds


def _bounds(metadata: list[Any]) -> str:
    """The limits of a number, as in " [>= 0, < 1]"."""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = [
        f"{sign} {getattr(limit, name):g}"
        for limit in metadata
        for name, sign in signs.items()
        if getattr(limit, name, None) is not None
    ]
    return f" [{', '.join(found)}]" if found else ""


def _sentence(error: ValidationError) -> str:
    """The first mistake of a validation: the setting, the value and what is allowed."""
    mistake = error.errors()[0]
    name = ".".join(str(part) for part in mistake["loc"])
    if mistake["type"] == "value_error":
        return str(mistake["ctx"]["error"])
    if mistake["type"] == "extra_forbidden":
        return f"{name} is not a setting."
    reason = re.sub(r"^(Input|Tuple|List|String|Value) ", "", mistake["msg"]).rstrip(".")
    return f"{name} is {mistake['input']!r}: it {reason}."


class UNetSettings(Settings):
    """The ADM U-Net (2105.05233): widths, depths and where it attends."""

    channels: Positive = Field(64, description="Base width.")
    channel_mult: tuple[Positive, ...] = Field(
        (1, 2, 2), min_length=1, description="Width of each resolution, in units of channels."
    )
    num_res_blocks: Positive = Field(2, description="Residual blocks per resolution.")
    attention_resolutions: tuple[Positive, ...] = Field(
        (2, 4), description="Down-sampling rates at which the network attends."
    )
    head_channels: Positive = Field(32, description="Channels per attention head.")
    norm_groups: Positive = Field(32, description="Groups of the group norms, at most.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout in the residual blocks.")


class Recipe(Settings):
    """One training run (2207.12598, Algorithm 1)."""

    # data
    data: str = Field(
        "digits", description="digits, a folder of class folders, parquet files, or a hub id."
    )
    size: tuple[Positive, Positive] | None = Field(
        None, description="Height and width to resize and crop to; the images' own if not given."
    )
    image_column: str | None = Field(None, description="Column of the images; found if not given.")
    label_column: str | None = Field(None, description="Column of the labels; found if not given.")
    held_out: float = Field(
        0.1, ge=0, lt=1, description="Share kept aside where the data has no split of its own."
    )
    flip: bool = Field(False, description="Mirror half of the training images left to right.")
    # model
    network: UNetSettings = UNetSettings()
    predicts: Literal["eps", "x", "v"] = Field("v", description="What the network outputs.")
    lam_min: float = Field(-20.0, description="Log-SNR of the noise end.")
    lam_max: float = Field(20.0, description="Log-SNR of the data end.")
    p_uncond: float = Field(
        0.1, ge=0, le=1, description="Probability of dropping the label of an example."
    )
    # optimisation
    steps: Positive = Field(10_000, description="Optimiser steps in all.")
    batch_size: Positive = Field(
        128, description="Examples per optimiser step, over all processes."
    )
    accumulate: Positive = Field(1, description="Parts that a batch is processed in.")
    learning_rate: float = Field(1e-3, gt=0, description="AdamW's, after the warm-up.")
    warmup_steps: int = Field(100, ge=0, description="Steps of linear learning-rate warm-up.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled weight decay.")
    betas: tuple[float, float] = Field((0.9, 0.99), description="AdamW's two decay rates.")
    clip_norm: float = Field(1.0, gt=0, description="Largest norm of the gradient.")
    ema_decay: float = Field(
        0.999, ge=0, lt=1, description="Decay of the weight average, reached from below."
    )
    precision: Literal["no", "bf16"] = Field("no", description="Mixed precision of the network.")
    seed: int = Field(0, ge=0, lt=2**63, description="Decides weights, order, noise and dropping.")
    # cadence
    log_every: Positive = Field(10, description="Steps between lines of metrics.jsonl.")
    checkpoint_every: Positive = Field(500, description="Steps between checkpoints.")
    sample_every: Positive = Field(2000, description="Steps between sample grids.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.lam_min < self.lam_max:
            raise ValueError(
                f"lam_min is {self.lam_min} and lam_max is {self.lam_max}: "
                "lam_min must be below lam_max."
            )
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"accumulate is {self.accumulate}: it must divide batch_size {self.batch_size}."
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas is {self.betas}: both must lie in [0, 1).")
        if not max(abs(self.lam_min), abs(self.lam_max)) <= 60:
            raise ValueError(
                f"lam_min is {self.lam_min} and lam_max is {self.lam_max}: "
                "beyond 60 float32 has no signal or no noise left."
            )
        return self

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of optimiser step ``step`` (counted from 1)."""
        return self.learning_rate * min(1.0, step / max(1, self.warmup_steps))


class SamplerSettings(Settings):
    """How images are sampled."""

    w: float | None = Field(None, description="Guidance strength: 0 (default) none, -1 no class.")
    guidance_scale: float | None = Field(None, description="The same as 1 + w; never both.")
    steps: int = Field(64, ge=1, description="Network levels T.")
    sampler: Literal["ancestral", "ddim"] = Field("ancestral", description="The step function.")
    batch_size: Positive = Field(64, description="Images per network call.")
    v: float = Field(0.3, ge=0, le=1, description="Variance fraction of the ancestral sampler.")
    eta: float = Field(0.0, ge=0, le=1, description="Randomness of the DDIM sampler.")


class SampleSettings(SamplerSettings):
    """A wish for images from a run, and where they go."""

    run_folder: Path = Field(description="The run folder.")
    out: Path = Field(
        Path("samples.png"),
        description="A grid (.png), arrays (.npz), or a folder of single PNGs (any other name).",
    )
    labels: tuple[str, ...] = Field(
        ("all",), description="all, class names or numbers; dealt to the images in turn."
    )
    seeds: tuple[str, ...] = Field(
        (), description="Numbers or ranges a:b, one image each; 8 images per label by default."
    )
    weights: Literal["ema", "model"] = Field("ema", description="Averaged or latest weights.")


class MeasureSettings(Settings):
    """What samples are compared with, and in which features."""

    data: str | None = Field(
        None, description="The real images to compare with; the run's own if not given."
    )
    extractor: str = Field(
        "in-domain", description="in-domain, inception[:FILE] or dinov2[:NAME]: the features."
    )
    force: bool = Field(
        False, description="Measure distances from fewer samples than features have dimensions."
    )


class EvaluateSettings(MeasureSettings):
    """Images of any origin, and the data that they are compared with."""

    images: str = Field(
        description="A folder of images, an .npz (images: uint8 N, H, W, C), or real: the held-out."
    )
    size: tuple[Positive, Positive] | None = Field(
        None, description="Height and width to resize both to; the images' own if not given."
    )
    out: Path | None = Field(None, description="A table (.jsonl) to add the row to.")


class GridSettings(MeasureSettings):
    """A grid of sampling settings, each measured with the same seeds."""

    w: tuple[float, ...] = Field(
        (0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 4.0), min_length=1, description="Guidance strengths."
    )
    steps: tuple[Positive, ...] = Field((64,), min_length=1, description="Numbers of steps T.")
    sampler: tuple[Literal["ancestral", "ddim"], ...] = Field(
        ("ancestral",), min_length=1, description="Step functions."
    )
    samples: Annotated[int, Field(ge=2)] = Field(1000, description="Images per setting.")
    first_seed: int = Field(0, ge=0, description="Images have the seeds from this one on.")
    batch_size: Positive = Field(64, description="Images per network call.")
    v: float = Field(0.3, ge=0, le=1, description="Variance fraction of the ancestral sampler.")
    eta: float = Field(0.0, ge=0, le=1, description="Randomness of the DDIM sampler.")
    keep: bool = Field(False, description="Keep the images of every setting (sweep/images).")

    @model_validator(mode="after")
    def _once(self) -> Self:
        for name in ("runs", "w", "steps", "sampler"):
            values = getattr(self, name, ())
            twice = [value for k, value in enumerate(values) if value in values[:k]]
            if twice:
                raise ValueError(f"{name} has {twice[0]} twice: each value once is enough.")
        return self


class SweepSettings(GridSettings):
    """The same grid for each of some runs."""

    runs: tuple[Path, ...] = Field(min_length=1, description="The run folders.")


# Settings that a run may change when it goes on: none of them alters what a given step computes.
# (Where the data lies may change; that it is the same is seen from its fingerprint.)
MAY_CHANGE = frozenset({"data", "steps", "log_every", "checkpoint_every", "sample_every"})


def conflict(old: Recipe, new: Recipe) -> str | None:
    """The first setting in which a resumed run may not differ but does, as a sentence; or None."""
    for name, was, asked in _differences(old.model_dump(), new.model_dump()):
        if name not in MAY_CHANGE:
            return f"{name} is {was!r} in the run and {asked!r} was asked for."
    return None


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> Any:
    for key, was in old.items():
        if isinstance(was, dict):
            yield from _differences(was, new[key], f"{prefix}{key}.")
        elif was != new[key]:
            yield f"{prefix}{key}", was, new[key]
