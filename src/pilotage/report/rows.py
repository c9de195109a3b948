"""Rows of a sweep table, checked."""

import math
from pathlib import Path
from typing import Any, NamedTuple

from pilotage.errors import PilotageError
from pilotage.report.eval_prompts import Asked, parse_asked
from pilotage.report.guidance import BY_CLASSIFIER, FREE, SHIFTS, Guidance
from pilotage.report.guidance import KINDS as GUIDANCE_KINDS
from pilotage.report.lines import Line, is_pair, known

KINDS = ("sample", "real", "bicubic", "images")


class Measure(NamedTuple):
    """A number and its standard error; NaN stands for what is not known."""

    value: float
    error: float = math.nan


UNKNOWN = Measure(math.nan)


class Row(NamedTuple):
    """A line of a sweep table, checked; the settings of sampling are None unless it is a sample.

    Attributes:
        folder: the run whose table it is in.
        line: where it was read, for messages.
        name: what was measured, as the row says.
        raw: everything that the line holds.
        asked: the captions that images were asked for by, if they were.
        v: the variance fraction, or "learned".
    """

    folder: Path
    line: str
    id: str
    kind: str
    name: str
    n: int
    extractor: dict[str, Any]
    reference: dict[str, Any]
    metrics: dict[str, Measure]
    raw: dict[str, Any]
    asked: Asked | None = None
    run_hash: str | None = None
    step: int | None = None
    w: float | None = None
    guidance: Guidance | None = None
    steps: int | None = None
    sampler: str | None = None
    v: float | str | None = None
    eta: float | None = None
    p_uncond: float | None = None


def parse_row(line: Line, folder: Path) -> Row:
    """A row of the table of a run.

    Raises:
        PilotageError: naming file, line and field.
    """
    content = line.content
    kind = line.choice("kind", KINDS)
    row = Row(
        folder=folder,
        line=line.where,
        id=line.need("id", str),
        kind=kind,
        name=str(content.get("images") or content.get("run") or kind),
        n=line.need("n", int),
        extractor=_part(line, "extractor", "name", "hash"),
        reference=_part(line, "reference", "hash"),
        metrics=_metrics(line),
        raw=content,
        asked=parse_asked(line),
    )
    if kind != "sample":
        return row
    return row._replace(
        run_hash=line.need("run_hash", str),
        step=line.need("step", int),
        w=line.number("w"),
        guidance=_guidance(line),
        steps=line.need("steps", int),
        sampler=line.need("sampler", str),
        v=line.number_or("v", "learned"),
        eta=line.number_or("eta"),
        p_uncond=line.number_or("p_uncond"),
    )


def _guidance(line: Line) -> Guidance:
    """Classifier-free unless the row says otherwise, as rows of earlier versions do not."""
    interval = None
    if line.content.get("guidance_interval") is not None:
        interval = line.pair("guidance_interval")
    if line.content.get("guidance") is None or line.choice("guidance", GUIDANCE_KINDS) == FREE:
        return Guidance(interval=interval)
    return Guidance(
        BY_CLASSIFIER,
        line.need("classifier_hash", str),
        line.number("classifier_free_w"),
        line.choice("classifier_shift", SHIFTS),
        interval,
    )


def _part(line: Line, name: str, *fields: str) -> dict[str, Any]:
    part = Line(f"{line.where}, {name}", line.need(name, dict))
    for field in fields:
        part.need(field, str)
    return part.content


def _metrics(line: Line) -> dict[str, Measure]:
    metrics = {}
    for name, pair in line.need("metrics", dict).items():
        if not is_pair(pair):
            raise PilotageError(
                f"{line.where}: metrics.{name} is {pair!r}, not [value, standard error]."
            )
        metrics[name] = Measure(*known(pair))
    return metrics
