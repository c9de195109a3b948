"""How metrics, numbers and ways of sampling are named; only the standard Inception's FD is FID."""

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from pilotage.metrics import METRICS
from pilotage.sweep.rows import Measure, Row, SampleRow

STANDARD = "inception-2015"
FEATURES = {
    "dinov2": "DINOv2",
    "in-domain-rotations": "in-domain rotation",
    "stacked-in-domain": "in-domain, per channel",
}
ARROWS = {1: " ↑", -1: " ↓", 0: ""}
MISSING = "–"
FREE, BY_CLASSIFIER = "classifier-free", "classifier"
GUIDANCE = ("kind", "hash", "free_w", "shift", "modifiers")  # facts that say what w is
SYMBOLS = {"v": "v", "eta": "η"}


def metric_name(metric: str, extractor: Mapping[str, Any]) -> str:
    """The label of a metric, with the features' name wherever it is not the standard Inception."""
    known = METRICS.get(metric)
    if known is None or not known.inception_label:
        return spoken(metric)
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


def digits_of(metrics: Iterable[str], rows: Sequence[Row]) -> dict[str, int]:
    """Decimals that suit all rows, by metric."""
    return {m: decimals(row.metrics[m] for row in rows if m in row.metrics) for m in metrics}


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


def size_text(size: Iterable[int]) -> str:
    """``16x16``."""
    return "x".join(map(str, size))


def facts_of(row: SampleRow) -> dict[str, str]:
    """All of sampling but w and the number of steps, as short texts by what they are about.

    Rows that differ in one of them share no curve; empty texts stand for what is usual.
    """
    how, sampler, captions = row.how, row.sampler_record, row.captions
    facts = {"kind": kind_of(row)}
    if how.by_classifier:
        facts["hash"] = how.classifier.hash[:6]
        facts["free_w"] = f"classifier_free_w {how.classifier_free_w:g}"
        facts["shift"] = f"{how.classifier_shift} shift"
    facts |= {"modifiers": ", ".join(how.modifiers()), "sampler": str(sampler["sampler"])}
    for key, sign in SYMBOLS.items():
        value = sampler.get(key)
        if value is not None:
            facts[key] = f"learned {sign}" if isinstance(value, str) else f"{sign} = {value:g}"
    facts |= {"n": f"n = {row.n}", "seeds": seeds_text(row)}
    if captions:
        facts["captions"] = "{split} captions of {data} ({n}, hash {hash:.6})".format(**captions)
    facts["each"] = f"{row.per_caption} images each" if row.per_caption > 1 else ""
    facts["low_res"] = f"enlarged from {size_text(row.low_res['size'])}" if row.low_res else ""
    facts["known"] = "completed where boxes were erased" if row.known is not None else ""
    facts["image_w"] = f"image guidance scale {how.image_w:g}" if how.image_w is not None else ""
    facts["negative"] = f"negative prompt {how.negative!r}" if how.negative else ""
    return facts | {"code": f"code {row.code}"}


def telling(found: Sequence[Mapping[str, str]], without: Container[str] = ()) -> list[str]:
    """A name for each of several facts: those in which they differ."""
    keys = dict.fromkeys(key for facts in found for key in facts if key not in without)
    several = [key for key in keys if len({f[key] for f in found if key in f}) > 1]
    return [", ".join(filter(None, (f.get(key, "") for key in several))) for f in found]


def way_text(row: SampleRow) -> str:
    """How a row was sampled, all but w and steps, and what w is in it."""
    facts = facts_of(row)
    way = ", ".join(text for key, text in facts.items() if text and key not in GUIDANCE)
    kind, *more = [facts[key] for key in GUIDANCE if facts.get(key)]
    return f"{way}; w is the strength of {', '.join([f'{kind} guidance', *more])}"


def kind_of(row: SampleRow) -> str:
    """Classifier-free, or a classifier's: strengths of the two share no axis."""
    return BY_CLASSIFIER if row.how.by_classifier else FREE


def seeds_text(row: SampleRow) -> str:
    """``seeds 0 to 1999`` of the half-open range (0, 2000)."""
    return f"seeds {row.seeds[0]} to {row.seeds[1] - 1}" if row.seeds else "seeds not recorded"


def w_text(row: SampleRow) -> str:
    """The strength as the head of a row: a classifier's 0 in words, as 2105.05233 has it."""
    if row.w or not row.how.by_classifier:
        return f"{row.w:g}"
    return "no guidance" if row.how.classifier_free_w in (0, -1) else "no classifier"
