"""The lines of a run's files as values: writers and the report share this one schema.

``Row`` and ``SampleRow`` are lines of a sweep table, ``Bound`` of ``likelihood.jsonl``, ``Timing``
of the times of a study, ``Levels`` of ``noise_levels.jsonl``, ``LogLine`` of the training logs.
What a line has beyond its fields is kept. A wrong field is one sentence that names it.
"""

import math
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self, TypeVar, cast

from pydantic import (
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)
from pydantic_core import PydanticCustomError, core_schema
from typing_extensions import TypedDict

from pilotage.errors import PilotageError
from pilotage.metrics import Measured, row_parts
from pilotage.settings.base import Settings
from pilotage.settings.samplers import SHORT_FORMS, Sampler
from pilotage.sweep.table import read_lines, row_id

if TYPE_CHECKING:
    from pilotage.models.guidance_spec import Guidance

R = TypeVar("R", bound="Record")


class Measure(NamedTuple):
    """A number and its standard error, ``[value, error]`` in a file; NaN (null) for not known."""

    value: float
    error: float = math.nan

    @property
    def bar(self) -> float:
        """Length of an error bar: 0 where the standard error is not known."""
        return self.error if self.error > 0 else 0.0

    @classmethod
    def read(cls, pair: Any) -> "Measure":
        """A pair of a file."""
        known = (int, float, type(None))
        if not isinstance(pair, list | tuple) or len(pair) != 2 or bool in map(type, pair):
            raise PydanticCustomError("pair", "must be [value, standard error]")
        if not all(isinstance(x, known) for x in pair):
            raise PydanticCustomError("pair", "must be [value, standard error]")
        return cls(*(math.nan if x is None else float(x) for x in pair))

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Read by :meth:`read`."""
        return core_schema.no_info_plain_validator_function(cls.read)


FREE, BY_CLASSIFIER = "classifier-free", "classifier"
GUIDANCE = ("kind", "hash", "free_w", "shift", "modifiers")  # facts that say what w is
UNKNOWN = Measure(math.nan)
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Real = Annotated[float, Field(allow_inf_nan=True)]
Steps = Annotated[StrictInt, Field(ge=1)]


class Extractor(TypedDict):
    """Which features were compared."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    name: StrictStr
    hash: StrictStr


POINTS = cast(Extractor, {"name": "points", "hash": ""})  # of points, which have no features


class Images(TypedDict):
    """Which real images were compared with, or coded."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    hash: StrictStr


class Captions(TypedDict):
    """Whose captions were sampled in turn, and how many of them."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    data: StrictStr
    split: StrictStr
    n: StrictInt
    hash: StrictStr


class LowRes(TypedDict):
    """The height and width of images to be enlarged."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    size: tuple[StrictInt, StrictInt]


class Record(Settings):
    """A line of a file: its known fields are checked, all others kept."""

    model_config = ConfigDict(extra="allow")

    def line(self) -> dict[str, Any]:
        """What the line held."""
        return {name: value for name, value in self if name in self.model_fields_set}

    def flat(self) -> dict[str, Any]:
        """One number or text per column of a CSV file; a standard error's name ends in ``_se``."""
        row: dict[str, Any] = {}
        for name, value in self.line().items():
            parts = value if isinstance(value, dict) else {name: value}
            for key, x in parts.items() if name not in ("replicates", "codecs") else ():
                column = key if name in ("metrics", key) else f"{name}_{key}"
                if isinstance(x, Measure):
                    row |= {column: x.value, f"{column}_se": x.error}
                else:
                    row[column] = " ".join(map(str, x)) if isinstance(x, list | tuple) else x
        return row


class Row(Record):
    """A line of a sweep table; rows of one id have the same numbers.

    Attributes:
        run: where the images are from.
        replicates: of a metric over resamples of its own images, the same for rows of equal n.
        known: whether images were completed, of a run on captions.
        per_caption: images of each caption in a row.
        preview: a picture of the first images, relative to the run folder.
    """

    id: StrictStr
    kind: Literal["sample", "real", "bicubic", "images"]
    run: StrictStr = ""
    images: StrictStr = ""
    n: StrictInt
    extractor: Extractor = Field(default_factory=lambda: POINTS.copy())
    reference: Images
    metrics: dict[str, Measure]
    replicates: dict[str, list[Real]] = Field(default_factory=dict)
    captions: Captions | None = None
    low_res: LowRes | None = None
    known: Any = None
    per_caption: StrictInt = 1
    first_captions: tuple[StrictStr, ...] = ()
    preview: StrictStr | None = None
    seconds: Finite | None = None
    code: StrictStr = ""
    convention: StrictStr = ""

    @property
    def name(self) -> str:
        """What was measured."""
        return self.images or self.run or self.kind

    @property
    def size_text(self) -> str:
        """``16x16``, of the images to be enlarged; empty without any."""
        return "x".join(map(str, self.low_res["size"])) if self.low_res else ""

    @property
    def title(self) -> str:
        """What no model has made, as the head of a line: ``real (n = 179)``."""
        size = f" from {self.size_text}" if self.size_text and self.kind != "real" else ""
        name = self.name if self.kind == "images" else self.kind
        return f"{name}{size} (n = {self.n})"

    def measure(self, metric: str) -> Measure:
        """A metric, unknown where it was not measured."""
        return self.metrics.get(metric, UNKNOWN)

    def has(self, *metrics: str) -> bool:
        """Whether all of these metrics are finite numbers."""
        return all(math.isfinite(self.measure(metric).value) for metric in metrics)


class SampleRow(Row):
    """A row of samples of a model, with the settings of sampling."""

    kind: Literal["sample"]
    run_hash: StrictStr
    step: StrictInt
    p_uncond: Finite | None = None
    w: Finite
    guidance: Literal["classifier-free", "classifier"] | None = None
    rule: StrictStr = "cfg"
    guidance_interval: tuple[Finite, Finite] | None = None
    classifier: StrictStr = ""
    classifier_step: StrictInt | None = None
    classifier_hash: StrictStr | None = None
    classifier_free_w: Finite | None = None
    classifier_shift: Literal["eps", "mean"] | None = None
    negative: StrictStr | None = None
    image_w: Finite | None = None
    steps: Steps
    sampler: StrictStr
    v: Any = None
    eta: Any = None
    seeds: tuple[StrictInt, StrictInt] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """A classifier is named in full, and a known sampler has the parameters that it takes."""
        for name in ("hash", "free_w", "shift") if self.guidance == "classifier" else ():
            if getattr(self, f"classifier_{name}") is None:
                raise PilotageError(f"classifier_{name} is missing: it must be given.")
        self.sampler_record  # noqa: B018
        return self

    @cached_property
    def sampler_record(self) -> dict[str, Any]:
        """The sampler and its parameters; as the row says where it is not registered."""
        fields = {"sampler": self.sampler, "v": self.v, "eta": self.eta}
        name = re.match(r"[\w-]*", self.sampler)
        if name and name[0] in Sampler.known:
            return Sampler.from_record(fields).record()
        short = {key: fields[key] for key in SHORT_FORMS if fields[key] is not None}
        return {"sampler": self.sampler, **short}

    @cached_property
    def facts(self) -> dict[str, str]:
        """All of sampling but w and the number of steps, as short texts by what they are about.

        Rows that differ in one of them share no curve; empty texts stand for what is usual.
        """
        how, sampler = self.how, self.sampler_record
        facts = {"kind": BY_CLASSIFIER if how.by_classifier else FREE}
        if how.by_classifier:
            facts["hash"] = how.classifier.hash[:6]
            facts["free_w"] = f"classifier_free_w {how.classifier_free_w:g}"
            facts["shift"] = f"{how.classifier_shift} shift"
        facts |= {"modifiers": ", ".join(how.modifiers()), "sampler": str(sampler["sampler"])}
        for key, sign in (("v", "v"), ("eta", "η")):
            value = sampler.get(key)
            if value is not None:
                text = f"learned {sign}" if isinstance(value, str) else f"{sign} = {value:g}"
                facts[key] = text
        facts |= {"n": f"n = {self.n}", "seeds": self.seeds_text}
        if self.captions:
            text = "{split} captions of {data} ({n}, hash {hash:.6})".format(**self.captions)
            facts["captions"] = text
        facts["each"] = f"{self.per_caption} images each" if self.per_caption > 1 else ""
        facts["low_res"] = f"enlarged from {self.size_text}" if self.low_res else ""
        facts["known"] = "completed where boxes were erased" if self.known is not None else ""
        scale = "" if how.image_w is None else f"image guidance scale {how.image_w:g}"
        negative = f"negative prompt {how.negative!r}" if how.negative else ""
        return facts | {"image_w": scale, "negative": negative, "code": f"code {self.code}"}

    @property
    def seeds_text(self) -> str:
        """``seeds 0 to 1999`` of the half-open range (0, 2000)."""
        return f"seeds {self.seeds[0]} to {self.seeds[1] - 1}" if self.seeds else ""

    @property
    def way(self) -> str:
        """How it was sampled, all but w and steps, and what w is in it."""
        kind, *more = (self.facts[key] for key in GUIDANCE if self.facts.get(key))
        way = ", ".join(text for key, text in self.facts.items() if text and key not in GUIDANCE)
        return f"{way}; w is the strength of {', '.join([f'{kind} guidance', *more])}"

    @property
    def w_text(self) -> str:
        """w as the head of a row: a classifier's 0 in words, as 2105.05233 has it."""
        if self.w or not self.how.by_classifier:
            return f"{self.w:g}"
        return "no guidance" if self.how.classifier_free_w in (0, -1) else "no classifier"

    @cached_property
    def how(self) -> "Guidance":
        """The guidance; a rule that is not registered is kept as its text."""
        from pilotage.models.guidance_spec import Guidance  # needs torch

        return Guidance.from_row(dict(self))


class Bound(Record):
    """Bits per dimension of held-out images, and what decides them.

    Attributes:
        steps: T of the bound, "inf" for continuous time.
        evaluations: network calls per image for the diffusion term.
        codecs: bits per dimension of lossless codecs, by name.
        timesteps: of a beta schedule, all steps of which are evaluated.
    """

    bits_per_dimension: Measure
    prior: Measure
    reconstruction: Measure
    diffusion: Measure
    n: StrictInt
    steps: Steps | Literal["inf"]
    evaluations: StrictInt
    unconditional: StrictBool
    weights: Literal["ema", "model"]
    v: Finite | None
    seed: StrictInt
    training_step: StrictInt
    data: Images
    codecs: dict[str, Finite] = Field(default_factory=dict)
    timesteps: StrictInt | None = None
    run: StrictStr = ""

    @model_validator(mode="after")
    def _finite(self) -> Self:
        """A beta schedule has no continuous time."""
        if self.steps == "inf" and self.timesteps is not None:
            raise PilotageError("steps is 'inf': a beta schedule has a number of steps.")
        return self

    @property
    def T(self) -> float:  # noqa: N802
        """The steps, infinite for continuous time."""
        return math.inf if self.steps == "inf" else float(self.steps)

    @property
    def calls(self) -> int:
        """Network calls per image for the diffusion term: T where that is less or all count."""
        whole = self.timesteps is not None or self.evaluations > self.T
        return int(self.T) if whole else self.evaluations

    @property
    def facts(self) -> dict[str, str]:
        """What tells bounds of a run over T apart, as short texts."""
        return {
            "conditions": "unconditional" if self.unconditional else "conditional",
            "weights": "averaged weights" if self.weights == "ema" else "latest weights",
            "v": "its own v" if self.v is None else f"v = {self.v:g}",
            "step": f"step {self.training_step}",
        }


class Timing(Record):
    """How long the images of a row take.

    Attributes:
        calls: of the network, per image.
        seconds: for 100 images, in every round.
    """

    id: StrictStr
    run: StrictStr
    run_hash: StrictStr
    step: StrictInt
    steps: Steps
    sampler: StrictStr
    w: Finite
    images: StrictInt
    rounds: StrictInt
    calls: Finite
    seconds: tuple[Finite, ...]


class LogLine(Record):
    """A line of ``metrics.jsonl`` or ``health.jsonl``: numbers at a training step."""

    step: StrictInt


class Level(TypedDict):
    """A classifier at one noise level."""

    u: Finite
    lam: Finite
    accuracy: Finite
    confidence: Finite
    calibration_error: Finite
    log_loss: Finite


class Levels(LogLine):
    """A classifier at all noise levels, at a training step."""

    images: StrictStr
    levels: Annotated[tuple[Level, ...], Field(min_length=1)]


def as_row(line: Mapping[str, Any]) -> Row:
    """A line of a sweep table as a row of its kind.

    Raises:
        PilotageError: naming the field that is wrong.
    """
    return (SampleRow if line.get("kind") == "sample" else Row)(**line)


def checked(line: dict[str, Any], kind: type[Record] = Row) -> dict[str, Any]:
    """The line, if it is one that can be read back.

    Raises:
        PilotageError: naming the field that is wrong.
    """
    _value(line, kind)
    return line


def new_row(decides: dict[str, Any], name: str, metrics: Mapping[str, Measured]) -> dict[str, Any]:
    """The row of images that no model has made.

    Args:
        decides: all that decides the numbers.
        name: where the images are from.
        metrics: the numbers.
    """
    parts = row_parts(metrics)
    row = {"id": row_id(decides), **decides, "run": name, **parts, "preview": None}
    return checked(row)


def read_records(path: Path, kind: type[R]) -> list[R]:
    """All lines of a file, as values; none if there is no such file.

    Raises:
        PilotageError: naming file, line and field.
    """
    found = []
    for k, line in read_lines(path):
        try:
            found.append(_value(line, kind))
        except PilotageError as error:
            raise PilotageError(f"{path}, line {k}: {error}") from None
    return found


def _value(line: Mapping[str, Any], kind: type[R]) -> R:
    return as_row(line) if kind is Row else kind(**line)  # type: ignore[return-value]
