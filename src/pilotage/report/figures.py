"""Pictures: panels drawn by matplotlib, as SVG in the page's colours and as PNG; and samples."""

import base64
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pilotage.report.grouping import Curve
from pilotage.report.rows import Measure, Row

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#1f2427", "#6a7178", "#e3e5e8", "#ffffff"
SERIES = ("#1f6fb4", "#c8501e", "#2c8a57", "#8a4fb0", "#b08a12", "#c23d6b", "#2b8f9e", "#6b6259")
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    **{colour: f"--series-{k}" for k, colour in enumerate(SERIES, 1)},
}
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1, 1.5)))
MARKERS = ("o", "s", "^", "D")
SIZE = (4.4, 3.3)
SIGNATURE = b"\x89PNG\r\n\x1a\n"

STYLE: dict[Any, Any] = {  # matplotlib types the keys as a list of literals
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
    draw: "Callable[[Axes], None]"


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        yield


def _figure(**look: Any) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(**look)


def svg(panel: Panel, prefix: str) -> str:
    """Inline SVG without outside names; ids begin with the prefix, colours are CSS variables."""
    with _style():
        figure = _figure(figsize=SIZE, layout="constrained", facecolor="none")
        panel.draw(figure.subplots())
        return _inline(figure, prefix)


def legend_svg(panels: Sequence[Panel], prefix: str) -> str:
    """What the lines of these panels are, once for all; empty if there is but one."""
    with _style():
        scratch = _figure()
        axes = [scratch.add_subplot() for _ in panels]
        for axis, panel in zip(axes, panels, strict=True):
            panel.draw(axis)
        entries = _entries(axes)
        if len(entries) < 2:
            return ""
        figure = _figure(figsize=(SIZE[0], 0.2 * len(entries) + 0.2), facecolor="none")
        figure.legend(entries.values(), entries, loc="upper left", fontsize=9)
        return _inline(figure, prefix)


def _entries(axes: "Iterable[Axes]") -> "dict[str, Artist]":
    """Handle by label, curves first."""
    from matplotlib.container import Container

    found: dict[str, Artist] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    order = sorted(found, key=lambda label: not isinstance(found[label], Container))
    return {label: found[label] for label in order}


def _inline(figure: "Figure", prefix: str) -> str:
    """The drawing alone: no prologue, no namespaces, no fixed size."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    head, body = text.split(">", 1)
    box = " ".join(re.findall(r'viewBox="[^"]*"', head))
    body = body.replace("xlink:href", "href")
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = re.sub(r'(href="|url\()#', rf"\1#{prefix}-", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    return f'<svg {box} aria-hidden="true">{body}'


def save_png(panels: Sequence[Panel], path: Path, columns: int = 2) -> None:
    """All panels as one picture on white."""
    from pilotage.utils.files import whole_file  # needs torch

    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    with _style(), whole_file(path) as temporary:
        size = (SIZE[0] * columns, SIZE[1] * rows)
        figure = _figure(figsize=size, dpi=150, layout="constrained", facecolor="white")
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


def draw_measures(
    axis: "Axes", x: Sequence[float], y: Sequence[Measure], label: str, **look: Any
) -> None:
    """Draw measures over numbers, with a bar of one standard error."""
    bars = [measure.bar for measure in y]
    look.setdefault("elinewidth", 0.7)
    values = [measure.value for measure in y]
    axis.errorbar(x, values, yerr=bars, label=legend_name(label), **look)


def name_point(axis: "Axes", name: str, place: tuple[float, float], above: float) -> None:
    """Write a name at a point, so many typographic points above it."""
    offset: dict[str, Any] = {"xytext": (4, above), "textcoords": "offset points"}
    axis.annotate(name, place, **offset, fontsize=8, color=INK)


def log_if_wide(axis: "Axes", values: Iterable[float], ratio: float) -> None:
    """A logarithmic y axis if all values are positive, and of a wider range than that ratio."""
    values = [value for value in values if math.isfinite(value)]
    if values and min(values) > 0 and max(values) > ratio * min(values):
        log_y(axis)


def log_y(axis: "Axes") -> None:
    """A logarithmic y axis."""
    axis.set_yscale("log")
    log_ticks(axis.yaxis)


def log_ticks(side: "Axis") -> None:
    """Labels at 1, 2 and 5 of each decade, so that a short range has some too."""
    from matplotlib.ticker import LogLocator

    side.set_major_locator(LogLocator(subs=(1, 2, 5)))
    side.set_major_formatter(lambda value, _: f"{value:g}")
    side.set_minor_formatter(lambda *_: "")


class Strip(NamedTuple):
    """The first images of one row; no picture if its file is gone."""

    w: float
    picture: bytes | None

    @property
    def uri(self) -> str:
        """The picture, to be put into a page."""
        return "data:image/png;base64," + base64.b64encode(self.picture or b"").decode()


def captions_text(curve: Curve) -> str:
    """The captions of the pictures, in reading order; empty without any."""
    found = curve.rows[0].raw.get("first_captions")
    found = found if isinstance(found, list) else []
    said = "; ".join(f"{k}. {caption}" for k, caption in enumerate(found, 1))
    return f"Row by row they were asked for by: {said}" if said else ""


def strips(curve: Curve) -> list[Strip]:
    """In order of w; empty if the sweep kept no pictures."""
    return [Strip(row.w, _picture(row)) for row in curve.rows if row.raw.get("preview")]


def _picture(row: Row) -> bytes | None:
    """A PNG within the run folder: a table that came from elsewhere reaches no other file."""
    folder = row.folder.resolve()
    path = (folder / str(row.raw["preview"])).resolve()
    if not path.is_relative_to(folder) or not path.is_file():
        return None
    content = path.read_bytes()
    return content if content.startswith(SIGNATURE) else None


def save_strips(found: list[Strip], title: str, path: Path) -> None:
    """All strips below each other as one PNG."""
    from PIL import Image

    from pilotage.utils.files import whole_file  # needs torch

    shown = [(s.w, Image.open(io.BytesIO(s.picture)).convert("RGB")) for s in found if s.picture]
    width, height = shown[0][1].size
    strip, gap, top = 7 * height / width, 0.14, 0.4  # in inches
    total = (strip + gap) * len(shown) + top
    with whole_file(path) as temporary:
        figure = _figure(figsize=(8, total), dpi=150, facecolor="white")
        for k, (w, image) in enumerate(shown):
            bottom = total - top - strip - k * (strip + gap)
            axis = figure.add_axes((0.8 / 8, bottom / total, 7 / 8, strip / total))
            axis.imshow(image, interpolation="bicubic", aspect="auto")
            axis.set_axis_off()
            middle = (bottom + strip / 2) / total
            figure.text(0.7 / 8, middle, f"w = {w:g}", ha="right", va="center", fontsize=8)
        place: dict[str, Any] = {"ha": "left", "va": "center", "parse_math": False}
        figure.text(0.8 / 8, 1 - top / 2 / total, title, fontsize=9, **place)
        figure.savefig(temporary, format="png", metadata={"Software": None})
