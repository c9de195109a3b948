"""Classifier-free against classifier guidance where both have the same inception score."""

from typing import NamedTuple

from pilotage.report.grouping import Curve, Group
from pilotage.report.names import with_arrow
from pilotage.report.rows import UNKNOWN, Measure, Row
from pilotage.report.tables import Line, Table, digits_of, printed

TITLE = "Classifier-free against classifier guidance at matched IS"
SCORE, DISTANCE = "inception_score", "frechet"
BESIDE = ("precision", "recall")


class Setting(NamedTuple):
    """What two curves have to share for their numbers to be comparable."""

    steps: int
    sampler: str
    eta: float | None
    n: int


def matched_tables(group: Group) -> list[Table]:
    """One per setting that has curves of both kinds."""
    usable = [curve for curve in group.curves if curve.points(SCORE, DISTANCE)]
    settings = dict.fromkeys(map(_setting, usable))
    tables = (_table(group, s, [c for c in usable if _setting(c) == s]) for s in settings)
    return [table for table in tables if table]


def _setting(curve: Curve) -> Setting:
    variant = curve.variant
    return Setting(curve.steps, variant.sampler, variant.eta, variant.n)


def _table(group: Group, setting: Setting, curves: list[Curve]) -> Table | None:
    free = [curve for curve in curves if not curve.guidance.by_classifier]
    guided = [(c.label, _guided_rows(c)) for c in curves if c.guidance.by_classifier]
    guided = [(label, rows) for label, rows in guided if rows]
    if not free or not guided:
        return None
    metrics = [DISTANCE, *(m for m in BESIDE if any(m in row.metrics for row in group.rows))]
    digits = digits_of([SCORE, *metrics], group.rows)
    lines = []
    for label, rows in guided:
        lines += [Line(label, kind="title")] if len(guided) > 1 else []
        lines += [_line(row, free, metrics, digits) for row in rows]
    own = guided[0][0] if len(guided) == 1 else "classifier"
    spans = ((own, 1 + len(metrics)), *((curve.label, len(metrics)) for curve in free))
    names = [with_arrow(m, group.extractor) for m in metrics]
    columns = (with_arrow(SCORE, group.extractor), *names, *(names * len(free)))
    return Table(_caption(setting), "w", columns, tuple(lines), spans)


def _guided_rows(curve: Curve) -> list[Row]:
    found = {point[0] for point in curve.points(SCORE, DISTANCE)}
    return [row for row in curve.rows if row.w > 0 and row.w in found]


def _line(row: Row, free: list[Curve], metrics: list[str], digits: dict[str, int]) -> Line:
    cells = [printed(row.metrics.get(m, UNKNOWN), digits[m]) for m in (SCORE, *metrics)]
    for curve in free:
        there = at_score(curve, row.metrics[SCORE].value, metrics)
        cells += [printed(there.get(m, UNKNOWN), digits[m]) for m in metrics]
    return Line(f"{row.w:g}", tuple((cell,) for cell in cells))


def at_score(curve: Curve, score: float, metrics: list[str]) -> dict[str, Measure]:
    """The metrics of a curve where it has that inception score.

    Linear between neighbouring w. Of several places that with the lowest distance; nothing outside
    the curve's range.
    """
    known = {point[0] for point in curve.points(SCORE, DISTANCE)}
    rows = [row for row in curve.rows if row.w in known]
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


def _between(a: Row, b: Row, metric: str, share: float) -> Measure:
    ends = [row.metrics.get(metric, UNKNOWN) for row in (a, b)]
    if share in (0, 1):  # a neighbour without that metric must not spoil it
        return ends[int(share)]
    return Measure(*((1 - share) * x + share * y for x, y in zip(*ends, strict=True)))


def _caption(setting: Setting) -> str:
    return (
        "What each w of the classifier reaches, and classifier-free guidance at the same IS "
        f"(T = {setting.steps}, {setting.sampler}, n = {setting.n}): linear between neighbouring "
        "w, a dash where the curve does not have that IS, the lower distance where it has it "
        "twice. ± is interpolated too and leaves out that of the IS."
    )
