"""What images cost: bits per dimension by model and T, as tables and as charts."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pilotage.report.figures import (
    DASHES,
    MARKERS,
    MUTED,
    SERIES,
    Panel,
    draw_measures,
    legend_name,
    log_if_wide,
)
from pilotage.report.names import decimals, listed, number_text, spoken
from pilotage.report.read import PARTS, Bound, Source
from pilotage.report.tables import Line, Number, Table, printed
from pilotage.report.training_curves import VARIANCE_CAPTION, variance_panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = (f"{spoken(PARTS[0])} ↓", *PARTS[1:], "evaluations", "seed", "training step")
MEANING = (
    "Bits per dimension: an upper bound of −log₂ p per dimension, mean over the images ± one "
    "standard error; lower is better. They are the sum of prior, reconstruction and diffusion. "
    "T is the number of steps of the bound, inf is continuous time. Evaluations: network calls "
    "per image that estimate diffusion."
)
NAME = "bits per dimension over T"
CODEC_DASHES = ((0, (6, 2)), (0, (3, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
BEYOND = 10  # inf stands where this many times the largest T would
FEW = 6
LOG_RATIO = 4


class Coded(NamedTuple):
    """The same images, coded by models and codecs: bounds that can be compared.

    Attributes:
        data: how they were called.
        bounds: the newest of each key, by run in the order given.
        codecs: bits per dimension of each, the newest.
    """

    hash: str
    n: int
    data: str
    bounds: tuple[Bound, ...]
    codecs: dict[str, float]

    @property
    def name(self) -> str:
        """The images in words."""
        return f"{self.data or 'data'} ({self.short})"

    @property
    def short(self) -> str:
        """What tells them from others."""
        return f"n = {self.n}, hash {self.hash[:12]}"


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


class Likelihoods(NamedTuple):
    """The section.

    Attributes:
        images: what the tables are about, one each.
        figures: name, panels and caption of each.
    """

    images: list[Coded]
    tables: list[Table]
    figures: list[tuple[str, list[Panel], str]]

    @property
    def panels(self) -> list[Panel]:
        """Those of all figures."""
        return [panel for _, panels, _ in self.figures for panel in panels]


def likelihoods(sources: Sequence[Source]) -> Likelihoods | None:
    """All of the section; None where no run has a likelihood."""
    images = coded_images(sources)
    if not images:
        return None
    runs = [source.label for source in sources]
    figures = [("Over T", bound_panels(images, runs), bound_caption(images))]
    variance = variance_panel(sources)
    if variance:
        figures.append(("Variance over training", [variance], VARIANCE_CAPTION))
    return Likelihoods(images, [_table(coded) for coded in images], figures)


def coded_images(sources: Sequence[Source]) -> list[Coded]:
    """Each data and number of images by itself."""
    found: dict[tuple[str, int], list[Bound]] = {}
    for source in sources:
        for bound in source.bounds:
            found.setdefault((bound.hash, bound.n), []).append(bound)
    return [_coded(*key, bounds) for key, bounds in found.items()]


def _coded(images: str, n: int, bounds: list[Bound]) -> Coded:
    codecs = {name: bits for bound in bounds for name, bits in bound.codecs.items()}
    data = listed(dict.fromkeys(bound.data for bound in bounds if bound.data))
    newest = {bound.key: bound for bound in bounds}
    return Coded(images, n, data, tuple(newest.values()), codecs)


def _table(coded: Coded) -> Table:
    digits = {part: decimals(bound.measures[part] for bound in coded.bounds) for part in PARTS}
    models: dict[tuple[Any, ...], list[Bound]] = {}
    for bound in coded.bounds:
        key = bound.run, bound.unconditional, bound.weights, bound.v
        models.setdefault(key, []).append(bound)
    lines = []
    for bounds in models.values():
        lines.append(Line(_title(bounds[0]), kind="title"))
        lines += [_line(bound, digits) for bound in sorted(bounds, key=_order)]
    lines += [_codec(name, bits, digits[PARTS[0]]) for name, bits in coded.codecs.items()]
    said = f"Held-out images of {coded.name}. {MEANING}"
    if coded.codecs:
        said += " At the end: lossless codecs, on the same images."
    return Table(said, "T", COLUMNS, tuple(lines))


def _title(bound: Bound) -> str:
    parts = [bound.run, "unconditional" if bound.unconditional else "conditional"]
    parts += ["latest weights"] if bound.weights == "model" else []
    parts += [f"v = {bound.v:g}"] if bound.v is not None else []
    return ", ".join(parts)


def _order(bound: Bound) -> tuple[float, ...]:
    return bound.steps, bound.training_step, bound.evaluations, bound.seed


def _line(bound: Bound, digits: dict[str, int]) -> Line:
    numbers = [printed(bound.measures[part], digits[part]) for part in PARTS]
    counts = (bound.evaluations, bound.seed, bound.training_step)
    numbers += [Number(str(count)) for count in counts]
    steps = "inf" if math.isinf(bound.steps) else f"{bound.steps:.0f}"
    return Line.of(steps, numbers)


def _codec(name: str, bits: float, digits: int) -> Line:
    nothing = [Number("")] * (len(COLUMNS) - 1)
    return Line.of(name, [Number(number_text(bits, digits)), *nothing], "floor")


def bound_panels(images: Sequence[Coded], runs: Sequence[str]) -> list[Panel]:
    """A chart for the images of each table."""
    return [_panel(coded, runs, named=len(images) > 1) for coded in images]


def bound_caption(images: Sequence[Coded]) -> str:
    """How to read the charts."""
    said = "Bars are one standard error; inf is continuous time."
    if any(sum(len(c.bounds) for c in _curves(coded)) < len(coded.bounds) for coded in images):
        said += " Where a curve has several rows of one T, that with the most evaluations is drawn."
    if any(coded.codecs for coded in images):
        said += " Grey dashes: lossless codecs on the same images."
    return said


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
    different = [w for w, column in zip(words, columns, strict=True) if len(set(column)) > 1]
    return ", ".join([run, *different])


def _one_per_t(bounds: list[Bound]) -> tuple[Bound, ...]:
    """The last of those with the most evaluations."""
    ordered = sorted(bounds, key=lambda bound: (bound.steps, bound.evaluations))
    return tuple({bound.steps: bound for bound in ordered}.values())


def _panel(coded: Coded, runs: Sequence[str], named: bool) -> Panel:
    title = f"{NAME}\n{coded.short}" if named else NAME

    def draw(axis: "Axes") -> None:
        curves = _curves(coded)
        finite = sorted({b.steps for b in coded.bounds if math.isfinite(b.steps)})
        end = BEYOND * finite[-1] if finite else 1.0
        for curve in curves:
            _draw_curve(axis, curve, SERIES[runs.index(curve.run) % len(SERIES)], end)
        for k, (name, bits) in enumerate(coded.codecs.items()):
            dash = CODEC_DASHES[k % len(CODEC_DASHES)]
            axis.axhline(bits, color=MUTED, linewidth=1, linestyle=dash, label=legend_name(name))
        _t_axis(axis, finite, end, any(math.isinf(b.steps) for b in coded.bounds))
        log_if_wide(axis, (b.total.value for curve in curves for b in curve.bounds), LOG_RATIO)
        axis.set(title=title, xlabel="T", ylabel="bits per dimension ↓")

    return Panel(title.replace("\n", ", "), draw)


def _draw_curve(axis: "Axes", curve: Curve, colour: str, end: float) -> None:
    bounds = [bound for bound in curve.bounds if math.isfinite(bound.total.value)]
    if not bounds:
        return
    draw_measures(
        axis,
        [min(bound.steps, end) for bound in bounds],
        [bound.total for bound in bounds],
        curve.label,
        color=colour,
        linestyle=DASHES[curve.place % len(DASHES)],
        marker=MARKERS[curve.place % len(MARKERS)],
        elinewidth=0.9,
        capsize=2.5,
    )


def _t_axis(axis: "Axes", finite: list[float], end: float, endless: bool) -> None:
    """Logarithmic, with the T that were measured, or powers of ten where these are many."""
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
