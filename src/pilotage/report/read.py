"""What a report reads of each run: its card, logs, noise levels, likelihoods and sweep."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pilotage.errors import PilotageError
from pilotage.sweep.rows import Bound, Levels, LogLine, Row, read_records
from pilotage.sweep.table import table_path

L = TypeVar("L", bound=LogLine)


class Source(NamedTuple):
    """A run folder, read.

    Attributes:
        label: what the report calls it.
        card: its recipe.yaml, as text.
        recipe: the settings of the training, ``data`` the facts of its data.
        training: the lines of metrics.jsonl, one per step; so are ``health`` and ``levels``.
        rows: its sweep table, each id once: the last one counts.
    """

    folder: Path
    label: str
    card: str
    recipe: Any
    data: Any
    training: list[dict[str, Any]]
    health: list[dict[str, Any]]
    levels: list[Levels]
    bounds: list[Bound]
    rows: list[Row]

    @property
    def classifies(self) -> bool:
        """Whether it is a noisy classifier's."""
        return bool(self.recipe.objective == "classifier")


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """The run folders among these, and the runs in those that are a study's.

    Raises:
        PilotageError: for no folder, or a run given twice.
    """
    if not folders:
        raise PilotageError("runs is empty: a report needs at least one run folder.")
    runs: list[Path] = []
    for folder in map(Path, folders):
        single = (folder / "recipe.yaml").exists()
        within = [] if single else sorted(path.parent for path in folder.glob("*/recipe.yaml"))
        runs += within or [folder]
    for k, run in enumerate(runs):
        if run.resolve() in [other.resolve() for other in runs[:k]]:
            raise PilotageError(f"runs has {run} twice: each run once is enough.")
    return runs


def read_sources(folders: Sequence[Path]) -> list[Source]:
    """All runs of a report.

    Raises:
        PilotageError: as :func:`find_runs`, or for a file that is missing or damaged.
    """
    runs = find_runs(folders)
    names = [run.resolve().name for run in runs]
    labels = [n if names.count(n) == 1 else str(run) for n, run in zip(names, runs, strict=True)]
    return [_read(run, label) for run, label in zip(runs, labels, strict=True)]


def _read(run: Path, label: str) -> Source:
    from pilotage.models.run_folder import read_card  # needs torch

    recipe, data, _ = read_card(run)
    rate = getattr(recipe, "p_uncond", None)
    bounds = read_records(run / "likelihood.jsonl", Bound)
    if rate == 1 or not data.classes:  # no class was ever given
        bounds = [bound.model_copy(update={"unconditional": True}) for bound in bounds]
    rows = {row.id: row for row in read_records(table_path(run), Row)}
    for row in rows.values():
        if getattr(row, "p_uncond", 0) is None:  # as in rows of the first version
            rows[row.id] = row.model_copy(update={"p_uncond": rate})
    return Source(
        folder=run,
        label=label,
        card=(run / "recipe.yaml").read_text(encoding="utf-8"),
        recipe=recipe,
        data=data,
        training=[line.line() for line in _by_step(run / "metrics.jsonl", LogLine)],
        health=[line.line() for line in _by_step(run / "health.jsonl", LogLine)],
        levels=_by_step(run / "noise_levels.jsonl", Levels),
        bounds=bounds,
        rows=list(rows.values()),
    )


def _by_step(path: Path, kind: type[L]) -> list[L]:
    """In order of their steps; of one step the last."""
    lines = {line.step: line for line in read_records(path, kind)}
    return [lines[step] for step in sorted(lines)]
