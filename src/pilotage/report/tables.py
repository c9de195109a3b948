"""The tables of the papers, as plain data that page and Markdown write down."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pilotage.metrics import METRICS
from pilotage.metrics.registry import columns_of
from pilotage.report.best import AIMS, Best, best_of
from pilotage.report.eval_prompts import size_text
from pilotage.report.grouping import Curve, Group
from pilotage.report.guidance import w_text
from pilotage.report.names import (
    MISSING,
    decimals,
    direction,
    measure_text,
    metric_name,
    number_text,
    with_arrow,
)
from pilotage.report.rows import UNKNOWN, Measure, Row
from pilotage.report.variants import Variant, variant_text

PAIR = ("frechet", "inception_score")


class Number(NamedTuple):
    """A number as it is printed."""

    text: str
    error: str = ""
    best: bool = False


class Line(NamedTuple):
    """A row: its head, and a tuple of numbers per column.

    Attributes:
        kind: row, floor, images, or title (no numbers: a heading within the table).
    """

    head: str
    cells: tuple[tuple[Number, ...], ...] = ()
    kind: str = "row"


class Table(NamedTuple):
    """A table.

    Attributes:
        corner: heads the first column.
        spans: (name, columns) of a heading above the columns, or nothing.
    """

    caption: str
    corner: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    spans: tuple[tuple[str, int], ...] = ()


def guidance_tables(group: Group) -> list[Table]:
    """2207.12598, Tables 1-2: rows w, columns p_uncond (or models) at each T."""
    return [_guidance_table(group, variant) for variant in group.variants]


def _guidance_table(group: Group, variant: Variant) -> Table:
    curves = [curve for curve in group.curves if curve.variant == variant]
    metrics = [m for m in PAIR if any(curve.points(m) for curve in curves)]
    digits = digits_of(metrics, group.rows)
    columns = [{row.w: row for row in curve.rows} for curve in curves]
    best = [{m: best_value(curve.rows, m) for m in metrics} for curve in curves]
    lines = [
        Line(
            f"{w:g}",
            tuple(
                _numbers(column.get(w), metrics, digits, top)
                for column, top in zip(columns, best, strict=True)
            ),
        )
        for w in sorted({w for column in columns for w in column})
    ]
    for row in (*group.baselines, *group.floors):
        cells = (_numbers(row, metrics, digits),) * len(columns)
        lines.append(Line(floor_name(row), cells, "floor"))
    steps = list(dict.fromkeys(curve.steps for curve in curves))
    spans, names = (), tuple(f"T = {curve.steps}" for curve in curves)
    if len(group.models) > 1:
        spans = tuple((f"T = {t}", sum(c.steps == t for c in curves)) for t in steps)
        names = tuple(group.models[curve.model] for curve in curves)
    shown = " / ".join(with_arrow(m, group.extractor) for m in metrics)
    caption = f"{shown} over w: {variant_text(variant)}."
    return Table(caption, "w", names, tuple(lines), spans)


def metrics_table(group: Group) -> Table:
    """2105.05233, Tables 4-5: a row per setting, a column per metric."""
    caption = "Every setting, with the numbers that the papers give."
    if any(guidance.by_classifier for guidance in group.guidances):
        caption += " A classifier at w = 0 does not guide."
    return setting_table(group, columns_of("main"), caption)


def further_table(group: Group) -> Table | None:
    """What else was measured, if anything; metrics that are not registered come last."""
    seen = dict.fromkeys(m for row in group.rows for m in row.metrics)
    metrics = [m for m in columns_of("further") if m in seen]
    metrics += [m for m in seen if m not in METRICS]
    return setting_table(group, metrics, "Further numbers of every setting.") if metrics else None


def setting_table(group: Group, wanted: Sequence[str], caption: str) -> Table:
    """A row per setting, a column for each of these metrics that was measured."""
    metrics = [m for m in wanted if any(m in row.metrics for row in group.rows)]
    digits = digits_of(metrics, group.rows)
    samples = [row for curve in group.curves for row in curve.rows]
    best = {m: best_value(samples, m) for m in metrics}
    lines = []
    for curve in group.curves:
        if len(group.curves) > 1:
            lines.append(Line(curve.label, kind="title"))
        lines += [
            _single(w_text(row.guidance, row.w), row, metrics, digits, best) for row in curve.rows
        ]
    if group.images and group.curves:
        lines.append(Line("other images", kind="title"))
    lines += [
        _single(f"{row.name} (n = {row.n})", row, metrics, digits, kind="images")
        for row in group.images
    ]
    below = (*group.baselines, *group.floors)
    lines += [_single(floor_name(row), row, metrics, digits, kind="floor") for row in below]
    columns = tuple(with_arrow(m, group.extractor) for m in metrics)
    return Table(caption, "w" if group.curves else "images", columns, tuple(lines))


def best_table(group: Group) -> Table:
    """The best w of every curve, for each aim."""
    aims = [m for m in AIMS if any(curve.points(m) for curve in group.curves)]
    lines = []
    for curve in group.curves:
        found = [best_of(curve, metric) for metric in aims]
        lines.append(Line(curve.label, tuple(_best_w(best, group) for best in found)))
    columns = tuple(with_arrow(m, group.extractor) for m in aims)
    caption = (
        "Best w of each curve (in brackets the others within one standard error of it) / its value."
    )
    if len(group.guidances) > 1:
        caption += " Each w is that of the curve's own guidance."
    return Table(caption, "curve", columns, tuple(lines))


def _best_w(best: Best | None, group: Group) -> tuple[Number, ...]:
    if best is None:
        return Number(MISSING), Number(MISSING)
    close = f"({', '.join(f'{w:g}' for w in best.close)})" if best.close else ""
    digits = digits_of([best.metric], group.rows)
    return Number(f"{best.w:g}", close), printed(best.measure, digits[best.metric])


def best_text(best: Best, group: Group) -> str:
    """The best value ± its standard error, with the decimals of the tables."""
    return measure_text(best.measure, digits_of([best.metric], group.rows)[best.metric])


def floor_name(row: Row) -> str:
    """How the floor, or what no model has enlarged, is called."""
    size = row.asked.low_res if row.kind != "real" and row.asked else None
    return f"{row.kind}{f' from {size_text(size)}' if size else ''} (n = {row.n})"


def _single(
    head: str,
    row: Row,
    metrics: Sequence[str],
    digits: dict[str, int],
    best: dict[str, float] | None = None,
    kind: str = "row",
) -> Line:
    return Line(head, tuple((n,) for n in _numbers(row, metrics, digits, best)), kind)


def _numbers(
    row: Row | None,
    metrics: Sequence[str],
    digits: dict[str, int],
    best: dict[str, float] | None = None,
) -> tuple[Number, ...]:
    found = [row.metrics.get(m, UNKNOWN) if row else UNKNOWN for m in metrics]
    return tuple(
        printed(measure, digits[m], best is not None and measure.value == best[m])
        for m, measure in zip(metrics, found, strict=True)
    )


def printed(measure: Measure, digits: int, best: bool = False) -> Number:
    """A number with its standard error."""
    error = f"±{measure.error:.{digits}f}" if math.isfinite(measure.error) else ""
    return Number(number_text(measure.value, digits), error, best)


def best_value(rows: Iterable[Row], metric: str) -> float:
    """The best value of a metric; NaN, which equals nothing, where there is no better and worse."""
    sign = direction(metric)
    values = [row.metrics[metric].value for row in rows if metric in row.metrics]
    values = [value for value in values if math.isfinite(value)]
    return max(values, key=lambda value: sign * value) if sign and values else math.nan


def digits_of(metrics: Sequence[str], rows: Iterable[Row]) -> dict[str, int]:
    """Decimals that suit all rows."""
    rows = list(rows)
    return {m: decimals(row.metrics[m] for row in rows if m in row.metrics) for m in metrics}


def curve_best(group: Group) -> Curve | None:
    """The curve with the lowest distance: the one to look at first."""
    ranked = [b for b in (best_of(curve, "frechet") for curve in group.curves) if b]
    best = min(ranked, key=lambda b: b.measure.value, default=None)
    return best.curve if best else next(iter(group.curves), None)


def aim_text(metric: str, group: Group) -> str:
    """``lowest FD (in-domain)``."""
    way = "highest" if direction(metric) > 0 else "lowest"
    return f"{way} {metric_name(metric, group.extractor)}"
