"""What metrics are called: only the standard Inception's Fréchet distance is named FID."""

from collections.abc import Mapping
from typing import Any

from pilotage.metrics.registry import METRICS

STANDARD = "inception-2015"
FEATURES = {
    "dinov2": "DINOv2",
    "in-domain-rotations": "in-domain rotation",
    "stacked-in-domain": "in-domain, per channel",
}
ARROWS = {1: " ↑", -1: " ↓", 0: ""}


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


def direction(metric: str) -> int:
    """1 if higher is better, −1 if lower is, 0 if neither, or if the metric is not registered."""
    return METRICS[metric].direction if metric in METRICS else 0
