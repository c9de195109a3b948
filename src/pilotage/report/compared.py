"""Models side by side, each sampled in one way or several: a table, a picture and a CSV."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from pilotage.report.csv import csv_text, flat_row
from pilotage.report.figures import INK, SERIES, Panel, legend_name, log_ticks, save_png
from pilotage.report.lines import Line as JsonLine
from pilotage.report.markdown import plain, table_markdown
from pilotage.report.names import MISSING, features_name, with_arrow
from pilotage.report.rows import UNKNOWN, Row, parse_row
from pilotage.report.tables import Line, Number, Table, best_value, digits_of, printed
from pilotage.report.variants import seeds_text

METRICS = ("frechet", "inception_score", "precision", "recall", "modes", "modes_kl")
FEW_DECADES = 30  # a time axis no longer than this also has labels within its decades
NOT_TOLD = ("seconds", "network_calls", "preview")  # of measuring, not of making the images


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
    row: Row
    calls: float | None = None
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
        models: of one yardstick.
        timing: how they were timed; empty if they were not.
    """

    title: str
    lead: str
    models: list[Compared]
    timing: str = ""


def read_row(raw: dict[str, Any]) -> Row:
    """A row as a sweep gives it, checked.

    Raises:
        PilotageError: naming run and field.
    """
    return parse_row(JsonLine(f"a row of {raw['run']}", raw), Path(raw["run"]))


def write_comparison(found: Comparison, stem: Path) -> list[Path]:
    """Write table, CSV and, where there are times, the picture.

    Args:
        found: what to write.
        stem: the files' path, to which ``.md``, ``.csv`` and ``.png`` are added.

    Returns:
        The files that were written.
    """
    from pilotage.utils.files import write_text  # needs torch

    picture = stem.with_name(f"{stem.name}.png") if found.timing else None
    parts = [f"# {plain(found.title)}", plain(found.lead), table_markdown(comparison_table(found))]
    parts += [f"![{plain(found.title)}](<{picture.name}>)"] if picture else []
    texts = {".md": "\n\n".join(parts) + "\n", ".csv": comparison_csv(found.models)}
    for suffix, text in texts.items():
        write_text(stem.with_name(stem.name + suffix), text)
    if picture:
        save_png(speed_panels(found.models), picture)
    written = [stem.with_name(stem.name + suffix) for suffix in texts]
    return written + ([picture] if picture else [])


def comparison_table(found: Comparison) -> Table:
    """A row per model and way of sampling; the best numbers of each column are marked."""
    rows = [model.row for model in found.models]
    metrics = [m for m in METRICS if any(m in row.metrics for row in rows)]
    digits, best = digits_of(metrics, rows), {m: best_value(rows, m) for m in metrics}
    slowest = _slowest(found.models)
    lines = []
    for model in found.models:
        measures = {m: model.row.metrics.get(m, UNKNOWN) for m in metrics}
        cells = [Number(f"{model.parameters / 1e6:.3g}"), Number(str(model.row.steps))]
        cells += _speed_cells(model, slowest) if slowest else []
        cells += [printed(x, digits[m], x.value == best[m]) for m, x in measures.items()]
        lines.append(Line(model.name, tuple((cell,) for cell in cells)))
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
        told = {"model": model.name, "parameters": model.parameters}
        if slowest:
            told["network_calls_per_image"] = model.calls
            told["seconds_per_100_images"] = model.time
            told["seconds_min"], told["seconds_max"] = min(model.seconds), max(model.seconds)
            told["times_fewer_calls"] = slowest.calls / model.calls
            told["times_faster"] = slowest.time / model.time
        row = flat_row(model.row.raw)
        rows.append(told | {k: value for k, value in row.items() if k not in NOT_TOLD})
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
        Number(_sampler(model.row)),
        Number(f"{model.calls:g}"),
        Number(f"{model.time:.3g}", f"({low:.3g} to {high:.3g})"),
        Number(f"{slowest.calls / model.calls:.3g}"),
        Number(f"{slowest.time / model.time:.3g}"),
    ]


def _sampler(row: Row) -> str:
    known = (("v", row.v), ("η", row.eta))
    said = [
        f"{k} = {x}" if isinstance(x, str) else f"{k} = {x:g}" for k, x in known if x is not None
    ]
    return f"{row.sampler}, {said[0]}" if said else str(row.sampler)


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

    def draw(axis: Any) -> None:
        kinds = list(dict.fromkeys(model.kind for model in models))
        for k, kind in enumerate(kinds):
            _draw_kind(axis, [m for m in models if m.kind == kind], metric, SERIES[k % len(SERIES)])
        axis.set(title=name, xlabel="seconds per 100 images ↓", ylabel=quality, xscale="log")
        if metric == "frechet" and all(_value(model, metric) > 0 for model in models):
            axis.set_yscale("log")
            log_ticks(axis.yaxis)
        axis.margins(0.12)
        times = [model.time for model in models]
        if max(times) < FEW_DECADES * min(times):
            log_ticks(axis.xaxis)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")

    return Panel(name, draw)


def _value(model: Compared, metric: str) -> float:
    return model.row.metrics.get(metric, UNKNOWN).value


def _draw_kind(axis: Any, models: Sequence[Compared], metric: str, colour: str) -> None:
    models = [model for model in models if math.isfinite(_value(model, metric))]
    if not models:
        return
    errors = [model.row.metrics[metric].error for model in models]
    times = [model.time for model in models]
    spread = [
        [model.time - min(model.seconds) for model in models],
        [max(model.seconds) - model.time for model in models],
    ]
    axis.errorbar(
        times,
        [_value(model, metric) for model in models],
        xerr=spread,
        yerr=[error if error > 0 else 0 for error in errors],
        color=colour,
        marker="o",
        elinewidth=0.7,
        label=legend_name(models[0].kind),
    )
    for model, time in zip(models, times, strict=True):
        offset = {"xytext": (4, 4), "textcoords": "offset points"}
        place = time, _value(model, metric)
        axis.annotate(f"{model.row.steps}", place, **offset, fontsize=8, color=INK)
