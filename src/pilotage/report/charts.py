"""The charts of a sweep: trade-off curves with the floor, labelled with w."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pilotage.report.figures import (
    DASHES,
    MARKERS,
    MUTED,
    PAPER,
    SERIES,
    Panel,
    draw_measures,
    legend_name,
    log_if_wide,
    name_point,
)
from pilotage.report.grouping import Curve, Group
from pilotage.report.names import with_arrow
from pilotage.report.rows import GUIDANCE_KINDS, Row
from pilotage.report.tables import floor_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABEL_GAP = (18, 9)  # points that a label keeps clear, in x and y
LOG_RATIO = 20


def sweep_panels(group: Group) -> list[Panel]:
    """Figure 4 of 2207.12598 and its like; those whose metrics were measured."""
    panels = [
        _panel(group, x, y, group.curves)
        for x, y in (("inception_score", "frechet"), ("recall", "precision"))
        if any(curve.rows_with(x, y) for curve in group.curves)
    ]
    for metric in ("frechet", "inception_score"):
        panels += over_w(group, metric, group.curves)
    return panels


def over_w(group: Group, metric: str, curves: Sequence[Curve]) -> list[Panel]:
    """A metric over w, for each kind of guidance: strengths of two kinds share no axis.

    A single w makes no curve, and no panel.
    """
    found = [[curve for curve in curves if curve.kind == kind] for kind in _kinds_of(group)]
    shown = [part for part in found if any(len(curve.points(metric)) > 1 for curve in part)]
    return [_panel(group, "w", metric, part) for part in shown]


def _kinds_of(group: Group) -> list[str]:
    """The kinds of guidance that occur."""
    return [kind for kind in GUIDANCE_KINDS if any(curve.kind == kind for curve in group.curves)]


def charts_caption(group: Group) -> str:
    """How to read the charts."""
    said = "Points are labelled with w, bars are one standard error."
    if len(_kinds_of(group)) > 1:
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
        names["w"] = f"w, {curves[0].kind}" if len(_kinds_of(group)) > 1 else "w"
        name = f"{plain[1]} over {names['w']}"

    def draw(axis: "Axes") -> None:
        for curve in curves:
            _draw_curve(axis, group, curve, x, y)
        _draw_images(axis, group.images, x, y)
        _draw_baselines(axis, group.baselines, x, y)
        log_if_wide(axis, (row.measure(y).value for row in group.rows), LOG_RATIO)
        for k, floor in enumerate(group.floors):
            _draw_floor(axis, floor, x, y, named=k == 0)
        axis.set(title=name, xlabel=names[x], ylabel=names[y])
        axis.margins(0.07)
        if x != "w":
            _label_points(axis, group, x, y)

    return Panel(name, draw)


def _draw_curve(axis: "Axes", group: Group, curve: Curve, x: str, y: str) -> None:
    rows = curve.rows_with(y) if x == "w" else curve.rows_with(x, y)
    if not rows:
        return
    look = _look(group, curve)
    places = [row.w for row in rows]
    if x != "w":
        places = [row.metrics[x].value for row in rows]
        look["xerr"] = [row.metrics[x].bar for row in rows]
    draw_measures(axis, places, [row.metrics[y] for row in rows], curve.label, **look)


def _look(group: Group, curve: Curve) -> dict[str, Any]:
    """Colour by model, dashes by steps (most steps solid) and kind of guidance, marker by variant.

    Of a single model, colour by steps and guidance. A classifier's points are hollow.
    """
    models, kinds, guidances = list(group.models), _kinds_of(group), group.guidances
    if len(models) > 1:
        colour = models.index(curve.model)
        dash = _place(group, curve, lambda c: (-c.steps, kinds.index(c.kind)))
    else:
        colour = _place(group, curve, lambda c: (guidances.index(c.guidance_name), -c.steps))
        dash = kinds.index(curve.kind)
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


def _draw_images(axis: "Axes", rows: Iterable[Row], x: str, y: str) -> None:
    for k, row in enumerate(rows):
        if x in row.metrics and y in row.metrics:
            _star(axis, row, x, y, color=SERIES[-1 - k % 2], label=legend_name(row.name))


def _draw_baselines(axis: "Axes", rows: Iterable[Row], x: str, y: str) -> None:
    """A line across w, else a star."""
    for row in rows:
        look: dict[str, Any] = {"label": floor_name(row), "color": MUTED}
        if x == "w" and y in row.metrics:
            axis.axhline(row.metrics[y].value, linestyle=":", linewidth=1.2, **look)
        elif x in row.metrics and y in row.metrics:
            _star(axis, row, x, y, **look)


def _star(axis: "Axes", row: Row, x: str, y: str, **look: Any) -> None:
    axis.plot(row.metrics[x].value, row.metrics[y].value, "*", markersize=8, **look)


def _draw_floor(axis: "Axes", row: Row, x: str, y: str, named: bool) -> None:
    style: dict[str, Any] = {"color": MUTED, "linestyle": (0, (4, 3)), "linewidth": 1}
    label = f"real against real (n = {row.n})" if named else None
    if math.isfinite(row.measure(y).value):
        axis.axhline(row.measure(y).value, **style, label=label)
    if x == "recall" and math.isfinite(row.measure(x).value):
        axis.axvline(row.measure(x).value, **style)


def _label_points(axis: "Axes", group: Group, x: str, y: str) -> None:
    """Write w at the points: ends first, then what finds room."""
    taken: list[tuple[float, float]] = []
    curves = [curve.rows_with(x, y) for curve in group.curves]
    ends = [row for rows in curves for row in (rows[:1] + rows[1:][-1:])]
    rest = [row for rows in curves for row in rows[1:-1]]
    axis.autoscale_view()
    for row in ends + rest:
        place = row.metrics[x].value, row.metrics[y].value
        px, py = axis.transData.transform(place) * 72 / axis.figure.dpi
        if any(abs(px - qx) < LABEL_GAP[0] and abs(py - qy) < LABEL_GAP[1] for qx, qy in taken):
            continue
        taken.append((px, py))
        name_point(axis, f"{row.w:g}", place, 3)
