"""The best w for each aim, by how much, and how sure that is."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pilotage.metrics.naming import direction
from pilotage.metrics.registry import columns_of
from pilotage.metrics.standard_errors import paired_error
from pilotage.sweep.curves import Curve, Group
from pilotage.sweep.rows import Measure, Row, SampleRow

SCORE, DISTANCE = "inception_score", "frechet"
ALL = "attribute_all"
ERRORS = 2  # standard errors of a difference, beyond which two numbers are told apart


def aims() -> list[str]:
    """The metrics that may be aimed at: the papers' main ones, and all that captions say."""
    return [metric for metric in (*columns_of("main"), ALL) if direction(metric)]


def difference(one: SampleRow, other: SampleRow, metric: str) -> Measure:
    """How much higher ``other`` is, and the standard error of that; NaN where none is known.

    Rows of one model with the same first seed and number of images were resampled alike: where both
    have replicates these give the paired error.
    """
    a, b = one.measure(metric), other.measure(metric)
    pair = [row.replicates.get(metric, []) for row in (one, other)]
    seeds = [row.seeds[0] if row.seeds else None for row in (one, other)]
    alike = (one.run_hash, one.n, seeds[0]) == (other.run_hash, other.n, seeds[1])
    if alike and seeds[0] is not None and len(pair[0]) == len(pair[1]) > 1:
        return Measure(b.value - a.value, paired_error(*pair))
    known = [error for error in (a.error, b.error) if math.isfinite(error)]
    return Measure(b.value - a.value, math.hypot(*known) if known else math.nan)


def told_apart(gap: Measure) -> bool:
    """Whether a difference is of more standard errors than chance gives, or of any without them."""
    return abs(gap.value) > ERRORS * gap.bar


class Best(NamedTuple):
    """The best w of a curve for an aim; ``gaps`` are the other rows' differences, nearest first."""

    metric: str
    curve: Curve
    row: SampleRow
    gaps: tuple[tuple[float, Measure], ...]

    @property
    def measure(self) -> Measure:
        """The number at the best w."""
        return self.row.metrics[self.metric]

    @property
    def ties(self) -> list[float]:
        """Values of w that cannot be told apart from it, in order."""
        return sorted(w for w, gap in self.gaps if not told_apart(gap))


def best_of(curve: Curve, metric: str) -> Best | None:
    """The best w of one curve; of equal ones the smallest. None without that metric."""
    rows, sign = curve.rows_with(metric), direction(metric)
    if not rows:
        return None
    best = max(rows, key=lambda row: sign * row.metrics[metric].value)
    gaps = [(row.w, difference(best, row, metric)) for row in rows if row is not best]
    return Best(metric, curve, best, tuple(sorted(gaps, key=lambda pair: abs(pair[1].value))))


def best_over(curves: Iterable[Curve], metric: str) -> Best | None:
    """The best of several curves, whose w should mean the same."""
    found = [best for best in (best_of(curve, metric) for curve in curves) if best]
    sign = direction(metric)
    return max(found, key=lambda best: sign * best.measure.value, default=None)


def curve_best(group: Group) -> Curve | None:
    """The curve with the lowest distance: the one to look at first."""
    best = best_over(group.curves, "frechet")
    return best.curve if best else next(iter(group.curves), None)


def best_values(rows: Iterable[Row], metrics: Iterable[str]) -> dict[str, float]:
    """The best value of each metric; NaN, which equals nothing, where no way is better."""
    rows, found = list(rows), {}
    for metric in metrics:
        sign = direction(metric)
        values = [row.metrics[metric].value for row in rows if row.has(metric)] if sign else []
        found[metric] = max(values, key=lambda value: sign * value, default=math.nan)
    return found


def at_score(curve: Curve, score: float, metrics: Sequence[str]) -> dict[str, Measure]:
    """The metrics of a curve where it has that inception score; nothing outside its range."""
    rows, found = curve.rows_with(SCORE, DISTANCE), []
    for a, b in zip(rows, rows[1:] or rows, strict=False):
        low, high = a.metrics[SCORE].value, b.metrics[SCORE].value
        if min(low, high) <= score <= max(low, high):
            share = (score - low) / (high - low) if low != high else 0.0
            found.append({m: _between(a.measure(m), b.measure(m), share) for m in metrics})
    return min(found, key=lambda place: place[DISTANCE].value, default={})


def _between(a: Measure, b: Measure, share: float) -> Measure:
    if share in (0, 1):  # a neighbour without that metric must not spoil it
        return b if share else a
    return Measure(*((1 - share) * x + share * y for x, y in zip(a, b, strict=True)))


def worse_from(rows: Sequence[SampleRow], metric: str, sign: int) -> float | None:
    """The first w from which on a metric is worse than without guidance, if any."""
    here, found = next((row for row in rows if row.w >= 0), rows[0]), None
    for row in reversed(rows):
        gap = difference(here, row, metric)
        if row.w <= here.w or sign * gap.value < 0 or not told_apart(gap):
            break
        found = row.w
    return found
