"""Models side by side, each sampled in one way or several: a table, a picture and a CSV."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from pilotage.report.content import (
    Block,
    Chart,
    Dot,
    Line,
    Number,
    Series,
    Table,
    charts,
    printed,
    section,
    table,
)
from pilotage.report.sweeps import best_values
from pilotage.report.words import (
    MISSING,
    digits_of,
    facts_of,
    features_name,
    seeds_text,
    with_arrow,
)
from pilotage.report.write import csv_text, flat_row, markdown, save_pictures
from pilotage.sweep.rows import SampleRow

METRICS = ("frechet", "inception_score", "precision", "recall", "modes", "modes_kl")
OF_MEASURING = ("seconds", "network_calls", "preview")  # and not of making the images


class Compared(NamedTuple):
    """A model, sampled in one way and measured.

    Attributes:
        name: of the model.
        kind: models and ways of sampling of one kind are drawn as one line.
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
    """What is written about several models, all measured against the same images.

    Attributes:
        title: heads it.
        lead: says what is compared.
        models: measured by the same extractor.
        timing: how they were timed; empty if they were not.
    """

    title: str
    lead: str
    models: list[Compared]
    timing: str = ""


def write_comparison(found: Comparison, stem: Path) -> list[Path]:
    """Write table (``.md``), CSV and, where there are times, the picture; the files, in this order.

    Args:
        found: what to write.
        stem: the files' path without its ending.
    """
    from pilotage.utils.files import write_text  # needs torch

    shown = section(
        found.title,
        Block("text", found.lead),
        table(comparison_table(found)),
        charts("", speed_charts(found.models), found.title) if found.timing else None,
    )
    blocks = [shown] if shown else []
    pictures = save_pictures(blocks, stem)
    text, data = (stem.with_name(stem.name + end) for end in (".md", ".csv"))
    write_text(text, markdown(blocks, {name: path.name for name, path in pictures.items()}))
    write_text(data, comparison_csv(found.models))
    return [text, data, *pictures.values()]


def comparison_table(found: Comparison) -> Table:
    """A row per model and way of sampling; the best numbers of each column are marked."""
    rows = [model.row for model in found.models]
    metrics = [m for m in METRICS if any(m in row.metrics for row in rows)]
    digits, best, slowest = digits_of(metrics, rows), best_values(rows, metrics), _slowest(found.models)
    lines = []
    for model in found.models:
        cells = [Number(f"{model.parameters / 1e6:.3g}"), Number(str(model.row.steps))]
        cells += _speed_cells(model, slowest) if slowest else []
        cells += [printed(x := model.row.measure(m), digits[m], x.value == best[m]) for m in metrics]
        lines.append(Line(model.name, [(cell,) for cell in cells]))
    columns = ["parameters (M)", "steps T"]
    if slowest:
        columns += ["sampler", "network calls per image ↓", "seconds per 100 images ↓"]
        columns += [f"times fewer calls than {slowest.name}, T = {slowest.row.steps}"]
        columns += ["times faster"]
    columns += [with_arrow(m, rows[0].extractor) for m in metrics]
    return Table(_caption(found), "model", columns, lines)


def comparison_csv(models: Sequence[Compared]) -> str:
    """The same, numbers unrounded, with all that decides them."""
    slowest, rows = _slowest(models), []
    for model in models:
        own: dict[str, Any] = {"model": model.name, "parameters": model.parameters}
        if slowest:
            own["network_calls_per_image"] = model.calls
            own["seconds_per_100_images"] = model.time
            own["seconds_min"], own["seconds_max"] = min(model.seconds), max(model.seconds)
            own["times_fewer_calls"] = slowest.calls / model.calls
            own["times_faster"] = slowest.time / model.time
        row = flat_row(model.row)
        rows.append(own | {k: value for k, value in row.items() if k not in OF_MEASURING})
    return csv_text(rows)


def speed_charts(models: Sequence[Compared]) -> list[Chart]:
    """Quality and diversity against time, as in Figure 1 of 2112.07804."""
    return [_chart(models, metric) for metric in ("frechet", "recall")]


def _slowest(models: Sequence[Compared]) -> Compared | None:
    """The model of most calls, that the others are compared with; None without times."""
    timed = [model for model in models if model.seconds]
    return max(timed, key=lambda model: model.calls, default=None)


def _speed_cells(model: Compared, slowest: Compared) -> list[Number]:
    facts, low, high = facts_of(model.row), min(model.seconds), max(model.seconds)
    return [
        Number(", ".join(facts[key] for key in ("sampler", "v", "eta") if key in facts)),
        Number(f"{model.calls:g}"),
        Number(f"{model.time:.3g}", f"({low:.3g} to {high:.3g})"),
        Number(f"{slowest.calls / model.calls:.3g}"),
        Number(f"{slowest.time / model.time:.3g}"),
    ]


def _caption(found: Comparison) -> str:
    row = found.models[0].row
    ref: Any = row.reference
    said = (
        f"{features_name(row.extractor)} features, against {ref.get('n', MISSING)} images "
        f"({ref.get('data', MISSING)}, {ref.get('split', MISSING)}); n = {row.n} images per row, "
        f"{seeds_text(row)}. ± is one standard error."
    )
    return f"{said} {found.timing}".strip()


def _chart(models: Sequence[Compared], metric: str) -> Chart:
    quality = with_arrow(metric, models[0].row.extractor)
    shown = [model for model in models if model.row.has(metric)]
    series = []
    for k, kind in enumerate(dict.fromkeys(model.kind for model in shown)):
        dots = [_dot(model, metric) for model in shown if model.kind == kind]
        series.append(Series(kind, dots, k))
    log = metric == "frechet" and all(model.row.metrics[metric].value > 0 for model in shown)
    name = f"{quality.rstrip(' ↑↓')} against time"
    return Chart(name, "seconds per 100 images ↓", quality, series, log_x=True, log_y=log)


def _dot(model: Compared, metric: str) -> Dot:
    found, spread = model.row.metrics[metric], (min(model.seconds), max(model.seconds))
    bars = model.time - spread[0], spread[1] - model.time
    return Dot(model.time, found.value, found.bar, bars, str(model.row.steps))
