"""Rows of a sweep table, checked."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pilotage.errors import PilotageError
from pilotage.report.lines import Line
from pilotage.settings.samplers import Sampler

if TYPE_CHECKING:
    from pilotage.models.guidance_spec import Guidance

KINDS = ("sample", "real", "bicubic", "images")
FREE, BY_CLASSIFIER = "classifier-free", "classifier"
GUIDANCE_KINDS = (FREE, BY_CLASSIFIER)
SHIFTS = ("eps", "mean")


class Measure(NamedTuple):
    """A number and its standard error; NaN stands for what is not known."""

    value: float
    error: float = math.nan

    @property
    def bar(self) -> float:
        """Length of an error bar: none where the standard error is not known."""
        return self.error if self.error > 0 else 0.0


UNKNOWN = Measure(math.nan)


class EvalPrompts(NamedTuple):
    """Where the captions that were sampled, and their images to enlarge or complete, come from.

    Attributes:
        data: what the data are called.
        split: "held-out" or "train".
        n: captions, which are sampled in turn.
        hash: theirs.
        low_res: height and width of the images to be enlarged, if any.
        known: whether images are completed.
        each: images of a caption in a row.
    """

    data: str
    split: str
    n: int
    hash: str
    low_res: tuple[int, ...] | None = None
    known: bool = False
    each: int = 1


@dataclass(frozen=True)
class Row:
    """A line of a sweep table, checked.

    Attributes:
        folder: the run whose table it is in.
        name: what was measured, as the row says.
        raw: everything that the line holds.
        prompts: of runs on captions.
    """

    folder: Path
    id: str
    kind: str
    name: str
    n: int
    extractor: dict[str, Any]
    reference: dict[str, Any]
    metrics: dict[str, Measure]
    raw: dict[str, Any]
    prompts: EvalPrompts | None

    def measure(self, metric: str) -> Measure:
        """A metric, unknown where it was not measured."""
        return self.metrics.get(metric, UNKNOWN)


@dataclass(frozen=True)
class SampleRow(Row):
    """A row of samples of a model, with the settings of sampling."""

    run_hash: str
    step: int
    guidance: "Guidance"
    steps: int
    sampler: Sampler
    p_uncond: float | None

    @property
    def w(self) -> float:
        """The strength of its guidance."""
        return self.guidance.w


def parse_row(line: Line, folder: Path) -> Row:
    """A row of the table of a run.

    Raises:
        PilotageError: naming file, line and field.
    """
    content = line.content
    kind = line.choice("kind", KINDS)
    row = Row(
        folder=folder,
        id=line.text("id"),
        kind=kind,
        name=str(content.get("images") or content.get("run") or kind),
        n=line.count("n"),
        extractor=_part(line, "extractor", "name", "hash"),
        reference=_part(line, "reference", "hash"),
        metrics=_metrics(line),
        raw=content,
        prompts=_prompts(line),
    )
    if kind != "sample":
        return row
    return SampleRow(
        **vars(row),
        run_hash=line.text("run_hash"),
        step=line.count("step"),
        guidance=_guidance(line),
        steps=line.count("steps"),
        sampler=_sampler(line),
        p_uncond=line.number_or_null("p_uncond"),
    )


def _guidance(line: Line) -> "Guidance":
    """Classifier-free unless the row says otherwise, as rows of earlier versions do not."""
    from pilotage.models.guidance_spec import Guidance  # needs torch

    line.number("w")
    if line.has("guidance") and line.choice("guidance", GUIDANCE_KINDS) == BY_CLASSIFIER:
        line.text("classifier_hash")
        line.number("classifier_free_w")
        line.choice("classifier_shift", SHIFTS)
    if line.has("negative"):
        line.text("negative")
    line.number_or_null("image_w")
    if line.has("guidance_interval"):
        interval = {"guidance_interval": line.pair("guidance_interval")}
        line = line._replace(content=line.content | interval)
    return line.read(Guidance.from_row)


def _sampler(line: Line) -> Sampler:
    line.text("sampler")
    if line.content.get("v") != "learned":
        line.number_or_null("v")
    line.number_or_null("eta")
    return line.read(Sampler.from_record)


def _prompts(line: Line) -> EvalPrompts | None:
    """None without captions."""
    if not line.has("captions"):
        return None
    captions = line.part("captions")
    return EvalPrompts(
        data=captions.text("data"),
        split=captions.text("split"),
        n=captions.count("n"),
        hash=captions.text("hash"),
        low_res=_size(line.part("low_res")) if line.has("low_res") else None,
        known=line.has("known"),
        each=int(line.number_or_null("per_caption") or 1),
    )


def _size(line: Line) -> tuple[int, ...]:
    size = line.need("size", list)
    if not all(isinstance(side, int) for side in size):
        raise PilotageError(f"{line.where}: size is {size!r}, not two numbers.")
    return tuple(size)


def _part(line: Line, name: str, *fields: str) -> dict[str, Any]:
    part = line.part(name)
    for field in fields:
        part.text(field)
    return part.content


def _metrics(line: Line) -> dict[str, Measure]:
    metrics = line.need("metrics", dict)
    named = Line(line.where, {f"metrics.{name}": pair for name, pair in metrics.items()})
    return {name: Measure(*named.pair(f"metrics.{name}")) for name in metrics}
