"""What a report reads: the card, the curves and the sweep table of each run."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pilotage.errors import PilotageError

KINDS = ("sample", "real", "images")


class Measure(NamedTuple):
    """A number and its standard error; NaN stands for what is not known."""

    value: float
    error: float = math.nan


class Row(NamedTuple):
    """A line of a sweep table, checked; the settings of sampling are None unless it is a sample.

    Attributes:
        folder: the run whose table it is in.
        line: where it was read, for messages.
        name: what was measured, as the row says.
        raw: everything that the line holds.
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
    run_hash: str | None = None
    step: int | None = None
    w: float | None = None
    steps: int | None = None
    sampler: str | None = None
    p_uncond: float | None = None


class Source(NamedTuple):
    """A run folder, read.

    Attributes:
        folder: where it is.
        label: what the report calls it.
        card: its recipe.yaml, as text.
        p_uncond: of its recipe.
        training: the lines of metrics.jsonl, one per step.
        health: those of health.jsonl.
        rows: its sweep table, each id once.
    """

    folder: Path
    label: str
    card: str
    p_uncond: float
    training: list[dict[str, Any]]
    health: list[dict[str, Any]]
    rows: list[Row]


class Line(NamedTuple):
    """A JSON object and where it was found."""

    where: str
    content: dict[str, Any]

    def need(self, name: str, kind: type | tuple[type, ...]) -> Any:
        """A field that has to be there, and of that type."""
        if name not in self.content:
            raise PilotageError(f"{self.where}: {name} is missing.")
        value = self.content[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise PilotageError(f"{self.where}: {name} is {value!r}, which it cannot be.")
        return value

    def number(self, name: str) -> float:
        """A field that has to be a finite number."""
        value = self.need(name, (int, float))
        if not math.isfinite(value):
            raise PilotageError(f"{self.where}: {name} is {value!r}, not a finite number.")
        return value


def read_sources(runs: Sequence[Path]) -> list[Source]:
    """All runs of a report.

    Raises:
        PilotageError: for no run, a run given twice, or a file that is missing or damaged.
    """
    runs = [Path(run) for run in runs]
    if not runs:
        raise PilotageError("runs is empty: a report needs at least one run folder.")
    places = [run.resolve() for run in runs]
    for k, run in enumerate(runs):
        if places[k] in places[:k]:
            raise PilotageError(f"runs has {run} twice: each run once is enough.")
    names = [place.name for place in places]
    labels = [n if names.count(n) == 1 else str(run) for n, run in zip(names, runs, strict=True)]
    return [_read(run, label) for run, label in zip(runs, labels, strict=True)]


def _read(run: Path, label: str) -> Source:
    from pilotage.folder import read_card  # these two need torch
    from pilotage.sweep.table import table_path

    recipe = read_card(run).recipe
    rows = {row.id: row for row in (_row(line, run) for line in read_lines(table_path(run)))}
    return Source(
        folder=run,
        label=label,
        card=(run / "recipe.yaml").read_text(encoding="utf-8"),
        p_uncond=recipe.p_uncond,
        training=_by_step(read_lines(run / "metrics.jsonl")),
        health=_by_step(read_lines(run / "health.jsonl")),
        rows=list(rows.values()),
    )


def read_lines(path: Path) -> list[Line]:
    """The JSON objects of a file, one per line; a last line that is cut short is passed over.

    Raises:
        PilotageError: naming file and line, if any other line is no JSON object.
    """
    if not path.exists():
        return []
    parts = path.read_bytes().split(b"\n")
    lines = []
    for k, part in enumerate(parts, 1):
        if not part.strip():
            continue
        try:
            content = json.loads(part)
        except ValueError:  # of JSON or of UTF-8
            content = None
        if isinstance(content, dict):
            lines.append(Line(f"{path}, line {k}", content))
        elif k < len(parts):
            raise PilotageError(f"{path}, line {k} is not a JSON object.")
    return lines


def _by_step(lines: list[Line]) -> list[dict[str, Any]]:
    steps = {line.number("step"): line.content for line in lines}
    return [steps[step] for step in sorted(steps)]


def _row(line: Line, folder: Path) -> Row:
    content = line.content
    kind = line.need("kind", str)
    if kind not in KINDS:
        raise PilotageError(f"{line.where}: kind is {kind!r}, not one of {', '.join(KINDS)}.")
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
    )
    if kind != "sample":
        return row
    rate = None if content.get("p_uncond") is None else line.number("p_uncond")
    return row._replace(
        run_hash=line.need("run_hash", str),
        step=line.need("step", int),
        w=line.number("w"),
        steps=line.need("steps", int),
        sampler=line.need("sampler", str),
        p_uncond=rate,
    )


def _part(line: Line, name: str, *fields: str) -> dict[str, Any]:
    part = Line(f"{line.where}, {name}", line.need(name, dict))
    for field in fields:
        part.need(field, str)
    return part.content


def _metrics(line: Line) -> dict[str, Measure]:
    metrics = {}
    for name, pair in line.need("metrics", dict).items():
        if not _is_pair(pair):
            raise PilotageError(
                f"{line.where}: metrics.{name} is {pair!r}, not [value, standard error]."
            )
        metrics[name] = Measure(*(math.nan if number is None else float(number) for number in pair))
    return metrics


def _is_pair(pair: Any) -> bool:
    return (
        isinstance(pair, list)
        and len(pair) == 2
        and all(x is None or (isinstance(x, (int, float))) for x in pair)
    )
