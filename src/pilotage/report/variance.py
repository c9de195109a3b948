"""How much the diffusion term of the bound varies from step to step, over training."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pilotage.report.figures import SERIES, Panel, legend_name
from pilotage.report.read import Source
from pilotage.report.series import scalar

NAME = "variance of the diffusion term over training"
WINDOW, LEAST = 101, 21
VARIANCE_CAPTION = (
    "Variance of the diffusion term in the training log, a mean over a batch, around its running "
    f"mean; both over {WINDOW} logged lines, or a third of a shorter log. It tells something only "
    "where a logged line is one step (log_every 1), and compares runs of one batch size: a line "
    "that is the mean of several steps varies less."
)


def variance_panel(sources: Sequence[Source]) -> Panel | None:
    """A curve per run with that term in its log; None without any."""
    curves = [(k, source.label, _variance(source)) for k, source in enumerate(sources)]
    curves = [(k, label, found) for k, label, found in curves if found]
    if not curves:
        return None

    def draw(axis: Any) -> None:
        for k, label, (steps, values) in curves:
            axis.plot(steps, values, color=SERIES[k % len(SERIES)], label=legend_name(label))
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.yaxis.set_minor_formatter(lambda *_: "")
        axis.set(title=NAME, xlabel="step", ylabel="(bits per dimension)²")

    return Panel(NAME, draw)


def _variance(source: Source) -> tuple[np.ndarray, np.ndarray] | None:
    found = [(line["step"], scalar(line.get("diffusion"))) for line in source.training]
    found = [point for point in found if point[1] is not None]
    window = min(WINDOW, len(found) // 3)
    window -= 1 - window % 2
    if window < LEAST:
        return None
    steps, nats = np.array(found, dtype=float).T
    values = moving_variance(nats / (source.dimensions * math.log(2)), window)
    steps = steps[window - 1 : len(steps) - window + 1]
    return (steps[values > 0], values[values > 0]) if (values > 0).any() else None


def moving_variance(values: np.ndarray, window: int) -> np.ndarray:
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
