"""All rows, likelihoods and noise levels of classifiers, as CSV with one column per field."""

import csv
import io
import math
from typing import Any

from pilotage.report.bounds import PARTS, Bound
from pilotage.report.grouping import Group
from pilotage.report.levels import Level
from pilotage.report.likelihood_table import Coded
from pilotage.report.read import Source


def flat(groups: list[Group]) -> str:
    """Every row as it was read, numbers unrounded; empty where a row does not have the field."""
    rows = [flat_row(row.raw) for group in groups for row in group.rows]
    return csv_text(["id", "kind", "run", *(name for row in rows for name in row)], rows)


def flat_levels(sources: list[Source]) -> str:
    """Every line of every classifier's noise levels, a row per level."""
    rows = [
        {"run": source.label, "step": line.step, "images": line.images, **level._asdict()}
        for source in sources
        for line in source.levels
        for level in line.levels
    ]
    return csv_text(["run", "step", "images", *Level._fields], rows)


def flat_likelihood(images: list[Coded]) -> str:
    """Every row of the tables, numbers unrounded, with the codecs of its images."""
    rows = [_flat_bound(bound, coded) for coded in images for bound in coded.bounds]
    return csv_text([name for row in rows for name in row], rows)


def _flat_bound(bound: Bound, coded: Coded) -> dict[str, Any]:
    told = bound._asdict()
    measures, raw = told.pop("measures"), told.pop("raw")
    del told["codecs"]
    told["data_hash"] = told.pop("hash")
    for part, measure in measures.items():
        told |= {part: _known(measure.value), f"{part}_se": _known(measure.error)}
    told |= {f"codec_{name}": bits for name, bits in coded.codecs.items()}
    skipped = {*told, *PARTS, "codecs"}
    return told | {name: value for name, value in raw.items() if name not in skipped}


def csv_text(columns: list[str], rows: list[dict[str, Any]]) -> str:
    """The rows under the columns, each of which is named once however often it is given."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(dict.fromkeys(columns)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def flat_row(raw: dict[str, Any]) -> dict[str, Any]:
    """A row of a sweep with one number or text per field."""
    told: dict[str, Any] = {}
    for name, value in raw.items():
        if name == "metrics":
            continue
        if isinstance(value, dict):
            told |= {f"{name}_{key}": inner for key, inner in value.items()}
        elif isinstance(value, list):
            told[name] = " ".join(map(str, value))
        else:
            told[name] = value
    for name, (value, error) in raw["metrics"].items():
        told |= {name: _known(value), f"{name}_se": _known(error)}
    return told


def _known(value: float | None) -> float | str:
    return "" if value is None or not math.isfinite(value) else value
