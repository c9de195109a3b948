"""Models side by side, each sampled in one way or several: a table, a picture and a CSV."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from pilotage.metrics import naming
from pilotage.report import content as c
from pilotage.report import words
from pilotage.report.charts import save
from pilotage.report.write import csv_text, markdown
from pilotage.sweep.best import best_values
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
    """What is written about several models, measured by one extractor against the same images."""

    title: str
    lead: str
    models: list[Compared]
    timing: str = ""  # how they were timed; empty if they were not


def write_comparison(found: Comparison, stem: Path) -> list[Path]:
    """Write table (``.md``), CSV and, where there are times, the picture; the files, in this order.

    Args:
        found: what to write.
        stem: the files' path without its ending.
    """
    from pilotage.utils.files import write_text  # needs torch

    blocks = [
        c.Block("section", [c.Block("text", found.lead)], found.title),
        c.table(comparison_table(found)),
        c.charts("", speed_charts(found.models), found.title) if found.timing else None,
    ]
    text, data, picture = (stem.with_name(stem.name + end) for end in (".md", ".csv", ".png"))
    shown = [block for block in blocks if block]
    if found.timing:
        save(shown[-1], picture)
    write_text(text, markdown(shown, {"": picture.name}))
    write_text(data, comparison_csv(found.models))
    return [text, data, picture] if found.timing else [text, data]


def comparison_table(found: Comparison) -> c.Table:
    """A row per model and way of sampling; the best numbers of each column are marked."""
    rows, slowest = [model.row for model in found.models], _slowest(found.models)
    digits, best, lines = words.digits_of(METRICS, rows), best_values(rows, METRICS), []
    for model in found.models:
        cells = [c.Number(f"{model.parameters / 1e6:.3g}"), c.Number(str(model.row.steps))]
        if slowest:
            facts, low, high = model.row.facts, min(model.seconds), max(model.seconds)
            way = ", ".join(facts[key] for key in ("sampler", "v", "eta") if key in facts)
            cells += [c.Number(way), c.Number(f"{model.calls:g}")]
            cells += [c.Number(f"{model.time:.3g}", f"({low:.3g} to {high:.3g})")]
            cells += [c.Number(f"{x:.3g}") for x in _times(model, slowest)]
        measures = {metric: model.row.measure(metric) for metric in digits}
        cells += [c.printed(x, digits[m], x.value == best[m]) for m, x in measures.items()]
        lines.append(c.Line(model.name, [(cell,) for cell in cells]))
    names = ["parameters (M)", "steps T"]
    if slowest:
        than = f"{slowest.name}, T = {slowest.row.steps}"
        names += ["sampler", "network calls per image ↓", "seconds per 100 images ↓"]
        names += [f"times fewer calls than {than}", "times faster"]
    row = rows[0]
    names += [naming.with_arrow(m, row.extractor) for m in digits]
    ref = {"n": words.MISSING, "data": words.MISSING, "split": words.MISSING} | row.reference
    features = naming.features_name(row.extractor)
    caption = (
        f"{features} features, against {ref['n']} images ({ref['data']}, "
        f"{ref['split']}); n = {row.n} images per row, {row.seeds_text}. ± is one standard error. "
    )
    return c.Table((caption + found.timing).strip(), "model", names, lines)


def comparison_csv(models: Sequence[Compared]) -> str:
    """The same, numbers unrounded, with all that decides them."""
    slowest, rows = _slowest(models), []
    for model in models:
        own: dict[str, Any] = {"model": model.name, "parameters": model.parameters}
        if slowest:
            own["network_calls_per_image"] = model.calls
            own["seconds_per_100_images"] = model.time
            own["seconds_min"], own["seconds_max"] = min(model.seconds), max(model.seconds)
            own["times_fewer_calls"], own["times_faster"] = _times(model, slowest)
        row = {k: x for k, x in model.row.flat().items() if k not in OF_MEASURING}
        rows.append(own | row)
    return csv_text(rows)


def speed_charts(models: Sequence[Compared]) -> list[c.Chart]:
    """Quality and diversity against time, as in Figure 1 of 2112.07804."""
    found = []
    for metric in ("frechet", "recall"):
        kinds: dict[str, list[c.Dot]] = {}
        for model in (model for model in models if model.row.has(metric)):
            measure, low, high = model.row.metrics[metric], min(model.seconds), max(model.seconds)
            bars = model.time - low, high - model.time
            dot = c.Dot(model.time, measure.value, measure.bar, bars, str(model.row.steps))
            kinds.setdefault(model.kind, []).append(dot)
        series = [c.Series(kind, dots, k) for k, (kind, dots) in enumerate(kinds.items())]
        name = naming.with_arrow(metric, models[0].row.extractor)
        title = f"{name.rstrip(' ↑↓')} against time"
        chart = c.Chart(title, "seconds per 100 images ↓", name, series, log_x=True)
        found.append(chart._replace(log_y=metric == "frechet" and min(chart.values) > 0))
    return found


def _slowest(models: Sequence[Compared]) -> Compared | None:
    """The model of most calls, that the others are compared with; None without times."""
    timed = [model for model in models if model.seconds]
    return max(timed, key=lambda model: model.calls, default=None)


def _times(model: Compared, slowest: Compared) -> tuple[float, float]:
    """How many times fewer calls than the slowest, and how many times faster."""
    return slowest.calls / model.calls, slowest.time / model.time
