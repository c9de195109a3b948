"""The best w for each aim, by how much, and how sure that is."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from pilotage.metrics.registry import columns_of
from pilotage.report.grouping import Curve, Group
from pilotage.report.words import (
    capital,
    digits_of,
    direction,
    listed,
    measure_text,
    metric_name,
)
from pilotage.sweep.rows import Measure, SampleRow

ALL = "attribute_all"
ERRORS = 2  # standard errors of a difference, beyond which two numbers are told apart


def aims() -> list[str]:
    """The metrics that may be aimed at: the papers' main ones, and all that captions say."""
    return [m for m in (*columns_of("main"), ALL) if direction(m)]


def difference(one: SampleRow, other: SampleRow, metric: str) -> Measure:
    """How much higher ``other`` is, and the standard error of that; NaN where none is known.

    Rows of one model at the same seeds vary together: their replicates give the paired error.
    """
    a, b = one.measure(metric), other.measure(metric)
    if _paired(one, other, metric):
        from pilotage.metrics.standard_errors import paired_error

        error = paired_error(one.replicates[metric], other.replicates[metric])
    else:
        known = [error for error in (a.error, b.error) if math.isfinite(error)]
        error = math.hypot(*known) if known else math.nan
    return Measure(b.value - a.value, error)


def _paired(one: SampleRow, other: SampleRow, metric: str) -> bool:
    """Whether the two were resampled alike: the same model, first seed and number of images."""
    if not (one.seeds and other.seeds):
        return False
    alike = (one.run_hash, one.seeds[0], one.n) == (other.run_hash, other.seeds[0], other.n)
    counts = [len(row.replicates.get(metric, ())) for row in (one, other)]
    return alike and counts[0] == counts[1] > 1


def told_apart(gap: Measure) -> bool:
    """Whether a difference is more than chance: of two standard errors, or of any without them."""
    return abs(gap.value) > ERRORS * gap.bar


class Best(NamedTuple):
    """The best w of a curve for an aim.

    Attributes:
        gaps: the other rows of the curve and their differences from it, the nearest first.
    """

    metric: str
    curve: Curve
    row: SampleRow
    gaps: tuple[tuple[SampleRow, Measure], ...]

    @property
    def measure(self) -> Measure:
        """The number at the best w."""
        return self.row.metrics[self.metric]

    @property
    def ties(self) -> list[float]:
        """Values of w that cannot be told apart from it, in order."""
        return sorted(row.w for row, gap in self.gaps if not told_apart(gap))

    def remark(self, digits: int) -> str:
        """The runner-up and the ties as sentences, and whether the grid ended at the best."""
        if not self.gaps:
            return "The only w measured."
        row, gap = self.gaps[0]
        said = f"Next w = {row.w:g}: {'+' * (gap.value >= 0)}{measure_text(gap, digits)}"
        if math.isfinite(gap.error):
            also = [f"{w:g}" for w in self.ties if w != row.w]
            said += f", {'not ' * (row.w in self.ties)}told apart."
            said += f" Also not told apart: w = {listed(also)}." if also else ""
        else:
            said += "; no standard error is known, so neighbours may be as good."
        others = [row.w for row, _ in self.gaps]
        if self.row.w > max(others):
            said += " It is the largest w tried."
        elif self.row.w < min(others):
            said += " It is the smallest w tried."
        return said


def best_of(curve: Curve, metric: str) -> Best | None:
    """The best w of one curve; of equal ones the smallest. None without that metric."""
    rows, sign = curve.rows_with(metric), direction(metric)
    if not rows:
        return None
    best = max(rows, key=lambda row: sign * row.metrics[metric].value)
    gaps = [(row, difference(best, row, metric)) for row in rows if row is not best]
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


class Card(NamedTuple):
    """The best w for an aim, in words: ``Lowest FD``, ``w = 0.5``, its value, where, how sure."""

    aim: str
    w: str
    value: str
    where: str
    remark: str


def cards_of(group: Group) -> dict[str, list[Card]]:
    """The best of the group for each aim, by what w is; one name is empty."""
    found = {}
    digits = digits_of(aims(), group.rows)
    for name in group.guidances:
        curves = [curve for curve in group.curves if curve.guidance == name]
        best = [b for b in (best_over(curves, metric) for metric in aims()) if b]
        cards = [_card(b, group, digits[b.metric]) for b in best]
        if cards:
            found[capital(name) if len(group.guidances) > 1 else ""] = cards
    return found


def _card(best: Best, group: Group, digits: int) -> Card:
    way = "Highest" if direction(best.metric) > 0 else "Lowest"
    return Card(
        f"{way} {metric_name(best.metric, group.extractor)}",
        f"w = {best.row.w:g}",
        measure_text(best.measure, digits),
        best.curve.label,
        best.remark(digits),
    )
