"""How numbers and sentences are written."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from pilotage.sweep.rows import Measure, Row

TEXTS = yaml.safe_load(Path(__file__).with_name("texts.yaml").read_text(encoding="utf-8"))
MISSING = "–"


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


def sentences(**given: Any) -> str:
    """Fixed sentences of ``texts.yaml``, by their names ("_" for a space), with what fills them.

    Each is given a dict of what is in its braces, or a condition: none of those that are false.
    """
    known = {name.replace("_", " "): fill for name, fill in given.items()}
    texts = [TEXTS[n].format(**(x if isinstance(x, dict) else {})) for n, x in known.items() if x]
    return " ".join(texts)


def capital(text: str) -> str:
    """With a capital first letter."""
    return text[:1].upper() + text[1:]
