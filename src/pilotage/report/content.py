"""What a report consists of: blocks of text, tables, charts, images; how they look is elsewhere."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from pilotage.report.words import measure_text
from pilotage.sweep.rows import Measure


class Number(NamedTuple):
    """A number as it is printed."""

    text: str
    error: str = ""
    best: bool = False


def printed(measure: Measure, digits: int, best: bool = False) -> Number:
    """A number with its standard error, if that is known."""
    error = f"±{measure.error:.{digits}f}" if math.isfinite(measure.error) else ""
    return Number(measure_text(Measure(measure.value), digits), error, best)


class Line(NamedTuple):
    """A row of a table: numbers per column; its kind is row, floor, images or title (none)."""

    head: str
    cells: Sequence[Sequence[Number]] = ()
    kind: str = "row"


class Table(NamedTuple):
    """A table; ``spans`` are (name, columns) of a heading above the columns, if any."""

    caption: str
    corner: str
    columns: Sequence[str]
    lines: Sequence[Line]
    spans: Sequence[tuple[str, int]] = ()

    @property
    def width(self) -> int:
        """Numbers in a cell."""
        return max((len(cell) for line in self.lines for cell in line.cells), default=1)

    @property
    def names(self) -> list[str]:
        """The columns, each after what stands above it."""
        above = [f"{name}, " for name, count in self.spans for _ in range(count)]
        return (
            [a + name for a, name in zip(above, self.columns, strict=True)]
            if above
            else [*self.columns]
        )


class Dot(NamedTuple):
    """A point with bars (up and down; to the left and right), a label, and a text on hovering."""

    x: float
    y: float
    bar: float = 0.0
    x_bars: tuple[float, float] = (0.0, 0.0)
    label: str = ""
    tip: str = ""


class Series(NamedTuple):
    """Points in order; colour, dash and marker are numbers, no marker is negative.

    What is faint lies without markers behind a smoothed line, and not in the legend.
    """

    name: str
    dots: Sequence[Dot]
    colour: int = 0
    dash: int = 0
    marker: int = 0
    hollow: bool = False
    faint: bool = False


class Rule(NamedTuple):
    """A line across the chart at a number: horizontal, unless it is vertical."""

    name: str
    at: float
    dash: int = 1
    vertical: bool = False


class Chart(NamedTuple):
    """Series over numbers; ``ticks`` are (place, text) on the x axis, if not the usual ones."""

    title: str
    x: str
    y: str
    series: Sequence[Series]
    rules: Sequence[Rule] = ()
    log_x: bool = False
    log_y: bool = False
    ticks: Sequence[tuple[float, str]] = ()

    @property
    def values(self) -> list[float]:
        """All y of the points, or 0 if there are none."""
        return [dot.y for series in self.series for dot in series.dots] or [0.0]

    def log_if(self, ratio: float) -> "Chart":
        """The chart with a logarithmic y axis if the largest y is that many times the smallest."""
        return self._replace(log_y=0 < ratio * min(self.values) < max(self.values))


class Block(NamedTuple):
    """A part of a report.

    Attributes:
        kind: section (value: blocks), folded (the same, to be opened), text or note, items or facts
            ((name, text) pairs), cards, table, charts, seeds ((name, PNG or None) pairs), code.
        caption: below it.
        picture: the name of the file that stands for charts or seeds in Markdown; empty for none.
        columns: names of the columns of images, from left to right.
    """

    kind: str
    value: Any
    title: str = ""
    caption: str = ""
    picture: str = ""
    columns: Sequence[str] = ()

    def walk(self) -> "Iterator[Block]":
        """The block and all within."""
        yield self
        for block in self.value if self.kind in ("section", "folded") else ():
            yield from block.walk()


def section(title: str, *blocks: Block | None, kind: str = "section") -> Block | None:
    """A section of the blocks that there are; None if there are none."""
    found = [block for block in blocks if block is not None]
    return Block(kind, found, title) if found else None


def table(found: Table | None) -> Block | None:
    """A table, if there is one."""
    return Block("table", found, caption=found.caption) if found else None


def charts(picture: str, found: Iterable[Chart], title: str, caption: str = "") -> Block | None:
    """Charts side by side with one legend, if there are any."""
    shown = list(found)
    return Block("charts", shown, title, caption, picture) if shown else None
