"""All rows, and the noise levels of classifiers, as CSV with one column per field."""

import csv
import io
import math
from typing import Any

from pilotage.report.arrange import Group
from pilotage.report.levels import Level
from pilotage.report.read import Source


def flat(groups: list[Group]) -> str:
    """Every row as it was read, numbers unrounded; empty where a row does not have the field."""
    rows = [_flat_row(row.raw) for group in groups for row in group.rows]
    return _csv(["id", "kind", "run", *(name for row in rows for name in row)], rows)


def flat_levels(sources: list[Source]) -> str:
    """Every line of every classifier's noise levels, a row per level."""
    rows = [
        {"run": source.label, "step": line.step, "images": line.images, **level._asdict()}
        for source in sources
        for line in source.levels
        for level in line.levels
    ]
    return _csv(["run", "step", "images", *Level._fields], rows)


def _csv(columns: list[str], rows: list[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(dict.fromkeys(columns)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _flat_row(raw: dict[str, Any]) -> dict[str, Any]:
    flat_row: dict[str, Any] = {}
    for name, value in raw.items():
        if name == "metrics":
            continue
        if isinstance(value, dict):
            flat_row |= {f"{name}_{key}": inner for key, inner in value.items()}
        elif isinstance(value, list):
            flat_row[name] = " ".join(map(str, value))
        else:
            flat_row[name] = value
    for name, (value, error) in raw["metrics"].items():
        flat_row |= {name: _known(value), f"{name}_se": _known(error)}
    return flat_row


def _known(value: float | None) -> float | str:
    return "" if value is None or not math.isfinite(value) else value
