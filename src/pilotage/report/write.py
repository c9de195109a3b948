"""``write_report``: reads the runs and writes page, Markdown, CSV and figures."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pilotage.errors import PilotageError
from pilotage.report.content import Content, gather
from pilotage.report.figures import Panel, save_png, save_strips
from pilotage.report.grouping import Group
from pilotage.report.likelihood_section import Coded
from pilotage.report.markdown import markdown
from pilotage.report.page import page
from pilotage.report.read import Bound, Level, Source, read_sources
from pilotage.utils.parsing import plain_cell


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

    def save(name: str, panels: Sequence[Panel], columns: int = 2) -> None:
        if panels:
            save_png(panels, place(name), columns)

    for k, section in enumerate(content.sections, 1):
        save(f"curves-{k}", section.panels)
        if section.captioned:
            panels = section.captioned.panels
            save(f"captions-{k}", panels, columns=2 if len(panels) == 4 else 3)
        for curve, found in section.samples[:1]:
            if any(strip.picture for strip in found):
                save_strips(found, curve.label, place(f"samples-{k}"))
    save("likelihood", content.likelihood.panels if content.likelihood else [])
    save("levels", content.levels[0])
    save("training", content.training, columns=3)
    save("health", content.health, columns=3)
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
    row = {k: x for k, x in bound._asdict().items() if k not in ("measures", "raw", "codecs")}
    row["data_hash"] = row.pop("hash")
    row |= _flat_measures(bound.measures)
    row |= {f"codec_{name}": bits for name, bits in coded.codecs.items()}
    return row | {k: x for k, x in bound.raw.items() if k not in row and k != "codecs"}


def csv_text(columns: list[str], rows: list[dict[str, Any]]) -> str:
    """The rows under the columns, each of which is named once however often it is given."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(dict.fromkeys(columns)), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: plain_cell(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue()


def flat_row(raw: dict[str, Any]) -> dict[str, Any]:
    """A row of a sweep with one number or text per field."""
    row: dict[str, Any] = {}
    for name, value in raw.items():
        if name == "metrics":
            continue
        if isinstance(value, dict):
            row |= {f"{name}_{key}": inner for key, inner in value.items()}
        else:
            row[name] = " ".join(map(str, value)) if isinstance(value, list) else value
    return row | _flat_measures(raw["metrics"])


def _flat_measures(measures: Mapping[str, Sequence[float | None]]) -> dict[str, float | str]:
    """Numbers and their standard errors, each empty where it is not known."""
    row: dict[str, float | str] = {}
    for name, pair in measures.items():
        for key, x in zip((name, f"{name}_se"), pair, strict=True):
            row[key] = "" if x is None or not math.isfinite(x) else x
    return row
