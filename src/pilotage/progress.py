"""Progress bars with rate and ETA, for the commands."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Rate(ProgressColumn):
    """Steps per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:.1f}/s")


@contextmanager
def training_bar(steps: int) -> Iterator[tuple[Callable[[Any], None], Callable[[str], None]]]:
    """A bar over optimiser steps: ``advance(record)`` moves it, ``say(line)`` prints above it."""
    with _progress(TextColumn("loss {task.fields[loss]:.4f}")) as progress:
        task = progress.add_task("training", total=steps, loss=float("nan"))
        shown = 0.0

        def advance(record: Any) -> None:
            nonlocal shown
            shown = record.loss if not shown else 0.98 * shown + 0.02 * record.loss
            progress.update(task, completed=record.step, loss=shown)

        yield advance, progress.console.print


@contextmanager
def sampling_bar(steps: int, shown: bool = True) -> Iterator[Callable[[], None]]:
    """A bar over sampling steps; call what it yields after each."""
    with _progress() as progress:
        task = progress.add_task("sampling", total=steps, visible=shown)
        yield lambda: progress.advance(task)


def _progress(*more: ProgressColumn) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        *more,
        console=Console(stderr=True, soft_wrap=True),
    )
