"""Progress bars with rate and ETA, for the commands."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
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
def training_bar(
    steps: int, shown: bool = True
) -> Iterator[tuple[Callable[[Any], None], Callable[[str], None]]]:
    """A bar over optimiser steps: ``advance(record)`` moves it, ``say(line)`` prints above it.

    The bar appears with the first step, so that an error before it stands alone.
    """
    progress = _progress(TextColumn("loss {task.fields[loss]:.4f}"))
    smooth = SmoothedLoss()

    def advance(record: Any) -> None:
        if not shown:
            return
        loss = smooth(record.loss)
        if not progress.tasks:
            progress.add_task("training", total=steps, completed=record.step, loss=loss)
            progress.start()
        progress.update(progress.task_ids[0], completed=record.step, loss=loss)

    try:
        yield advance, partial(progress.console.print, markup=False, highlight=False)
    finally:
        progress.stop()


class SmoothedLoss:
    """The loss with the flicker taken out, for display only."""

    def __init__(self) -> None:
        self._mean: float | None = None

    def __call__(self, loss: float) -> float:
        """The running mean after one more loss."""
        self._mean = loss if self._mean is None else 0.98 * self._mean + 0.02 * loss
        return self._mean


@contextmanager
def sampling_bar(steps: int, shown: bool = True) -> Iterator[Callable[[], None]]:
    """A bar over sampling steps; call what it yields after each."""
    with sweep_bar(shown) as bar:
        bar.start(steps)
        yield bar.advance


class SweepBar:
    """A bar over the sampling steps of a whole grid, whose length is told once it is known."""

    def __init__(self, progress: Progress, shown: bool) -> None:
        self._progress = progress
        self._task = progress.add_task("sampling", total=None, visible=shown)
        self.say = partial(progress.console.print, markup=False, highlight=False)

    def start(self, steps: int) -> None:
        """Tell the number of steps."""
        self._progress.update(self._task, total=steps)

    def advance(self) -> None:
        """One step is done."""
        self._progress.advance(self._task)


@contextmanager
def sweep_bar(shown: bool = True) -> Iterator[SweepBar]:
    """A :class:`SweepBar` while the work lasts."""
    with _progress() as progress:
        yield SweepBar(progress, shown)


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
