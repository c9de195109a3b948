"""Runs on captions: do images show what the captions say, and what does guidance cost them?"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from pilotage.metrics.registry import columns_of
from pilotage.report.best import curve_best
from pilotage.report.charts import over_w
from pilotage.report.figures import SERIES, Panel, draw_measures
from pilotage.report.grouping import Curve, Group
from pilotage.report.names import capital, listed, spoken
from pilotage.report.rows import Measure
from pilotage.report.tables import Table, setting_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "What the captions ask for"
ALL = "attribute_all"
OVER_W = (ALL, "caption_diversity", "recall", "clipped_fraction", "condition_psnr")
MARKERS = "sD^vP"
# what guidance costs: a metric, which way is worse, and what it stands for
COSTS = (
    ("caption_diversity", -1, "diversity of a caption's images", "lower"),
    ("recall", -1, "diversity (recall)", "lower"),
    ("clipped_fraction", 1, "saturation (clipped fraction)", "higher"),
)
ERRORS = 2


class Captioned(NamedTuple):
    """All about the captions of a group.

    Attributes:
        said: from which w on diversity and saturation suffer, a sentence or two per curve.
        caption: of the panels.
        table: each attribute, and the costs, of every setting; None if it cannot be seen in the
            pixels.
    """

    said: list[str]
    panels: list[Panel]
    caption: str
    table: Table | None


def captioned(group: Group) -> Captioned | None:
    """What there is to say of a group's captions; None if it was sampled of labels only."""
    curves = [curve for curve in group.curves if curve.variant.prompts]
    if not curves:
        return None
    judged = [curve for curve in curves if curve.points(ALL)]
    panels = [panel for metric in OVER_W for panel in over_w(group, metric, curves)]
    caption = (
        f"Lower and higher are said of what differs by more than {ERRORS} standard errors of the "
        "difference, there and at every larger w."
    )
    table = None
    if judged:
        first = curve_best(group)
        shown = next((curve for curve in judged if curve == first), judged[0])
        panels.append(_each(shown, len(group.curves) > 1))
        caption += (
            " Of all images, caption accuracy is the share that have everything right that the "
            "caption says, to judge by the pixels, and the other accuracies are those that have "
            "one attribute right; relation only counts where the caption has one."
        )
        columns = [ALL, "caption_diversity", "recall", "clipped_fraction", *_single()]
        table = setting_table(
            group, columns, "What images have right of their captions, and what guidance costs."
        )
    return Captioned([_costs(curve, len(curves) > 1) for curve in curves], panels, caption, table)


def _single() -> list[str]:
    """The metrics of single attributes."""
    return [metric for metric in columns_of("captions") if metric != ALL]


def _each(curve: Curve, several: bool) -> Panel:
    """Every attribute of one curve over w."""
    name = "accuracy of each attribute over w" + (f", {curve.label}" if several else "")

    def draw(axis: "Axes") -> None:
        for k, metric in enumerate(_single()):
            rows = curve.rows_with(metric)
            look = {"color": SERIES[(k + 1) % len(SERIES)], "marker": MARKERS[k], "linewidth": 1}
            measures = [row.metrics[metric] for row in rows]
            draw_measures(axis, [row.w for row in rows], measures, spoken(metric), **look)
        axis.set(title=name, xlabel="w", ylabel="share of images ↑")
        axis.margins(0.07)

    return Panel(name, draw)


def _costs(curve: Curve, several: bool) -> str:
    """How much guidance helps the captions, and from where on it costs."""
    gain = _gain(curve.points(ALL))
    said = f"{curve.label}: {gain}" if several else capital(gain)
    found = [
        (*_cost(curve.points(metric), sign), text, word)
        for metric, sign, text, word in COSTS
        if len(curve.points(metric)) > 1
    ]
    if not found:
        return said.rstrip()
    costs = [
        f"{text} is nowhere {word}" if w is None else f"{text} is {word} from w = {w:g} on"
        for _, w, text, word in found
    ]
    return f"{said}Beside w = {found[0][0]:g}, {listed(costs)}."


def _gain(points: list[tuple[float, Measure]]) -> str:
    if not points:
        return ""
    start, here = _reference(points)
    best, most = max(points, key=lambda point: point[1].value)
    said = f"{spoken(ALL)} is {here.value:.1%} at w = {start:g}"
    if most.value <= here.value:
        return f"{said} and nowhere higher. "
    return f"{said} and highest at w = {best:g}, {most.value:.1%}. "


def _cost(points: list[tuple[float, Measure]], sign: int) -> tuple[float, float | None]:
    """The w compared with, and the first w from which on a metric is worse than there, if any."""
    start, here = _reference(points)
    found = None
    for w, measure in sorted(points, reverse=True):
        if w <= start or not _worse(here, measure, sign):
            break
        found = w
    return start, found


def _reference(points: Iterable[tuple[float, Measure]]) -> tuple[float, Measure]:
    """Without guidance, or the nearest to it above."""
    points = sorted(points)
    return next((point for point in points if point[0] >= 0), points[0])


def _worse(here: Measure, there: Measure, sign: int) -> bool:
    known = [m.error for m in (here, there) if math.isfinite(m.error)]
    return sign * (there.value - here.value) > ERRORS * math.hypot(*known)
