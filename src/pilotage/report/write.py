"""``write_report``: reads the runs and writes page, Markdown, CSV and figures."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pilotage.errors import PilotageError
from pilotage.report.content import Content, gather
from pilotage.report.figures import save_png, save_strips
from pilotage.report.grouping import Group
from pilotage.report.likelihood import Coded
from pilotage.report.markdown import markdown
from pilotage.report.page import page
from pilotage.report.read import PARTS, Bound, Level, Source, read_sources


def write_report(runs: Sequence[Path], out: Path) -> list[Path]:
    """Write a report of the runs: one self-contained page, and more beside it.

    Args:
        runs: run folders, also of classifiers; those without a sweep or a likelihood give
            training curves and manifest only.
        out: the page, ending in ``.html``; Markdown, CSV and PNGs share its stem.

    Returns:
        The files that were written, the page first.

    Raises:
        PilotageError: for a missing or damaged file of a run, naming it and the line.
    """
    from pilotage.utils.files import write_text  # needs torch

    out = Path(out)
    if out.suffix.lower() != ".html":
        raise PilotageError(f"out is {out}: a report's name has to end in .html.")
    content = gather(read_sources(runs))
    out.parent.mkdir(parents=True, exist_ok=True)
    figures = _save_figures(content, out)
    names = {name: path.name for name, path in figures.items()}
    texts = {
        out: page(content),
        out.with_suffix(".md"): markdown(content, names),
        out.with_suffix(".csv"): flat([section.group for section in content.sections]),
    }
    if content.likelihood:
        path = out.with_name(f"{out.stem}-likelihood.csv")
        texts[path] = flat_likelihood(content.likelihood.images)
    if content.levels[0]:
        texts[out.with_name(f"{out.stem}-levels.csv")] = flat_levels(content.sources)
    for path, text in texts.items():
        write_text(path, text)
    return [*texts, *figures.values()]


def _save_figures(content: Content, out: Path) -> dict[str, Path]:
    """The PNGs; those of the first section go without a number."""
    figures = {}

    def place(name: str) -> Path:
        figures[name] = out.with_name(f"{out.stem}-{name.removesuffix('-1')}.png")
        return figures[name]

    for k, section in enumerate(content.sections, 1):
        if section.panels:
            save_png(section.panels, place(f"curves-{k}"))
        if section.captioned:
            panels = section.captioned.panels
            save_png(panels, place(f"captions-{k}"), columns=2 if len(panels) == 4 else 3)
        if section.samples:
            curve, found = section.samples[0]
            if any(strip.picture for strip in found):
                save_strips(found, curve.label, place(f"samples-{k}"))
    if content.likelihood:
        save_png(content.likelihood.panels, place("likelihood"))
    if content.levels[0]:
        save_png(content.levels[0], place("levels"))
    if content.training:
        save_png(content.training, place("training"), columns=3)
    if content.health:
        save_png(content.health, place("health"), columns=3)
    return figures


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
