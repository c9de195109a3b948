"""The curves of training: every number of a run's logs over its steps."""

import math
from collections.abc import Sequence
from typing import Any

from pilotage.report.figures import SERIES, Panel, legend_name, log_ticks
from pilotage.report.read import Source

LOSSES = ("loss", "simple", "vlb", "cross_entropy", "generator_loss", "discriminator_loss")
NORMS = ("grad_norm", "generator_grad_norm", "discriminator_grad_norm")
SMOOTHED = (*LOSSES, "accuracy", *NORMS)


def smoothed(values: list[float], window: float) -> list[float]:
    """Exponential mean over about that many values, without a bias at the start."""
    decay = 1 - 1 / max(1.0, window)
    mean, weight, result = 0.0, 0.0, []
    for value in values:
        mean, weight = decay * mean + (1 - decay) * value, decay * weight + (1 - decay)
        result.append(mean / weight)
    return result


def training_panels(sources: Sequence[Source]) -> list[Panel]:
    """Losses first, smoothed and logarithmic, then every other number of ``metrics.jsonl``."""
    runs = {source.label: _training(source) for source in sources}
    keys = _keys(runs)
    first = [key for key in (*LOSSES, "accuracy", *NORMS, "learning_rate") if key in keys]
    rest = [key for key in keys if key not in first]
    return [_series_panel(runs, key, smooth=key in SMOOTHED) for key in first + rest]


def _training(source: Source) -> list[dict[str, Any]]:
    """The lines, a loss that is no denoiser's named so that it shares no axis with one."""
    names = {}
    if source.classifies:
        names = {"loss": "cross_entropy"}
    elif any("discriminator_loss" in line for line in source.training):
        names = {"loss": "generator_loss", "grad_norm": "generator_grad_norm"}
    return [{names.get(key, key): value for key, value in line.items()} for line in source.training]


def health_panels(sources: Sequence[Source]) -> list[Panel]:
    """Every number of ``health.jsonl``."""
    runs = {source.label: source.health for source in sources}
    return [_series_panel(runs, key, smooth=False) for key in _keys(runs)]


def _keys(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    seen = {}
    for lines in runs.values():
        for line in lines:
            seen |= {k: None for k, v in line.items() if k != "step" and scalar(v) is not None}
    return list(seen)


def scalar(value: Any) -> float | None:
    """A finite number; of a list or an object of numbers the one furthest from zero."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        found = [x for x in map(scalar, parts) if x is not None]
        return max(found, key=abs, default=None)
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if usable and math.isfinite(value) else None


def _series_panel(runs: dict[str, list[dict[str, Any]]], key: str, smooth: bool) -> Panel:
    name = key.replace("_", " ")

    def draw(axis: Any) -> None:
        lowest = math.inf
        for k, (label, lines) in enumerate(runs.items()):
            points = [(line["step"], scalar(line.get(key))) for line in lines]
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
                steps, values, color=colour, marker=marker, markersize=3, label=legend_name(label)
            )
        if key in LOSSES and 0 < lowest < math.inf:
            axis.set_yscale("log")
            log_ticks(axis.yaxis)
        else:
            axis.locator_params(axis="y", nbins=5)
        axis.set(title=f"{name} (smoothed)" if smooth else name, xlabel="step")

    return Panel(name, draw)
