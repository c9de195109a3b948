"""What a report reads: the card, the curves and the tables of each run."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pilotage.errors import PilotageError
from pilotage.report.bounds import Bound, parse_bound
from pilotage.report.levels import Levels, parse_levels
from pilotage.report.lines import by_step, read_lines
from pilotage.report.rows import Row, parse_row


class Source(NamedTuple):
    """A run folder, read.

    Attributes:
        folder: where it is.
        label: what the report calls it.
        card: its recipe.yaml, as text.
        classifies: whether it is a noisy classifier's.
        classes: how many it knows.
        dimensions: numbers of an image.
        p_uncond: of its recipe; a classifier's has none.
        training: the lines of metrics.jsonl, one per step.
        health: those of health.jsonl.
        levels: those of noise_levels.jsonl.
        bounds: those of likelihood.jsonl.
        rows: its sweep table, each id once.
    """

    folder: Path
    label: str
    card: str
    classifies: bool
    classes: int
    dimensions: int
    p_uncond: float | None
    training: list[dict[str, Any]]
    health: list[dict[str, Any]]
    levels: list[Levels]
    bounds: list[Bound]
    rows: list[Row]


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
    from pilotage.models.run_folder import read_card  # these two need torch
    from pilotage.sweep.table import table_path

    recipe, data, _ = read_card(run)
    rows = {row.id: row for row in (parse_row(x, run) for x in read_lines(table_path(run)))}
    p_uncond = getattr(recipe, "p_uncond", None)
    conditional = bool(data.classes) and p_uncond != 1
    bounds = read_lines(run / "likelihood.jsonl")
    return Source(
        folder=run,
        label=label,
        card=(run / "recipe.yaml").read_text(encoding="utf-8"),
        classifies=recipe.objective == "classifier",
        classes=len(data.classes),
        dimensions=math.prod(data.shape),
        p_uncond=p_uncond,
        training=[line.content for line in by_step(read_lines(run / "metrics.jsonl"))],
        health=[line.content for line in by_step(read_lines(run / "health.jsonl"))],
        levels=[parse_levels(line) for line in by_step(read_lines(run / "noise_levels.jsonl"))],
        bounds=[parse_bound(line, label, conditional) for line in bounds],
        rows=list(rows.values()),
    )
