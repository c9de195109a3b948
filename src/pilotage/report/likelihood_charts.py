"""Bits per dimension over T, with lossless codecs beside."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pilotage.report.bounds import Bound
from pilotage.report.charts import DASHES, MARKERS
from pilotage.report.figures import MUTED, SERIES, Panel, legend_name, log_ticks
from pilotage.report.likelihood_table import Coded

NAME = "bits per dimension over T"
CODEC_DASHES = ((0, (6, 2)), (0, (3, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
BEYOND = 10  # inf stands where this many times the largest T would
FEW = 6
LOG_RATIO = 4


class Curve(NamedTuple):
    """A model over T.

    Attributes:
        place: among the curves of its run.
        bounds: one for each T, in order.
    """

    run: str
    label: str
    place: int
    bounds: tuple[Bound, ...]


def bound_panels(images: Sequence[Coded], runs: Sequence[str]) -> list[Panel]:
    """A chart for the images of each table."""
    return [_panel(coded, runs, named=len(images) > 1) for coded in images]


def bound_caption(images: Sequence[Coded]) -> str:
    """How to read the charts."""
    said = "Bars are one standard error; inf is continuous time."
    if any(_crowded(coded) for coded in images):
        said += " Where a curve has several rows of one T, that with the most evaluations is drawn."
    if any(coded.codecs for coded in images):
        said += " Grey dashes: lossless codecs on the same images."
    return said


def _crowded(coded: Coded) -> bool:
    return sum(len(curve.bounds) for curve in _curves(coded)) < len(coded.bounds)


def _curves(coded: Coded) -> list[Curve]:
    found: dict[str, dict[tuple[str, ...], list[Bound]]] = {}
    for bound in coded.bounds:
        found.setdefault(bound.run, {}).setdefault(_words(bound), []).append(bound)
    return [
        Curve(run, _label(run, words, own), place, _one_per_t(bounds))
        for run, own in found.items()
        for place, (words, bounds) in enumerate(own.items())
    ]


def _words(bound: Bound) -> tuple[str, ...]:
    """What tells the curves of a run apart."""
    return (
        "unconditional" if bound.unconditional else "conditional",
        "averaged weights" if bound.weights == "ema" else "latest weights",
        "its own v" if bound.v is None else f"v = {bound.v:g}",
        f"step {bound.training_step}",
    )


def _label(run: str, words: tuple[str, ...], others: Iterable[tuple[str, ...]]) -> str:
    columns = zip(*others, strict=True)
    told = [w for w, column in zip(words, columns, strict=True) if len(set(column)) > 1]
    return ", ".join([run, *told])


def _one_per_t(bounds: list[Bound]) -> tuple[Bound, ...]:
    """The last of those with the most evaluations."""
    ordered = sorted(bounds, key=lambda bound: (bound.steps, bound.evaluations))
    return tuple({bound.steps: bound for bound in ordered}.values())


def _panel(coded: Coded, runs: Sequence[str], named: bool) -> Panel:
    title = f"{NAME}\n{coded.short}" if named else NAME

    def draw(axis: Any) -> None:
        curves = _curves(coded)
        finite = sorted({b.steps for b in coded.bounds if math.isfinite(b.steps)})
        end = BEYOND * finite[-1] if finite else 1.0
        for curve in curves:
            _draw_curve(axis, curve, SERIES[runs.index(curve.run) % len(SERIES)], end)
        for k, (name, bits) in enumerate(coded.codecs.items()):
            dash = CODEC_DASHES[k % len(CODEC_DASHES)]
            axis.axhline(bits, color=MUTED, linewidth=1, linestyle=dash, label=legend_name(name))
        _t_axis(axis, finite, end, any(math.isinf(b.steps) for b in coded.bounds))
        if _log_needed(b.total.value for curve in curves for b in curve.bounds):
            axis.set_yscale("log")
            log_ticks(axis.yaxis)
        axis.set(title=title, xlabel="T", ylabel="bits per dimension ↓")

    return Panel(title.replace("\n", ", "), draw)


def _draw_curve(axis: Any, curve: Curve, colour: str, end: float) -> None:
    points = [(min(b.steps, end), *b.total) for b in curve.bounds if math.isfinite(b.total.value)]
    if not points:
        return
    steps, values, errors = zip(*points, strict=True)
    axis.errorbar(
        steps,
        values,
        yerr=[error if error > 0 else 0 for error in errors],
        color=colour,
        linestyle=DASHES[curve.place % len(DASHES)],
        marker=MARKERS[curve.place % len(MARKERS)],
        elinewidth=0.9,
        capsize=2.5,
        label=legend_name(curve.label),
    )


def _t_axis(axis: Any, finite: list[float], end: float, endless: bool) -> None:
    """Logarithmic, with the T that were asked for, or powers of ten where these are many."""
    axis.set_xscale("log")
    ticks = finite
    if len(finite) > FEW:
        powers = (10**k for k in range(10))
        ticks = [power for power in powers if finite[0] <= power <= finite[-1]]
    marks = [(tick, f"{tick:g}") for tick in ticks] + [(end, "inf")] * endless
    axis.set_xticks([at for at, _ in marks], [text for _, text in marks])
    axis.set_xticks([], minor=True)
    places = [at for at, _ in marks] + finite
    axis.set_xlim(min(places) / 1.6, max(places) * 1.6)


def _log_needed(values: Iterable[float]) -> bool:
    values = [value for value in values if math.isfinite(value)]
    return bool(values) and min(values) > 0 and max(values) > LOG_RATIO * min(values)
