"""The best w for each aim, and which other values it cannot be told apart from."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from pilotage.report.grouping import Curve, Group
from pilotage.report.names import (
    MISSING,
    direction,
    listed,
    measure_text,
    metric_name,
    with_arrow,
)
from pilotage.report.rows import Measure
from pilotage.report.tables import Line, Number, Table, digits_of, printed

AIMS = ("frechet", "inception_score", "precision", "recall", "attribute_all", "condition_psnr")


class Best(NamedTuple):
    """The best w of a curve for an aim.

    Attributes:
        close: other values of w within one standard error of the difference.
    """

    metric: str
    curve: Curve
    w: float
    measure: Measure
    close: tuple[float, ...]

    @property
    def remark(self) -> str:
        """The other values as a sentence, and whether the grid ended at this one."""
        others = [w for w, _ in self.curve.points(self.metric) if w != self.w]
        if not others:
            return "The only w measured."
        said = "No other w lies within one standard error."
        if not math.isfinite(self.measure.error):
            said = "No standard error is known, so neighbours may be as good."
        elif self.close:
            names = listed(f"{other:g}" for other in self.close)
            verb = "lies" if len(self.close) == 1 else "lie"
            said = f"w = {names} {verb} within one standard error: not told apart."
        if self.w > max(others):
            said += " It is the largest w tried."
        elif self.w < min(others):
            said += " It is the smallest w tried."
        return said


class Aims(NamedTuple):
    """The best w for each aim that was measured, of all curves whose w means the same.

    Attributes:
        name: what w is there; empty if it is the same in the whole group.
    """

    name: str
    best: list[Best]


def aims_of(group: Group) -> list[Aims]:
    """The best of the group for each aim, by what w is."""
    found = []
    for name in group.guidances:
        curves = [curve for curve in group.curves if curve.guidance_name == name]
        best = [b for b in (best_over(curves, metric) for metric in AIMS) if b]
        found.append(Aims(name if len(group.guidances) > 1 else "", best))
    return [aims for aims in found if aims.best]


def best_of(curve: Curve, metric: str) -> Best | None:
    """The best w of one curve; of equal ones the smallest. None without that metric."""
    points = curve.points(metric)
    if not points:
        return None
    sign = direction(metric)
    w, measure = max(points, key=lambda point: sign * point[1].value)
    close = tuple(other for other, m in points if other != w and _close(measure, m))
    return Best(metric, curve, w, measure, close)


def best_over(curves: Iterable[Curve], metric: str) -> Best | None:
    """The best of several curves, whose w should mean the same."""
    found = [best for best in (best_of(curve, metric) for curve in curves) if best]
    sign = direction(metric)
    return max(found, key=lambda best: sign * best.measure.value, default=None)


def curve_best(group: Group) -> Curve | None:
    """The curve with the lowest distance: the one to look at first."""
    best = best_over(group.curves, "frechet")
    return best.curve if best else next(iter(group.curves), None)


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


def best_text(best: Best, group: Group) -> str:
    """The best value ± its standard error, with the decimals of the tables."""
    return measure_text(best.measure, digits_of([best.metric], group.rows)[best.metric])


def aim_text(metric: str, group: Group) -> str:
    """``lowest FD (in-domain)``."""
    way = "highest" if direction(metric) > 0 else "lowest"
    return f"{way} {metric_name(metric, group.extractor)}"


def _best_w(best: Best | None, group: Group) -> tuple[Number, ...]:
    if best is None:
        return Number(MISSING), Number(MISSING)
    close = f"({', '.join(f'{w:g}' for w in best.close)})" if best.close else ""
    digits = digits_of([best.metric], group.rows)
    return Number(f"{best.w:g}", close), printed(best.measure, digits[best.metric])


def _close(a: Measure, b: Measure) -> bool:
    """Whether the gap is within one standard error of the difference."""
    known = [error for error in (a.error, b.error) if math.isfinite(error)]
    return abs(a.value - b.value) <= math.hypot(*known)
