"""The charts of a sweep: trade-off curves with the floor, labelled with w."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pilotage.report.figures import INK, MUTED, PAPER, SERIES, Panel, legend_name, log_ticks
from pilotage.report.grouping import Curve, Group
from pilotage.report.guidance import KINDS
from pilotage.report.names import with_arrow
from pilotage.report.rows import Row
from pilotage.report.tables import floor_name

DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1, 1.5)))
MARKERS = ("o", "s", "^", "D")
LABEL_GAP = (18, 9)  # points that a label keeps clear, in x and y
LOG_RATIO = 20


def sweep_panels(group: Group) -> list[Panel]:
    """Figure 4 of 2207.12598 and its like; those whose metrics were measured."""
    panels = [
        _panel(group, x, y, group.curves)
        for x, y in (("inception_score", "frechet"), ("recall", "precision"))
        if any(curve.points(x, y) for curve in group.curves)
    ]
    for metric in ("frechet", "inception_score"):
        panels += over_w(group, metric, group.curves)
    return panels


def over_w(group: Group, metric: str, curves: Sequence[Curve]) -> list[Panel]:
    """A metric over w, for each kind of guidance: strengths of two kinds share no axis.

    A single w makes no curve, and no panel.
    """
    found = [[c for c in curves if c.guidance.kind == kind] for kind in kinds_of(group)]
    shown = [part for part in found if any(len(curve.points(metric)) > 1 for curve in part)]
    return [_panel(group, "w", metric, part) for part in shown]


def kinds_of(group: Group) -> list[str]:
    """The kinds of guidance that occur."""
    found = {guidance.kind for guidance in group.guidances}
    return [kind for kind in KINDS if kind in found]


def charts_caption(group: Group) -> str:
    """How to read the charts."""
    said = "Points are labelled with w, bars are one standard error."
    if len(kinds_of(group)) > 1:
        said += (
            " Filled points are classifier-free, hollow ones classifier guidance; "
            "each w is that of the point's own guidance."
        )
    if group.floors:
        said += " Grey dashes: real against real, which no model can beat at that n."
    if group.baselines:
        said += " Dots or a star: bicubic enlargement, which needs no model."
    return said


def _panel(group: Group, x: str, y: str, curves: Sequence[Curve]) -> Panel:
    names = {m: m if m == "w" else with_arrow(m, group.extractor) for m in (x, y)}
    plain = [names[m].rstrip(" ↑↓") for m in (x, y)]
    name = f"{plain[1]} against {plain[0]}"
    if x == "w":
        several = len(kinds_of(group)) > 1
        names["w"] = f"w, {curves[0].guidance.kind}" if several else "w"
        name = f"{plain[1]} over {names['w']}"

    def draw(axis: Any) -> None:
        for curve in curves:
            _draw_curve(axis, group, curve, x, y)
        _draw_images(axis, group.images, x, y)
        _draw_baselines(axis, group.baselines, x, y)
        if _log_needed(group, y):
            axis.set_yscale("log")
            log_ticks(axis.yaxis)
        for k, floor in enumerate(group.floors):
            _draw_floor(axis, floor, x, y, named=k == 0)
        axis.set(title=name, xlabel=names[x], ylabel=names[y])
        axis.margins(0.07)
        if x != "w":
            _label_points(axis, group, x, y)

    return Panel(name, draw)


def _draw_curve(axis: Any, group: Group, curve: Curve, x: str, y: str) -> None:
    metrics = [m for m in (x, y) if m != "w"]
    points = curve.points(*metrics)
    if not points:
        return
    columns = [[p[0] for p in points]] if x == "w" else []
    measures = [[p[k] for p in points] for k in range(1, len(metrics) + 1)]
    columns += [[m.value for m in column] for column in measures]
    errors = [None] if x == "w" else []
    errors += [[m.error if m.error > 0 else 0 for m in column] for column in measures]
    axis.errorbar(
        *columns,
        xerr=errors[0],
        yerr=errors[1],
        **_look(group, curve),
        elinewidth=0.7,
        label=legend_name(curve.label),
    )


def _look(group: Group, curve: Curve) -> dict[str, Any]:
    """Colour by model, dashes by steps (most steps solid) and kind of guidance, marker by variant.

    Of a single model, colour by steps and guidance. A classifier's points are hollow.
    """
    models, kinds = list(group.models), kinds_of(group)
    if len(models) > 1:
        colour = models.index(curve.model)
        dash = _place(group, curve, lambda c: (-c.steps, kinds.index(c.guidance.kind)))
    else:
        colour = _place(group, curve, lambda c: (group.guidances.index(c.guidance), -c.steps))
        dash = kinds.index(curve.guidance.kind)
    marker = group.variants.index(curve.variant)
    hollow = {"markerfacecolor": PAPER, "markersize": 5} if curve.guidance.by_classifier else {}
    return {
        "color": SERIES[colour % len(SERIES)],
        "linestyle": DASHES[dash % len(DASHES)],
        "marker": MARKERS[marker % len(MARKERS)],
        **hollow,
    }


def _place(group: Group, curve: Curve, key: Callable[[Curve], tuple[int, int]]) -> int:
    """Where a curve stands among the different keys of its group."""
    return sorted(set(map(key, group.curves))).index(key(curve))


def _draw_images(axis: Any, rows: Iterable[Row], x: str, y: str) -> None:
    for k, row in enumerate(rows):
        if x in row.metrics and y in row.metrics:
            at = row.metrics[x].value, row.metrics[y].value
            axis.plot(*at, "*", color=SERIES[-1 - k % 2], markersize=8, label=legend_name(row.name))


def _draw_baselines(axis: Any, rows: Iterable[Row], x: str, y: str) -> None:
    """A line across w, else a star."""
    for row in rows:
        label = {"label": floor_name(row), "color": MUTED}
        if x == "w" and y in row.metrics:
            axis.axhline(row.metrics[y].value, linestyle=":", linewidth=1.2, **label)
        elif x in row.metrics and y in row.metrics:
            at = row.metrics[x].value, row.metrics[y].value
            axis.plot(*at, "*", markersize=8, **label)


def _draw_floor(axis: Any, row: Row, x: str, y: str, named: bool) -> None:
    style = {"color": MUTED, "linestyle": (0, (4, 3)), "linewidth": 1}
    label = {"label": f"real against real (n = {row.n})"} if named else {}
    if y in row.metrics and math.isfinite(row.metrics[y].value):
        axis.axhline(row.metrics[y].value, **style, **label)
    if x in row.metrics and x == "recall" and math.isfinite(row.metrics[x].value):
        axis.axvline(row.metrics[x].value, **style)


def _log_needed(group: Group, metric: str) -> bool:
    rows = group.rows
    values = [row.metrics[metric].value for row in rows if metric in row.metrics]
    values = [value for value in values if math.isfinite(value)]
    return min(values) > 0 and max(values) > LOG_RATIO * min(values)


def _label_points(axis: Any, group: Group, x: str, y: str) -> None:
    """w beside the points: ends first, then what finds room."""
    taken: list[tuple[float, float]] = []
    curves = [curve.points(x, y) for curve in group.curves]
    ends = [point for points in curves for point in (points[:1] + points[1:][-1:])]
    rest = [point for points in curves for point in points[1:-1]]
    axis.autoscale_view()
    for w, *at in ends + rest:
        place = at[0].value, at[1].value
        px, py = axis.transData.transform(place) * 72 / axis.figure.dpi
        if any(abs(px - qx) < LABEL_GAP[0] and abs(py - qy) < LABEL_GAP[1] for qx, qy in taken):
            continue
        taken.append((px, py))
        offset = {"xytext": (4, 3), "textcoords": "offset points"}
        axis.annotate(f"{w:g}", place, **offset, fontsize=8, color=INK)
