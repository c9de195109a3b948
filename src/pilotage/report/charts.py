"""The charts of a sweep: trade-off curves with the floor, labelled with w."""

import math
from collections.abc import Iterable
from typing import Any

from pilotage.report.arrange import Curve, Group
from pilotage.report.figures import INK, MUTED, SERIES, Panel
from pilotage.report.names import with_arrow
from pilotage.report.read import Row

DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1, 1.5)))
MARKERS = ("o", "s", "^", "D")
LABEL_GAP = (18, 9)  # points that a label keeps clear, in x and y
LOG_RATIO = 20


def sweep_panels(group: Group) -> list[Panel]:
    """Figure 4 of 2207.12598 and its like; those whose metrics were measured."""
    wanted = [
        ("inception_score", "frechet"),
        ("recall", "precision"),
        ("w", "frechet"),
        ("w", "inception_score"),
    ]
    panels = []
    for x, y in wanted:
        metrics = [m for m in (x, y) if m != "w"]
        if any(curve.points(*metrics) for curve in group.curves):
            panels.append(_panel(group, x, y))
    return panels


def _panel(group: Group, x: str, y: str) -> Panel:
    names = {m: m if m == "w" else with_arrow(m, group.extractor) for m in (x, y)}
    plain = [names[m].rstrip(" ↑↓") for m in (x, y)]
    name = f"{plain[1]} over w" if x == "w" else f"{plain[1]} against {plain[0]}"

    def draw(axis: Any) -> None:
        for curve in group.curves:
            _draw_curve(axis, group, curve, x, y)
        _draw_images(axis, group.images, x, y)
        if _log_needed(group, y):
            axis.set_yscale("log")
            _log_ticks(axis.yaxis)
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
        label=_legend_name(curve.label),
    )


def _legend_name(label: str) -> str:
    """Matplotlib keeps names that begin with an underscore out of legends."""
    return f" {label}" if label.startswith("_") else label


def _look(group: Group, curve: Curve) -> dict[str, Any]:
    """Colour by model, dashes by steps (most steps solid), marker by sampler."""
    steps = sorted({c.steps for c in group.curves}, reverse=True)
    models = list(group.models)
    if len(models) > 1:
        colour, dash = models.index(curve.model), steps.index(curve.steps)
    else:
        colour, dash = steps.index(curve.steps), 0
    marker = group.variants.index(curve.variant)
    return {
        "color": SERIES[colour % len(SERIES)],
        "linestyle": DASHES[dash % len(DASHES)],
        "marker": MARKERS[marker % len(MARKERS)],
    }


def _draw_images(axis: Any, rows: Iterable[Row], x: str, y: str) -> None:
    for k, row in enumerate(rows):
        if x in row.metrics and y in row.metrics:
            at = row.metrics[x].value, row.metrics[y].value
            axis.plot(
                *at, "*", color=SERIES[-1 - k % 2], markersize=8, label=_legend_name(row.name)
            )


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


def _plain_ticks(side: Any) -> None:
    side.set_major_formatter(lambda value, _: f"{value:g}")
    side.set_minor_formatter(lambda *_: "")


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


def smoothed(values: list[float], window: float) -> list[float]:
    """Exponential mean over about that many values, without a bias at the start."""
    decay = 1 - 1 / max(1.0, window)
    mean, weight, result = 0.0, 0.0, []
    for value in values:
        mean, weight = decay * mean + (1 - decay) * value, decay * weight + (1 - decay)
        result.append(mean / weight)
    return result


def training_panels(runs: dict[str, list[dict[str, Any]]]) -> list[Panel]:
    """Loss first, smoothed and logarithmic, then every other number of ``metrics.jsonl``."""
    keys = _keys(runs)
    first = [key for key in ("loss", "grad_norm", "learning_rate") if key in keys]
    rest = [key for key in keys if key not in first]
    return [_series_panel(runs, key, smooth=key in ("loss", "grad_norm")) for key in first + rest]


def health_panels(runs: dict[str, list[dict[str, Any]]]) -> list[Panel]:
    """Every number of ``health.jsonl``."""
    return [_series_panel(runs, key, smooth=False) for key in _keys(runs)]


def _keys(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    seen = {}
    for lines in runs.values():
        for line in lines:
            seen |= {k: None for k, v in line.items() if k != "step" and _scalar(v) is not None}
    return list(seen)


def _scalar(value: Any) -> float | None:
    """A finite number; of a list or an object of numbers the one furthest from zero."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        found = [x for x in map(_scalar, parts) if x is not None]
        return max(found, key=abs, default=None)
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if usable and math.isfinite(value) else None


def _series_panel(runs: dict[str, list[dict[str, Any]]], key: str, smooth: bool) -> Panel:
    name = key.replace("_", " ")

    def draw(axis: Any) -> None:
        lowest = math.inf
        for k, (label, lines) in enumerate(runs.items()):
            points = [(line["step"], _scalar(line.get(key))) for line in lines]
            points = [point for point in points if point[1] is not None]
            if not points:
                continue
            steps, values = map(list, zip(*points, strict=True))
            colour = SERIES[k % len(SERIES)]
            lowest = min(lowest, *values)
            if smooth:
                axis.plot(steps, values, color=colour, linewidth=0.6, alpha=0.25)
                values = smoothed(values, len(values) / 40)
            marker = "o" if len(values) < 15 else None
            axis.plot(
                steps, values, color=colour, marker=marker, markersize=3, label=_legend_name(label)
            )
        if key == "loss" and lowest > 0:
            axis.set_yscale("log")
            _log_ticks(axis.yaxis)
        else:
            axis.locator_params(axis="y", nbins=5)
        axis.set(title=f"{name} (smoothed)" if smooth else name, xlabel="step")

    return Panel(name, draw)


def _log_ticks(side: Any) -> None:
    """Labels at 1, 2 and 5 of each decade, so that a short range has some too."""
    from matplotlib.ticker import LogLocator

    side.set_major_locator(LogLocator(subs=(1, 2, 5)))
    _plain_ticks(side)
