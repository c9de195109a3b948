"""How numbers are called and written: only the standard Inception's distances are named FID."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pilotage.metrics import METRICS
from pilotage.report.rows import Measure

STANDARD = "inception-2015"
FEATURES = {
    "dinov2": "DINOv2",
    "in-domain-rotations": "in-domain rotation",
    "stacked-in-domain": "in-domain, per channel",
}
ARROWS = {1: " ↑", -1: " ↓", 0: ""}
MISSING = "–"


def metric_name(metric: str, extractor: Mapping[str, Any]) -> str:
    """The name to print, telling the features wherever it is not the standard Inception."""
    known = METRICS.get(metric)
    if known is None or not known.inception_label:
        return spoken(metric)
    if extractor["name"] == STANDARD:
        return known.inception_label
    return f"{known.label} ({features_name(extractor)})"


def features_name(extractor: Mapping[str, Any]) -> str:
    """What the features are called in text."""
    name: str = extractor["name"]
    return FEATURES.get(name, name)


def with_arrow(metric: str, extractor: Mapping[str, Any]) -> str:
    """The name and which way is better."""
    return metric_name(metric, extractor) + ARROWS[direction(metric)]


def direction(metric: str) -> int:
    """1 if higher is better, −1 if lower is, 0 if neither, or if the metric is not registered."""
    return METRICS[metric].direction if metric in METRICS else 0


def spoken(key: str) -> str:
    """A key as words: a metric's label, but for those that the features are part of."""
    known = METRICS.get(key)
    return known.label if known and not known.inception_label else key.replace("_", " ")


def decimals(measures: Iterable[Measure]) -> int:
    """One or two digits of the typical standard error, else four digits of the typical value."""
    measures = [m for m in measures if math.isfinite(m.value)]
    errors = sorted(m.error for m in measures if m.error > 0 and math.isfinite(m.error))
    values = sorted(abs(m.value) for m in measures if m.value)
    if errors:
        typical = math.log10(errors[len(errors) // 2])
        digits = 1 - math.floor(typical) - (typical % 1 > math.log10(3.5))
    elif all(value.is_integer() for value in values):
        digits = 0 if values else 2
    else:
        digits = 3 - math.floor(math.log10(values[len(values) // 2]))
    return min(max(digits, 0), 6)


def number_text(value: float, digits: int) -> str:
    """A number with that many decimals, or a dash."""
    return f"{value:.{digits}f}" if math.isfinite(value) else MISSING


def measure_text(measure: Measure, digits: int) -> str:
    """The number ± its standard error, if that is known."""
    text = number_text(measure.value, digits)
    return f"{text} ± {measure.error:.{digits}f}" if math.isfinite(measure.error) else text


def listed(items: Iterable[str]) -> str:
    """``a, b and c``."""
    items = list(items)
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def capital(text: str) -> str:
    """With a capital first letter."""
    return text[:1].upper() + text[1:]
