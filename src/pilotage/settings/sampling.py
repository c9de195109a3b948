"""Sampling requests: guidance, levels, sampler, and which images."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypedDict

import tyro
from pydantic import Field, model_validator

from pilotage.errors import PilotageError
from pilotage.settings.base import AS_TEXT, DeviceSettings, Fraction, MaybeRun, Positive, Settings
from pilotage.settings.rules import CFG, Rule, RuleField
from pilotage.settings.samplers import Ancestral, Sampler, SamplerField, with_short_forms


class SteeringSettings(Settings):
    """Guidance options that all images of a call or sweep share; strengths apart."""

    rule: RuleField = Field(CFG(), description="How predictions are combined.")
    guidance_interval: tuple[float, float] | None = Field(
        None,
        description="Log-SNR between which guidance acts, such as -20 0; everywhere if not given "
        "(2404.07724).",
    )

    classifier: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = Field(
        None, description="The run folder of a noisy classifier, whose strength w then is."
    )
    classifier_free_w: float | None = Field(
        None,
        description="Classifier-free strength added to a classifier's: 0, or -1 without labels.",
    )
    classifier_shift: Literal["eps", "mean"] = Field(
        "eps",
        description="What a classifier moves: eps, in any sampler, or ADM's ancestral mean.",
    )
    v: Fraction | Literal["learned"] | None = Field(
        None, description="Variance fraction of the ancestral sampler: 0.3, or as learned."
    )
    eta: Fraction | None = Field(None, description="Randomness of the DDIM sampler: 0.")

    @model_validator(mode="after")
    def _from_to(self) -> Self:
        found = self.guidance_interval
        if found is not None and not -math.inf < found[0] < found[1] < math.inf:
            raise ValueError(
                f"guidance_interval is {found}: it must be two numbers, the first the smaller."
            )
        if found is not None and self.classifier_shift == "mean":
            raise ValueError(
                f"guidance_interval is {found}: it needs classifier_shift eps, not mean."
            )
        return self

    @model_validator(mode="after")
    def _only_with_a_classifier(self) -> Self:
        for name in ("classifier_free_w", "classifier_shift"):
            value = getattr(self, name)
            if self.classifier is None and value != type(self).model_fields[name].default:
                raise ValueError(f"{name} is {value}: it needs a classifier.")
        return self


class PromptSteering(Settings):
    """Guidance options of models on captions."""

    negative: str | None = Field(None, description="Negative prompt, in place of the empty one.")
    image_w: float | None = Field(
        None, description="Guidance scale of the conditioning image; w is then the text's."
    )


def check_steps(name: str, steps: int | str | None) -> None:
    """Refuse a number of network levels below 1."""
    if isinstance(steps, int) and steps < 1:
        raise ValueError(f"{name} is {steps}: it must be greater than or equal to 1.")


class SamplingOptions(TypedDict, total=False):
    """The keywords of :meth:`Model.sample`: those of a :class:`SamplingSpec`, which says more."""

    w: float | None
    guidance_scale: float | None
    rule: Rule | str
    guidance_interval: tuple[float, float] | None
    classifier: Any
    classifier_free_w: float | None
    classifier_shift: Literal["eps", "mean"]
    negative: str | None
    image_w: float | None
    compose: Iterable[tuple[str, float]]
    steps: int | str | None
    sampler: Sampler | str
    v: float | Literal["learned"] | None
    eta: float | None
    batch_size: int


class SamplingSpec(PromptSteering, SteeringSettings):
    """How images are sampled: guidance, levels, sampler."""

    w: float | None = Field(
        None,
        description="Guidance strength: 0 (default) none, -1 no class; a classifier's if one is "
        "given.",
    )
    guidance_scale: float | None = Field(
        None, description="The classifier-free strength as 1 + w; never both."
    )
    compose: tuple[tuple[str, float], ...] = Field(
        (), description="Captions with weights instead of a prompt and w: CAPTION WEIGHT ..."
    )
    steps: int | str | None = Field(
        None,
        description="Network levels T: 64, or a generator's own, by default; with a beta schedule "
        "also ddim25, fast27 or 10,10,15,15,20.",
    )
    sampler: SamplerField = Field(
        Ancestral(), description="The step function, such as ancestral or ddim(eta=0.5)."
    )
    batch_size: Positive = Field(64, description="Images per network call.")

    @model_validator(mode="after")
    def _levels(self) -> Self:
        check_steps("steps", self.steps)
        with_short_forms([self.sampler], {"v": self.v, "eta": self.eta})
        return self

    @model_validator(mode="after")
    def _one_strength(self) -> Self:
        if self.w is not None and self.guidance_scale is not None:
            raise ValueError(
                f"w is {self.w} and guidance_scale is {self.guidance_scale}: give one, "
                "guidance_scale is 1 + w."
            )
        if self.classifier is not None and self.guidance_scale is not None:
            raise ValueError(
                f"guidance_scale is {self.guidance_scale}: with a classifier, give w and "
                "classifier_free_w."
            )
        if self.compose and (self.w is not None or self.guidance_scale is not None):
            raise ValueError(
                "compose is given: its weights take the place of w, image_w and the captions."
            )
        return self

    @property
    def strength(self) -> float:
        """w from either convention: w itself, or guidance_scale − 1; 0 if neither is given."""
        if self.guidance_scale is not None:
            return self.guidance_scale - 1
        return self.w or 0.0

    @property
    def step_sampler(self) -> Sampler:
        """The sampler with its short forms."""
        return with_short_forms([self.sampler], {"v": self.v, "eta": self.eta})[0]


MOST_SEEDS = 10_000_000  # images of one command


def parse_seeds(words: Iterable[str]) -> list[int]:
    """Numbers from words such as "7" and "0:64" (0 to 63).

    Raises:
        PilotageError: naming the word that is neither.
    """
    seeds: list[int] = []
    for word in words:
        first, colon, end = word.partition(":")
        if not first.isdecimal() or (colon and not end.isdecimal()):
            raise PilotageError(f"seeds has {word!r}: allowed are numbers and ranges such as 0:64.")
        found = range(int(first), int(end)) if colon else range(int(first), int(first) + 1)
        if not found:
            raise PilotageError(f"seeds has {word!r}: the range is empty.")
        if found[-1] >= 2**32 or len(seeds) + len(found) > MOST_SEEDS:
            raise PilotageError(
                f"seeds has {word!r}: it must be less than 2**32, and of {MOST_SEEDS} at most."
            )
        seeds.extend(found)
    return seeds


class PromptSettings(DeviceSettings, SamplingSpec):
    """Validated sampling request, of one run or of a cascade of runs on captions."""

    groups: ClassVar[dict[str, str]] = {
        "rule": "guidance",
        "v": "sampling",
        "negative": "captions",
        "w": "guidance",
        "compose": "captions",
        "steps": "sampling",
        "device": "",
        "cascade": "captions",
        "seeds": "images",
    }

    run_folder: MaybeRun = Field(None, description="The run folder.")
    cascade: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="RUN ...")] = Field(
        (), description="Instead of one run: a base, and runs that enlarge what it makes."
    )
    prompt: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PROMPT ...")] = Field(
        (), description="For a run on captions: what to show; dealt to the images in turn."
    )
    prompts: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = Field(
        None, description="A text file instead, one prompt per line, one image each."
    )
    low_res: Annotated[Path | None, tyro.conf.arg(metavar="IMAGE")] = Field(
        None, description="For a run that enlarges: the image to be enlarged."
    )
    up_w: float = Field(0.0, description="Guidance strength of a cascade's enlarging runs.")
    up_steps: int | str | None = Field(
        None, description="Their network levels; as many as the base's if not given."
    )
    up_sampler: Annotated[Sampler, AS_TEXT] | None = Field(
        None, description="Their step function; the base's if not given."
    )
    seeds: Annotated[tuple[str, ...], tyro.conf.arg(metavar="N|A:B ...")] = Field(
        (),
        description="Numbers or ranges a:b, one each; 8 per given label or prompt by default.",
    )
    weights: Literal["ema", "model"] = Field("ema", description="Averaged or latest weights.")
    out: Annotated[Path, tyro.conf.arg(metavar="FILE|FOLDER")] = Field(
        Path("samples.png"),
        description="A grid (.png), arrays (.npz), or a folder of single PNGs (any other name).",
    )

    @property
    def seed_numbers(self) -> list[int]:
        """The seeds that are given."""
        return parse_seeds(self.seeds)

    @property
    def spec(self) -> SamplingSpec:
        """How images are sampled, alone."""
        return self.part(SamplingSpec)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The runs in order."""
        return self.cascade if self.run_folder is None else (self.run_folder,)

    @property
    def for_captions(self) -> bool:
        """Whether any setting is given that only a run on captions understands."""
        words = (self.cascade, self.prompt, self.prompts, self.negative, self.compose, self.image_w)
        return any(word not in (None, ()) for word in words)

    @model_validator(mode="after")
    def _only_with_a_cascade(self) -> Self:
        for name in ("up_w", "up_steps", "up_sampler"):
            value = getattr(self, name)
            if not self.cascade and value != type(self).model_fields[name].default:
                raise ValueError(f"{name} is {value}: it needs a cascade.")
        check_steps("up_steps", self.up_steps)
        return self

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.run_folder is None) == (not self.cascade):
            raise ValueError("run or cascade must be given, and not both.")
        if self.prompt and self.prompts is not None:
            raise ValueError(f"prompts is {self.prompts}: prompt must not be given too.")
        return self


class InpaintSettings(PromptSettings):
    """An image to be completed, and where."""

    image: Annotated[Path, tyro.conf.arg(metavar="IMAGE")] = Field(description="The image.")
    mask: Annotated[Path, tyro.conf.arg(metavar="IMAGE")] = Field(
        description="An image of the same size, white where it is to be filled."
    )
    out: Annotated[Path, tyro.conf.arg(metavar="FILE|FOLDER")] = Field(
        Path("inpainted.png"),
        description="A grid (.png), arrays (.npz), or a folder of single PNGs (any other name).",
    )

    @model_validator(mode="after")
    def _one_run(self) -> Self:
        if self.cascade:
            raise ValueError(f"cascade has {len(self.cascade)} runs: one run completes an image.")
        return self


class SampleSettings(PromptSettings):
    """Validated sampling request, of labels or captions."""

    labels: Annotated[tuple[str, ...], tyro.conf.arg(metavar="CLASS ...")] = Field(
        (),
        description="Class names or numbers, or all, dealt to the images in turn; the first 16 "
        "classes, and about 16 images, by default.",
    )
