"""Curves of training: numbers of the logs over steps, and a classifier's over noise levels."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pilotage.report.figures import MUTED, SERIES, Panel, legend_name, log_y
from pilotage.report.names import spoken
from pilotage.report.read import Source
from pilotage.report.tables import Line, Number, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Logs = dict[str, list[dict[str, Any]]]  # lines by run
    Values = np.ndarray[tuple[int], np.dtype[np.float64]]

LOSSES = ("loss", "simple", "vlb", "cross_entropy", "generator_loss", "discriminator_loss")
NORMS = ("grad_norm", "generator_grad_norm", "discriminator_grad_norm")
SMOOTHED = (*LOSSES, "accuracy", *NORMS)

VARIANCE = "variance of the diffusion term over training"
WINDOW, LEAST = 101, 21
VARIANCE_CAPTION = (
    "Variance of the diffusion term in the training log, a mean over a batch, around its running "
    f"mean; both over {WINDOW} logged lines, or a third of a shorter log. It tells something only "
    "where a logged line is one step (log_every 1), and compares runs of one batch size: a line "
    "that is the mean of several steps varies less."
)

DRAWN = {"accuracy": "o-", "confidence": "s--", "calibration_error": "^:"}
SHOWN = {
    "accuracy": "accuracy ↑",
    "confidence": "confidence",
    "calibration_error": "calibration error ↓",
    "log_loss": "log loss ↓",
}
LEVELS_CAPTION = (
    "lam is the log signal-to-noise ratio: noise on the left, clean images on the right. "
    "Confidence is the mean probability of the likeliest class, the calibration error its mean "
    "distance from the accuracy, over bins of confidence."
)


def training_panels(sources: Sequence[Source]) -> list[Panel]:
    """Losses first, smoothed and logarithmic, then every other number of ``metrics.jsonl``."""
    runs = {source.label: _training(source) for source in sources}
    keys = _keys(runs)
    first = [key for key in (*LOSSES, "accuracy", *NORMS, "learning_rate") if key in keys]
    rest = [key for key in keys if key not in first]
    return [_series_panel(runs, key, smooth=key in SMOOTHED) for key in first + rest]


def health_panels(sources: Sequence[Source]) -> list[Panel]:
    """Every number of ``health.jsonl``."""
    runs = {source.label: source.health for source in sources}
    return [_series_panel(runs, key, smooth=False) for key in _keys(runs)]


def _training(source: Source) -> list[dict[str, Any]]:
    """The lines, a loss that is no denoiser's named so that it shares no axis with one."""
    names = {}
    if source.classifies:
        names = {"loss": "cross_entropy"}
    elif any("discriminator_loss" in line for line in source.training):
        names = {"loss": "generator_loss", "grad_norm": "generator_grad_norm"}
    return [{names.get(key, key): value for key, value in line.items()} for line in source.training]


def _keys(runs: "Logs") -> list[str]:
    lines = [line for own in runs.values() for line in own]
    found = [k for line in lines for k, v in line.items() if k != "step" and scalar(v) is not None]
    return list(dict.fromkeys(found))


def scalar(value: Any) -> float | None:
    """A finite number; of a list or an object of numbers the one furthest from zero."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        found = [x for x in map(scalar, parts) if x is not None]
        return max(found, key=abs, default=None)
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if usable and math.isfinite(value) else None


def _points(lines: list[dict[str, Any]], key: str) -> tuple[list[float], list[float]]:
    """The steps at which there is such a number, and the numbers."""
    found = [(line["step"], scalar(line.get(key))) for line in lines]
    points = [(step, value) for step, value in found if value is not None]
    return [step for step, _ in points], [value for _, value in points]


def smoothed(values: list[float], window: float) -> list[float]:
    """Exponential mean over about that many values, without a bias at the start."""
    decay = 1 - 1 / max(1.0, window)
    mean, weight, result = 0.0, 0.0, []
    for value in values:
        mean, weight = decay * mean + (1 - decay) * value, decay * weight + (1 - decay)
        result.append(mean / weight)
    return result


def _series_panel(runs: "Logs", key: str, smooth: bool) -> Panel:
    name = key.replace("_", " ")

    def draw(axis: "Axes") -> None:
        lowest = math.inf
        for k, (label, lines) in enumerate(runs.items()):
            steps, values = _points(lines, key)
            if not steps:
                continue
            look: dict[str, Any] = {"color": SERIES[k % len(SERIES)]}
            lowest = min(lowest, *values)
            if smooth:
                axis.plot(steps, values, **look, linewidth=0.6, alpha=0.25)
                values = smoothed(values, len(values) / 40)
            look["marker"] = "o" if len(values) < 15 else None
            axis.plot(steps, values, **look, markersize=3, label=legend_name(label))
        if key in LOSSES and 0 < lowest < math.inf:
            log_y(axis)
        else:
            axis.locator_params(axis="y", nbins=5)
        axis.set(title=f"{name} (smoothed)" if smooth else name, xlabel="step")

    return Panel(name, draw)


def variance_panel(sources: Sequence[Source]) -> Panel | None:
    """How much the diffusion term of the bound varies from step to step, over training.

    A curve per run with that term in its log; None without any.
    """
    found = [(k, source.label, _variance(source)) for k, source in enumerate(sources)]
    curves = [(k, label, curve) for k, label, curve in found if curve]
    if not curves:
        return None

    def draw(axis: "Axes") -> None:
        for k, label, curve in curves:
            axis.plot(*curve, color=SERIES[k % len(SERIES)], label=legend_name(label))
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.yaxis.set_minor_formatter(lambda *_: "")
        axis.set(title=VARIANCE, xlabel="step", ylabel="(bits per dimension)²")

    return Panel(VARIANCE, draw)


def _variance(source: Source) -> "tuple[Values, Values] | None":
    """Steps, and the variance there in (bits per dimension)²."""
    steps, nats = (
        np.array(column, dtype=float) for column in _points(source.training, "diffusion")
    )
    window = min(WINDOW, len(steps) // 3)
    window -= 1 - window % 2
    if window < LEAST:
        return None
    values = moving_variance(nats / (source.dimensions * math.log(2)), window)
    steps = steps[window - 1 : len(steps) - window + 1]
    return (steps[values > 0], values[values > 0]) if (values > 0).any() else None


def moving_variance(values: "Values", window: int) -> "Values":
    """Variance around the running mean, over windows of an odd number of values.

    Without a bias where a trend is linear: the middle of a window is part of its mean, so that
    the residuals of independent values have 1 − 1/window of their variance.

    Args:
        values: one per step.
        window: odd.

    Returns:
        window − 1 values fewer at each end.
    """
    weights = np.full(window, 1 / window)
    half = window // 2
    residuals = values[half : len(values) - half] - np.convolve(values, weights, "valid")
    return np.convolve(residuals**2, weights, "valid") * window / (window - 1)


def level_panels(sources: Sequence[Source]) -> list[Panel]:
    """Accuracy and calibration by noise level: a chart per classifier, of its newest levels."""
    shown = _with_levels(sources)
    return [_levels_panel(source, named=len(shown) > 1) for source in shown]


def level_tables(sources: Sequence[Source]) -> list[Table]:
    """The same as numbers, with the log loss."""
    return [_levels_table(source) for source in _with_levels(sources)]


def _with_levels(sources: Sequence[Source]) -> list[Source]:
    return [source for source in sources if source.classifies and source.levels]


def _levels_panel(source: Source, named: bool) -> Panel:
    name = "accuracy and calibration by noise level"
    title = f"{name}\n{source.label}" if named else name

    def draw(axis: "Axes") -> None:
        levels = source.levels[-1].levels
        lams = [level.lam for level in levels]
        for k, (field, look) in enumerate(DRAWN.items()):
            values = [getattr(level, field) for level in levels]
            axis.plot(lams, values, look, color=SERIES[k], label=spoken(field))
        if source.classes:
            axis.axhline(1 / source.classes, color=MUTED, linewidth=1, label="chance")
        axis.set(title=title, xlabel="lam", ylim=(0, 1.03))

    return Panel(title.replace("\n", ", "), draw)


def _levels_table(source: Source) -> Table:
    newest = source.levels[-1]
    chance = f"; chance is {1 / source.classes:.3g}" if source.classes else ""
    caption = f"{source.label} at step {newest.step}, on {newest.images} images{chance}."
    lines = [
        Line.of(f"{level.lam:.3g}", [Number(f"{getattr(level, field):.3f}") for field in SHOWN])
        for level in newest.levels
    ]
    return Table(caption, "lam", tuple(SHOWN.values()), tuple(lines))
