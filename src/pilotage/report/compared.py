"""Models side by side, each sampled in one way or several: a table, a picture and a CSV."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from pilotage.errors import PilotageError
from pilotage.report.figures import (
    SERIES,
    Panel,
    draw_measures,
    log_ticks,
    log_y,
    name_point,
    save_png,
)
from pilotage.report.lines import Line as JsonLine
from pilotage.report.markdown import plain, table_markdown
from pilotage.report.names import MISSING, features_name, with_arrow
from pilotage.report.rows import SampleRow, parse_row
from pilotage.report.tables import Line, Number, Table, best_value, digits_of, printed
from pilotage.report.variants import sampler_words, seeds_text
from pilotage.report.write import csv_text, flat_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS = ("frechet", "inception_score", "precision", "recall", "modes", "modes_kl")
FEW_DECADES = 30  # a time axis no longer than this also has labels within its decades
OF_MEASURING = ("seconds", "network_calls", "preview")  # and not of making the images


class Compared(NamedTuple):
    """A model, sampled in one way and measured.

    Attributes:
        name: of the model.
        kind: what models and ways of sampling are drawn as one line with it.
        parameters: numbers in the network that makes the images.
        row: what was measured of them.
        calls: of that network, per image, if they were timed.
        seconds: for 100 images, in every round, if they were timed.
    """

    name: str
    kind: str
    parameters: int
    row: SampleRow
    calls: float = math.nan
    seconds: tuple[float, ...] = ()

    @property
    def time(self) -> float:
        """The median of the seconds."""
        return median(self.seconds)


class Comparison(NamedTuple):
    """What is written about several models.

    Attributes:
        title: heads it.
        lead: says what is compared.
        models: measured by the same extractor against the same images.
        timing: how they were timed; empty if they were not.
    """

    title: str
    lead: str
    models: list[Compared]
    timing: str = ""


def read_row(raw: dict[str, Any]) -> SampleRow:
    """A row of samples as a sweep gives it, checked.

    Raises:
        PilotageError: naming run and field.
    """
    line = JsonLine(f"a row of {raw['run']}", raw)
    row = parse_row(line, Path(raw["run"]))
    if not isinstance(row, SampleRow):
        raise PilotageError(f"{line.where}: kind is {row.kind!r}, not sample.")
    return row


def write_comparison(found: Comparison, stem: Path) -> list[Path]:
    """Write table, CSV and, where there are times, the picture.

    Args:
        found: what to write.
        stem: the files' path, to which ``.md``, ``.csv`` and ``.png`` are added.

    Returns:
        The files that were written.
    """
    from pilotage.utils.files import write_text  # needs torch

    table, data, picture = (stem.with_name(stem.name + end) for end in (".md", ".csv", ".png"))
    parts = [f"# {plain(found.title)}", plain(found.lead), table_markdown(comparison_table(found))]
    parts += [f"![{plain(found.title)}](<{picture.name}>)"] if found.timing else []
    write_text(table, "\n\n".join(parts) + "\n")
    write_text(data, comparison_csv(found.models))
    if not found.timing:
        return [table, data]
    save_png(speed_panels(found.models), picture)
    return [table, data, picture]


def comparison_table(found: Comparison) -> Table:
    """A row per model and way of sampling; the best numbers of each column are marked."""
    rows = [model.row for model in found.models]
    metrics = [m for m in METRICS if any(m in row.metrics for row in rows)]
    digits, best = digits_of(metrics, rows), {m: best_value(rows, m) for m in metrics}
    slowest = _slowest(found.models)
    lines = []
    for model in found.models:
        cells = [Number(f"{model.parameters / 1e6:.3g}"), Number(str(model.row.steps))]
        cells += _speed_cells(model, slowest) if slowest else []
        measures = {m: model.row.measure(m) for m in metrics}
        cells += [printed(x, digits[m], x.value == best[m]) for m, x in measures.items()]
        lines.append(Line.of(model.name, cells))
    columns = ["parameters (M)", "steps T"]
    if slowest:
        columns += ["sampler", "network calls per image ↓", "seconds per 100 images ↓"]
        columns += [f"times fewer calls than {slowest.name}, T = {slowest.row.steps}"]
        columns += ["times faster"]
    columns += [with_arrow(m, rows[0].extractor) for m in metrics]
    return Table(_caption(found), "model", tuple(columns), tuple(lines))


def comparison_csv(models: Sequence[Compared]) -> str:
    """The same, numbers unrounded, with all that decides them."""
    slowest = _slowest(models)
    rows = []
    for model in models:
        own: dict[str, Any] = {"model": model.name, "parameters": model.parameters}
        if slowest:
            own["network_calls_per_image"] = model.calls
            own["seconds_per_100_images"] = model.time
            own["seconds_min"], own["seconds_max"] = min(model.seconds), max(model.seconds)
            own["times_fewer_calls"] = slowest.calls / model.calls
            own["times_faster"] = slowest.time / model.time
        row = flat_row(model.row.raw)
        rows.append(own | {k: value for k, value in row.items() if k not in OF_MEASURING})
    return csv_text([name for row in rows for name in row], rows)


def speed_panels(models: Sequence[Compared]) -> list[Panel]:
    """Quality and diversity against time, as in Figure 1 of 2112.07804."""
    return [_panel(models, metric) for metric in ("frechet", "recall")]


def _slowest(models: Sequence[Compared]) -> Compared | None:
    """The model of most calls, that the others are compared with; None without times."""
    timed = [model for model in models if model.seconds]
    return max(timed, key=lambda model: model.calls, default=None)


def _speed_cells(model: Compared, slowest: Compared) -> list[Number]:
    low, high = min(model.seconds), max(model.seconds)
    return [
        Number(", ".join(sampler_words(model.row.sampler))),
        Number(f"{model.calls:g}"),
        Number(f"{model.time:.3g}", f"({low:.3g} to {high:.3g})"),
        Number(f"{slowest.calls / model.calls:.3g}"),
        Number(f"{slowest.time / model.time:.3g}"),
    ]


def _caption(found: Comparison) -> str:
    row = found.models[0].row
    ref = row.reference
    said = (
        f"{features_name(row.extractor)} features, against {ref.get('n', MISSING)} images "
        f"({ref.get('data', MISSING)}, {ref.get('split', MISSING)}); n = {row.n} images per row, "
        f"{seeds_text(row.raw.get('seeds') or ())}. ± is one standard error."
    )
    return f"{said} {found.timing}".strip()


def _panel(models: Sequence[Compared], metric: str) -> Panel:
    quality = with_arrow(metric, models[0].row.extractor)
    name = f"{quality.rstrip(' ↑↓')} against time"

    def draw(axis: "Axes") -> None:
        kinds = list(dict.fromkeys(model.kind for model in models))
        for k, kind in enumerate(kinds):
            _draw_kind(axis, [m for m in models if m.kind == kind], metric, SERIES[k % len(SERIES)])
        axis.set(title=name, xlabel="seconds per 100 images ↓", ylabel=quality, xscale="log")
        if metric == "frechet" and all(model.row.measure(metric).value > 0 for model in models):
            log_y(axis)
        axis.margins(0.12)
        times = [model.time for model in models]
        if max(times) < FEW_DECADES * min(times):
            log_ticks(axis.xaxis)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")

    return Panel(name, draw)


def _draw_kind(axis: "Axes", models: Sequence[Compared], metric: str, colour: str) -> None:
    models = [model for model in models if math.isfinite(model.row.measure(metric).value)]
    if not models:
        return
    times, measures = [m.time for m in models], [m.row.measure(metric) for m in models]
    spread = [
        [model.time - min(model.seconds) for model in models],
        [max(model.seconds) - model.time for model in models],
    ]
    look = {"xerr": spread, "color": colour, "marker": "o"}
    draw_measures(axis, times, measures, models[0].kind, **look)
    for model, time, measure in zip(models, times, measures, strict=True):
        name_point(axis, str(model.row.steps), (time, measure.value), 4)
