"""Charts and images drawn by matplotlib: SVG in the colours of the page, and PNG."""

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pilotage.report.content import Block, Chart, Dot, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#1f2427", "#6a7178", "#e3e5e8", "#ffffff"
SERIES = ("#1f6fb4", "#c8501e", "#2c8a57", "#8a4fb0", "#b08a12", "#c23d6b", "#2b8f9e", "#6b6259")
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper"}
VARIABLES |= {colour: f"series-{k}" for k, colour in enumerate(SERIES, 1)}
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 1.5, 1, 1.5)))
MARKERS = ("o", "s", "^", "D", "*")
SIZE = (4.4, 3.3)  # inches of a chart
ROOM = (18, 9)  # points that a label keeps clear, in x and y
MOST = 60  # points of a line without markers that can be pointed at


@contextmanager
def _figure(**look: Any) -> "Iterator[Figure]":
    from matplotlib import rcParams, style
    from matplotlib.figure import Figure

    from pilotage.utils.drawing import fallback_fonts  # needs torch

    with style.context(str(Path(__file__).with_name("page.mplstyle"))):
        rcParams["font.family"] = [*rcParams["font.family"], *fallback_fonts()]
        yield Figure(**look)


def draw(axis: "Axes", chart: Chart) -> None:
    """A chart on matplotlib's axes; labels stand at ends of series, then where there is room."""
    from matplotlib.ticker import LogLocator

    for series in chart.series:
        _plot(axis, series)
    for rule in chart.rules:
        line, dash = axis.axvline if rule.vertical else axis.axhline, DASHES[rule.dash]
        line(rule.at, color=MUTED, linewidth=1, linestyle=dash, label=_name(rule.name))
    axis.set(title=chart.title, xlabel=chart.x, ylabel=chart.y)
    for side, log in ((axis.xaxis, chart.log_x), (axis.yaxis, chart.log_y)):
        if log:  # with labels at 1, 2 and 5 of each decade, so that a short range has some too
            (axis.set_xscale if side is axis.xaxis else axis.set_yscale)("log")
            low, high = side.get_data_interval()
            side.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
            side.set_major_formatter(lambda value, _: f"{value:g}")
            side.set_minor_formatter(lambda *_: "")
    if chart.ticks:
        axis.set_xticks([at for at, _ in chart.ticks], [text for _, text in chart.ticks])
        axis.set_xticks([], minor=True)
    axis.autoscale_view()
    named = [[dot for dot in series.dots if dot.label] for series in chart.series]
    ends = [dot for dots in named for dot in dots[:1] + dots[1:][-1:]]
    taken: list[tuple[float, float]] = []
    for dot in ends + [dot for dots in named for dot in dots[1:-1]]:
        x, y = _place(axis, dot)
        if not any(abs(x - a) < ROOM[0] and abs(y - b) < ROOM[1] for a, b in taken):
            taken.append((x, y))
            look: dict[str, Any] = {"xytext": (4, 3), "textcoords": "offset points"}
            axis.annotate(dot.label, (dot.x, dot.y), fontsize=8, color=INK, **look)


def _plot(axis: "Axes", series: Series) -> None:
    x, y = [dot.x for dot in series.dots], [dot.y for dot in series.dots]
    look: dict[str, Any] = {"color": SERIES[series.colour % len(SERIES)]}
    if series.faint:
        axis.plot(x, y, **look, linewidth=0.6, alpha=0.25)
        return
    look |= {"markerfacecolor": PAPER, "markersize": 5} if series.hollow else {}
    look["marker"] = MARKERS[series.marker % len(MARKERS)] if series.marker >= 0 else None
    if any(bar for dot in series.dots for bar in (dot.bar, *dot.x_bars)):
        look["yerr"] = [dot.bar for dot in series.dots]
        look["xerr"] = list(zip(*(dot.x_bars for dot in series.dots), strict=True))
    look |= {"linestyle": DASHES[series.dash % len(DASHES)], "label": _name(series.name)}
    axis.errorbar(x, y, elinewidth=0.8, **look)


def _name(label: str) -> str:
    """Matplotlib keeps names that begin with an underscore out of legends."""
    return f" {label}" if label.startswith("_") else label


def _place(axis: "Axes", dot: Dot) -> tuple[float, float]:
    """Where a point is, in typographic points from the lower left."""
    x, y = axis.transData.transform((dot.x, dot.y)) * 72 / axis.figure.dpi
    return float(x), float(y)


def svg(chart: Chart, prefix: str) -> str:
    """Inline SVG without outside names: ids begin with the prefix, colours are CSS variables.

    Over each point lies a circle with a title, which is what it shows when it is pointed at.
    """
    with _figure(figsize=SIZE, layout="constrained", facecolor="none") as figure:
        axis = figure.subplots()
        draw(axis, chart)
        text, circles = _inline(figure, prefix), []
        for series in chart.series:
            step = 1 if series.marker >= 0 else len(series.dots) // MOST + 1
            for dot in () if series.faint else series.dots[::step]:
                x, y = _place(axis, dot)
                title = f"<title>{escape(dot.tip)}</title>"
                circles.append(
                    f'<circle cx="{x:.1f}" cy="{SIZE[1] * 72 - y:.1f}" r="7">{title}</circle>'
                )
    return text.replace("</svg>", f'<g class="tips">{"".join(circles)}</g></svg>')


def legend_svg(found: Sequence[Chart], prefix: str) -> str:
    """What the lines of these charts are, once for all; empty if there is but one."""
    with _figure() as scratch:
        entries = _entries(scratch, found)
        if len(entries) < 2:
            return ""
    with _figure(figsize=(SIZE[0], 0.2 * len(entries) + 0.2), facecolor="none") as figure:
        figure.legend(entries.values(), list(entries), loc="upper left", fontsize=9)
        return _inline(figure, prefix)


def _entries(figure: "Figure", found: Sequence[Chart], columns: int = 1) -> dict[str, Any]:
    """Draw the charts; the handle of each name, curves first."""
    grid = figure.subplots(-(-len(found) // columns), columns, squeeze=False)
    handles: dict[str, Any] = {}
    for axis in list(grid.flat)[len(found) :]:
        axis.set_axis_off()
    for axis, chart in zip(grid.flat, found, strict=False):
        draw(axis, chart)
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    rules = {_name(rule.name) for chart in found for rule in chart.rules}
    return {label: handles[label] for label in sorted(handles, key=lambda name: name in rules)}


def _inline(figure: "Figure", prefix: str) -> str:
    """The drawing alone: no prologue, no namespaces, no fixed size."""
    from pilotage.utils.drawing import make_drawable  # needs torch

    make_drawable(figure)
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
    )
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    head, body = text.split(">", 1)
    body = re.sub(r'\bid="', f'id="{prefix}-', body.replace("xlink:href", "href"))
    body = re.sub(r'(href="|url\()#', rf"\1#{prefix}-", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    box = " ".join(re.findall(r'viewBox="[^"]*"', head))
    return f'<svg {box} aria-hidden="true">{body}'


def save(block: Block, path: Path) -> None:
    """The charts or images of a block as one PNG on white."""
    from pilotage.utils.drawing import make_drawable
    from pilotage.utils.files import whole_file  # needs torch

    drawn = charts_figure(block.value) if block.kind == "charts" else seeds_figure(block)
    with drawn as figure, whole_file(path) as temporary:
        make_drawable(figure)
        figure.savefig(temporary, format="png", metadata={"Software": None})


@contextmanager
def charts_figure(found: Sequence[Chart]) -> "Iterator[Figure]":
    """All charts in one figure, with one legend below."""
    columns = min(3 if len(found) > 4 else 2, len(found))
    size = (SIZE[0] * columns, SIZE[1] * math.ceil(len(found) / columns))
    with _figure(figsize=size, dpi=150, layout="constrained", facecolor="white") as figure:
        entries = _entries(figure, found, columns)
        if len(entries) > 1:
            place: dict[str, Any] = {"loc": "outside lower center", "ncols": 3 * columns // 2}
            figure.legend(entries.values(), list(entries), **place)
        yield figure


@contextmanager
def seeds_figure(block: Block) -> "Iterator[Figure]":
    """All strips of images below each other, each next to its w, under the names of the columns."""
    from PIL import Image

    shown = [(name, Image.open(io.BytesIO(image))) for name, image in block.value if image]
    strip = 7 * shown[0][1].height / shown[0][1].width  # in inches, as all lengths
    gap, top = 0.14, 0.6
    total = (strip + gap) * len(shown) + top
    with _figure(figsize=(8, total), dpi=150, facecolor="white") as figure:
        for k, (name, image) in enumerate(shown):
            bottom = total - top - strip - k * (strip + gap)
            axis = figure.add_axes((0.8 / 8, bottom / total, 7 / 8, strip / total))
            axis.imshow(image.convert("RGB"), interpolation="bicubic", aspect="auto")
            axis.set_axis_off()
            figure.text(0.7 / 8, (bottom + strip / 2) / total, name, ha="right", va="center")
        for k, name in enumerate(block.columns):
            x = (0.8 + 7 * (k + 0.5) / len(block.columns)) / 8
            figure.text(x, 1 - 0.5 / total, name[:12], ha="center", va="center", fontsize=7)
        figure.text(0.8 / 8, 1 - 0.2 / total, block.title, va="center")
        yield figure
