"""What a report reads of each run: its card, logs, noise levels, likelihoods and sweep."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pilotage.errors import PilotageError
from pilotage.report.lines import Line, by_step, read_lines
from pilotage.report.rows import Measure, Row, parse_row

PARTS = ("bits_per_dimension", "prior", "reconstruction", "diffusion")
WEIGHTS = ("ema", "model")


class Level(NamedTuple):
    """A classifier at one noise level, as training measured it."""

    u: float
    lam: float
    accuracy: float
    confidence: float
    calibration_error: float
    log_loss: float


class Levels(NamedTuple):
    """A line of ``noise_levels.jsonl``: all noise levels at a step.

    Attributes:
        step: of the training.
        images: which these were measured on.
        levels: in the order of the file.
    """

    step: int
    images: str
    levels: tuple[Level, ...]


class Bound(NamedTuple):
    """A line of ``likelihood.jsonl``: bits per dimension of held-out images, and what decides them.

    Attributes:
        run: what the report calls it.
        unconditional: whether no class was given, if only because the model knows none.
        v: the variance fraction, None if it is the model's own.
        n: how many images.
        steps: T of the bound, inf for continuous time.
        evaluations: network calls per image for the diffusion term; T where that is less.
        measures: by the names of ``PARTS``.
        codecs: bits per dimension of lossless codecs, by name.
        raw: everything that the line holds.
    """

    run: str
    unconditional: bool
    weights: str
    v: float | None
    n: int
    hash: str
    steps: float
    evaluations: int
    seed: int
    training_step: int
    data: str
    measures: dict[str, Measure]
    codecs: dict[str, float]
    raw: dict[str, Any]

    @property
    def key(self) -> tuple[Any, ...]:
        """What decides the numbers."""
        return self[: self._fields.index("data")]

    @property
    def total(self) -> Measure:
        """All parts together."""
        return self.measures["bits_per_dimension"]


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
        levels=[_levels(line) for line in by_step(read_lines(run / "noise_levels.jsonl"))],
        bounds=[_bound(line, label, conditional) for line in bounds],
        rows=list(rows.values()),
    )


def _levels(line: Line) -> Levels:
    parts = line.parts("levels")
    if not parts:
        raise PilotageError(f"{line.where}: levels is empty.")
    levels = tuple(Level(*(part.number(name) for name in Level._fields)) for part in parts)
    return Levels(line.count("step"), line.text("images"), levels)


def _bound(line: Line, run: str, conditional: bool) -> Bound:
    """A likelihood of a run; ``conditional`` if its model was ever given a class."""
    data = line.part("data")
    steps, evaluations = _steps(line), line.count("evaluations")
    chain = "timesteps" in line.content  # all steps of a beta schedule are evaluated
    return Bound(
        run=run,
        unconditional=line.need("unconditional", bool) or not conditional,
        weights=line.choice("weights", WEIGHTS),
        v=line.number_or_null("v"),
        n=line.count("n"),
        hash=data.text("hash"),
        steps=steps,
        evaluations=int(steps) if chain or steps < evaluations else evaluations,
        seed=line.count("seed"),
        training_step=line.count("training_step"),
        data=str(data.content.get("data", "")),
        measures={part: Measure(*line.pair(part)) for part in PARTS},
        codecs=_codecs(line),
        raw=line.content,
    )


def _steps(line: Line) -> float:
    if line.content.get("steps") == "inf" and "timesteps" not in line.content:
        return math.inf
    steps = line.count("steps")
    if steps < 1:
        raise PilotageError(f"{line.where}: steps is {steps}, which it cannot be.")
    return steps


def _codecs(line: Line) -> dict[str, float]:
    codecs = line.part("codecs") if line.has("codecs") else Line(line.where, {})
    return {name: codecs.number(name) for name in codecs.content}
