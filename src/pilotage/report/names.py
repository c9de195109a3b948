"""How numbers are called and written: only the standard Inception's distances are named FID."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pilotage.report.rows import Measure

STANDARD = "inception-2015"
STANDARD_NAMES = {
    "frechet": "FID",
    "spatial_frechet": "sFID",
    "inception_score": "IS",
    "kernel": "KID",
}
OTHER_NAMES = {
    "frechet": "FD",
    "spatial_frechet": "sFD",
    "inception_score": "IS",
    "kernel": "KD",
}
FEATURES = {
    "dinov2": "DINOv2",
    "in-domain-rotations": "in-domain rotation",
    "stacked-in-domain": "in-domain, per channel",
}
SPOKEN = {
    "modes": "modes hit",
    "modes_kl": "KL over modes",
    "attribute_all": "caption accuracy",
    "attribute_size": "size accuracy",
    "attribute_colour": "colour accuracy",
    "attribute_shape": "shape accuracy",
    "attribute_count": "count accuracy",
    "attribute_relation": "relation accuracy",
    "caption_diversity": "diversity of a caption",
    "condition_psnr": "PSNR of the condition (dB)",
    "known_psnr": "PSNR of the known part (dB)",
}
ATTRIBUTES = tuple(name for name in SPOKEN if name.startswith("attribute_"))
PSNRS = ("condition_psnr", "known_psnr")

# +1: higher is better, −1: lower is better
DIRECTIONS = {
    "frechet": -1,
    "spatial_frechet": -1,
    "inception_score": 1,
    "precision": 1,
    "recall": 1,
    "density": 1,
    "coverage": 1,
    "kernel": -1,
    "accuracy": 1,
    "modes": 1,
    "modes_kl": -1,
    "caption_diversity": 1,
    **dict.fromkeys((*ATTRIBUTES, *PSNRS), 1),
}
ARROWS = {1: " ↑", -1: " ↓", 0: ""}
MISSING = "–"


def metric_name(metric: str, extractor: Mapping[str, Any]) -> str:
    """The name to print, telling the features wherever it is not the standard Inception."""
    if extractor["name"] == STANDARD:
        return STANDARD_NAMES.get(metric, spoken(metric))
    if metric in OTHER_NAMES:
        return f"{OTHER_NAMES[metric]} ({features_name(extractor)})"
    return spoken(metric)


def features_name(extractor: Mapping[str, Any]) -> str:
    """What the features are called in text."""
    return FEATURES.get(extractor["name"], extractor["name"])


def with_arrow(metric: str, extractor: Mapping[str, Any]) -> str:
    """The name and which way is better."""
    return metric_name(metric, extractor) + ARROWS[DIRECTIONS.get(metric, 0)]


def spoken(key: str) -> str:
    """A key as words."""
    return SPOKEN.get(key, key.replace("_", " "))


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
