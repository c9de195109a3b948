"""The tables of the papers, as plain data that page and Markdown write down."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pilotage.metrics import METRICS
from pilotage.metrics.registry import columns_of
from pilotage.report.grouping import Curve, Group
from pilotage.report.names import (
    decimals,
    direction,
    number_text,
    with_arrow,
)
from pilotage.report.rows import UNKNOWN, Measure, Row, SampleRow
from pilotage.report.variants import Variant, size_text, variant_text, w_text

PAIR = ("frechet", "inception_score")
MATCHED = "Classifier-free against classifier guidance at matched IS"
SCORE, DISTANCE = "inception_score", "frechet"
OTHERS = ("precision", "recall")
NONE: Mapping[str, float] = {}


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

    @classmethod
    def of(cls, head: str, numbers: Iterable[Number], kind: str = "row") -> "Line":
        """A row with one number per column."""
        return cls(head, tuple((number,) for number in numbers), kind)


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
    lines = []
    for w in sorted({w for column in columns for w in column}):
        pairs = zip(columns, best, strict=True)
        lines.append(Line(f"{w:g}", tuple(_numbers(c.get(w), digits, top) for c, top in pairs)))
    for row in (*group.baselines, *group.floors):
        lines.append(Line(floor_name(row), (_numbers(row, digits),) * len(columns), "floor"))
    steps = list(dict.fromkeys(curve.steps for curve in curves))
    spans: tuple[tuple[str, int], ...] = ()
    names = tuple(f"T = {curve.steps}" for curve in curves)
    if len(group.models) > 1:
        spans = tuple((f"T = {t}", sum(c.steps == t for c in curves)) for t in steps)
        names = tuple(group.models[curve.model] for curve in curves)
    shown = " / ".join(with_arrow(m, group.extractor) for m in metrics)
    caption = f"{shown} over w: {variant_text(variant)}."
    return Table(caption, "w", names, tuple(lines), spans)


def metrics_table(group: Group) -> Table:
    """2105.05233, Tables 4-5: a row per setting, a column per metric."""
    caption = "Every setting, with the numbers that the papers give."
    if any(curve.guidance.by_classifier for curve in group.curves):
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
    best = {m: best_value(group.samples, m) for m in metrics}
    lines = []
    for curve in group.curves:
        if len(group.curves) > 1:
            lines.append(Line(curve.label, kind="title"))
        lines += [Line.of(w_text(r.guidance), _numbers(r, digits, best)) for r in curve.rows]
    if group.images and group.curves:
        lines.append(Line("other images", kind="title"))
    for row in group.images:
        lines.append(Line.of(f"{row.name} (n = {row.n})", _numbers(row, digits), "images"))
    for row in (*group.baselines, *group.floors):
        lines.append(Line.of(floor_name(row), _numbers(row, digits), "floor"))
    columns = tuple(with_arrow(m, group.extractor) for m in metrics)
    return Table(caption, "w" if group.curves else "images", columns, tuple(lines))


def floor_name(row: Row) -> str:
    """How the floor, or what no model has enlarged, is called."""
    size = row.prompts.low_res if row.kind != "real" and row.prompts else None
    return f"{row.kind}{f' from {size_text(size)}' if size else ''} (n = {row.n})"


def _numbers(
    row: Row | None, digits: Mapping[str, int], best: Mapping[str, float] = NONE
) -> tuple[Number, ...]:
    """The metrics whose decimals are given; dashes without a row."""
    found = {m: row.measure(m) if row else UNKNOWN for m in digits}
    return tuple(printed(x, digits[m], x.value == best.get(m)) for m, x in found.items())


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


class Setting(NamedTuple):
    """What two curves have to share for their numbers to be comparable."""

    steps: int
    sampler: str
    eta: Any
    n: int


def matched_tables(group: Group) -> list[Table]:
    """One per setting that has curves of both kinds."""
    usable = [curve for curve in group.curves if curve.rows_with(SCORE, DISTANCE)]
    settings = dict.fromkeys(map(_setting, usable))
    tables = (_matched_table(group, s, [c for c in usable if _setting(c) == s]) for s in settings)
    return [table for table in tables if table]


def _setting(curve: Curve) -> Setting:
    sampler = curve.variant.sampler.record()
    return Setting(curve.steps, sampler["sampler"], sampler.get("eta"), curve.variant.n)


def _matched_table(group: Group, setting: Setting, curves: list[Curve]) -> Table | None:
    free = [curve for curve in curves if not curve.guidance.by_classifier]
    guided = [(c.label, _guided_rows(c)) for c in curves if c.guidance.by_classifier]
    guided = [(label, rows) for label, rows in guided if rows]
    if not free or not guided:
        return None
    metrics = [DISTANCE, *(m for m in OTHERS if any(m in row.metrics for row in group.rows))]
    digits = digits_of([SCORE, *metrics], group.rows)
    lines = []
    for label, rows in guided:
        lines += [Line(label, kind="title")] if len(guided) > 1 else []
        lines += [_matched_line(row, free, metrics, digits) for row in rows]
    own = guided[0][0] if len(guided) == 1 else "classifier"
    spans = ((own, 1 + len(metrics)), *((curve.label, len(metrics)) for curve in free))
    names = [with_arrow(m, group.extractor) for m in metrics]
    columns = (with_arrow(SCORE, group.extractor), *names, *(names * len(free)))
    return Table(_matched_caption(setting), "w", columns, tuple(lines), spans)


def _guided_rows(curve: Curve) -> list[SampleRow]:
    return [row for row in curve.rows_with(SCORE, DISTANCE) if row.w > 0]


def _matched_line(
    row: SampleRow, free: list[Curve], metrics: list[str], digits: dict[str, int]
) -> Line:
    numbers = [*_numbers(row, digits)]
    for curve in free:
        there = _at_score(curve, row.metrics[SCORE].value, metrics)
        numbers += [printed(there.get(m, UNKNOWN), digits[m]) for m in metrics]
    return Line.of(f"{row.w:g}", numbers)


def _at_score(curve: Curve, score: float, metrics: list[str]) -> dict[str, Measure]:
    """The metrics of a curve where it has that inception score.

    Linear between neighbouring w. Of several places that with the lowest distance; nothing outside
    the curve's range.
    """
    rows = curve.rows_with(SCORE, DISTANCE)
    found = []
    for a, b in zip(rows, rows[1:] or rows, strict=False):
        share = _share(a.metrics[SCORE].value, b.metrics[SCORE].value, score)
        if share is not None:
            found.append({m: _between(a, b, m, share) for m in metrics})
    return min(found, key=lambda place: place[DISTANCE].value, default={})


def _share(a: float, b: float, wanted: float) -> float | None:
    """How far from a to b the wanted number lies; None if it does not lie between."""
    if not min(a, b) <= wanted <= max(a, b):
        return None
    return (wanted - a) / (b - a) if a != b else 0.0


def _between(a: SampleRow, b: SampleRow, metric: str, share: float) -> Measure:
    ends = [row.measure(metric) for row in (a, b)]
    if share in (0, 1):  # a neighbour without that metric must not spoil it
        return ends[int(share)]
    return Measure(*((1 - share) * x + share * y for x, y in zip(*ends, strict=True)))


def _matched_caption(setting: Setting) -> str:
    return (
        "What each w of the classifier reaches, and classifier-free guidance at the same IS "
        f"(T = {setting.steps}, {setting.sampler}, n = {setting.n}): linear between neighbouring "
        "w, a dash where the curve does not have that IS, the lower distance where it has it "
        "twice. ± is interpolated too and leaves out that of the IS."
    )
