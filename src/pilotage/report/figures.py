"""Panels drawn by matplotlib: as SVG that follows the page's colours, and as PNG on white."""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

INK, MUTED, GRID, PAPER = "#1f2427", "#6a7178", "#e3e5e8", "#ffffff"
SERIES = ("#1f6fb4", "#c8501e", "#2c8a57", "#8a4fb0", "#b08a12", "#c23d6b", "#2b8f9e", "#6b6259")
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    **{colour: f"--series-{k}" for k, colour in enumerate(SERIES, 1)},
}
SIZE = (4.4, 3.3)

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pilotage",
    "text.parse_math": False,  # names of runs are not formulas
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 4,
    "lines.linewidth": 1.5,
    "lines.markersize": 4,
}


class Panel(NamedTuple):
    """One chart: its name, and how to draw it on matplotlib axes."""

    name: str
    draw: Callable[[Any], None]


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        yield


def svg(panel: Panel, prefix: str) -> str:
    """Inline SVG without outside names; ids begin with the prefix, colours are CSS variables."""
    from matplotlib.figure import Figure

    with _style():
        figure = Figure(figsize=SIZE, layout="constrained", facecolor="none")
        panel.draw(figure.subplots())
        return _inline(figure, prefix)


def legend_svg(panels: Sequence[Panel], prefix: str) -> str:
    """What the lines of these panels are, once for all; empty if there is but one."""
    from matplotlib.figure import Figure

    with _style():
        figure = Figure()
        axes = [figure.add_subplot() for _ in panels]
        for axis, panel in zip(axes, panels, strict=True):
            panel.draw(axis)
        entries = _entries(axes)
        if len(entries) < 2:
            return ""
        figure = Figure(figsize=(SIZE[0], 0.2 * len(entries) + 0.2), facecolor="none")
        figure.legend(entries.values(), entries, loc="upper left", fontsize=9)
        return _inline(figure, prefix)


def _entries(axes: Iterable[Any]) -> dict[str, Any]:
    """Handle by label, curves first."""
    from matplotlib.container import Container

    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    order = sorted(found, key=lambda label: not isinstance(found[label], Container))
    return {label: found[label] for label in order}


def _inline(figure: Any, prefix: str) -> str:
    """The drawing alone: no prologue, no namespaces, no fixed size."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)[0]
    body = body.replace("xlink:href", "href")
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = re.sub(r'(href="|url\()#', rf"\1#{prefix}-", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    return f'<svg {box} aria-hidden="true">{body}'


def save_png(panels: Sequence[Panel], path: Path, columns: int = 2) -> None:
    """All panels as one picture on white."""
    from matplotlib.figure import Figure

    from pilotage.utils.files import whole_file  # needs torch

    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    with _style(), whole_file(path) as temporary:
        size = (SIZE[0] * columns, SIZE[1] * rows)
        figure = Figure(figsize=size, dpi=150, layout="constrained", facecolor="white")
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        for axis, panel in zip(axes, panels, strict=False):
            panel.draw(axis)
        entries = _entries(axes[: len(panels)])
        if len(entries) > 1:
            names, wide = list(entries), 3 * columns // 2
            figure.legend(entries.values(), names, loc="outside lower center", ncols=wide)
        figure.savefig(temporary, format="png", metadata={"Software": None})


def legend_name(label: str) -> str:
    """Matplotlib keeps names that begin with an underscore out of legends."""
    return f" {label}" if label.startswith("_") else label


def log_ticks(side: Any) -> None:
    """Labels at 1, 2 and 5 of each decade, so that a short range has some too."""
    from matplotlib.ticker import LogLocator

    side.set_major_locator(LogLocator(subs=(1, 2, 5)))
    side.set_major_formatter(lambda value, _: f"{value:g}")
    side.set_minor_formatter(lambda *_: "")
