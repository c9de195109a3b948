"""How metrics and numbers are written; only the standard Inception's FD is called FID."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pilotage.metrics import METRICS
from pilotage.sweep.best import direction
from pilotage.sweep.rows import Measure, Row

STANDARD = "inception-2015"
FEATURES = {
    "dinov2": "DINOv2",
    "in-domain-rotations": "in-domain rotation",
    "stacked-in-domain": "in-domain, per channel",
}
ARROWS = {1: " ↑", -1: " ↓", 0: ""}
MISSING = "–"


def metric_name(metric: str, extractor: Mapping[str, Any]) -> str:
    """The label of a metric, with the features' name wherever it is not the standard Inception."""
    known = METRICS.get(metric)
    if known is None or not known.inception_label:
        return known.label if known else metric.replace("_", " ")
    if extractor["name"] == STANDARD:
        return known.inception_label
    return f"{known.label} ({features_name(extractor)})"


def features_name(extractor: Mapping[str, Any]) -> str:
    """The features in words."""
    return FEATURES.get(extractor["name"], str(extractor["name"]))


def with_arrow(metric: str, extractor: Mapping[str, Any]) -> str:
    """The name and which way is better."""
    return metric_name(metric, extractor) + ARROWS[direction(metric)]


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


def digits_of(metrics: Iterable[str], rows: Sequence[Row]) -> dict[str, int]:
    """Decimals that suit all rows, by metric, of those that were measured."""
    found = {m: [row.metrics[m] for row in rows if m in row.metrics] for m in metrics}
    return {metric: decimals(measures) for metric, measures in found.items() if measures}


def measure_text(measure: Measure, digits: int) -> str:
    """The number ± its standard error, each if it is known."""
    text = f"{measure.value:.{digits}f}" if math.isfinite(measure.value) else MISSING
    return f"{text} ± {measure.error:.{digits}f}" if math.isfinite(measure.error) else text


def listed(items: Iterable[str]) -> str:
    """``a, b and c``."""
    items = list(items)
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def capital(text: str) -> str:
    """With a capital first letter."""
    return text[:1].upper() + text[1:]
