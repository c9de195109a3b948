"""The best w for each aim, and which other values it cannot be told apart from."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from pilotage.report.grouping import Curve
from pilotage.report.names import direction, listed
from pilotage.report.rows import Measure

AIMS = ("frechet", "inception_score", "precision", "recall", "attribute_all", "condition_psnr")


class Best(NamedTuple):
    """The best w of a curve for an aim.

    Attributes:
        close: other values of w within one standard error of the difference.
        remark: the same as a sentence, and whether the grid ended there.
    """

    metric: str
    curve: Curve
    w: float
    measure: Measure
    close: tuple[float, ...]
    remark: str


def best_of(curve: Curve, metric: str) -> Best | None:
    """The best w of one curve; of equal ones the smallest. None without that metric."""
    points = curve.points(metric)
    if not points:
        return None
    sign = direction(metric)
    w, measure = max(points, key=lambda point: sign * point[1].value)
    others = [point for point in points if point[0] != w]
    close = tuple(other for other, m in others if _close(measure, m))
    remark = _remark(w, measure, [other for other, _ in others], close)
    return Best(metric, curve, w, measure, close, remark)


def best_over(curves: Iterable[Curve], metric: str) -> Best | None:
    """The best of several curves, whose w should mean the same."""
    found = [best for best in (best_of(curve, metric) for curve in curves) if best]
    sign = direction(metric)
    return max(found, key=lambda best: sign * best.measure.value, default=None)


def _close(a: Measure, b: Measure) -> bool:
    """Whether the gap is within one standard error of the difference."""
    known = [error for error in (a.error, b.error) if math.isfinite(error)]
    return abs(a.value - b.value) <= math.hypot(*known)


def _remark(w: float, measure: Measure, others: list[float], close: tuple[float, ...]) -> str:
    if not others:
        return "The only w measured."
    if not math.isfinite(measure.error):
        said = "No standard error is known, so neighbours may be as good."
    elif close:
        names = listed(f"{other:g}" for other in close)
        verb = "lies" if len(close) == 1 else "lie"
        said = f"w = {names} {verb} within one standard error: not told apart."
    else:
        said = "No other w lies within one standard error."
    if w > max(others):
        said += " It is the largest w tried."
    elif w < min(others):
        said += " It is the smallest w tried."
    return said
