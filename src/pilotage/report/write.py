"""``write_report``: reads the runs and writes page, Markdown, CSV and pictures."""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from pilotage.errors import PilotageError
from pilotage.report.charts import legend_svg, save, svg
from pilotage.report.content import Block
from pilotage.sweep.curves import coded
from pilotage.utils.parsing import plain_cell
from pilotage.version import __version__


def write_report(runs: Sequence[Path], out: Path) -> list[Path]:
    """Write a report of the runs: one self-contained page, and more next to it.

    Args:
        runs: run folders, also of classifiers, and folders of studies, which stand for their runs;
            those without a sweep or a likelihood give training curves and manifest only.
        out: the page, ending in ``.html``; Markdown, CSV and PNGs share its stem.

    Returns:
        The files that were written, the page first.

    Raises:
        PilotageError: for a missing or damaged file of a run, naming it and the line.
    """
    from pilotage.report.manifest import gather
    from pilotage.report.read import read_sources
    from pilotage.utils.files import write_text  # needs torch

    out = Path(out)
    if out.suffix.lower() != ".html":
        raise PilotageError(f"out is {out}: a report's name has to end in .html.")
    sources = read_sources(runs)
    blocks = gather(sources)
    out.parent.mkdir(parents=True, exist_ok=True)
    pictures = save_pictures(blocks, out)
    rows = {row.id: row for source in sources for row in source.rows}
    levels = [
        {"run": source.label, "step": line.step, "images": line.images, **level}
        for source in sources
        for line in source.levels
        for level in line.levels
    ]
    bounds = [
        bound.flat()
        | {"run": run, "evaluations": bound.calls}
        | {f"codec_{name}": bits for name, bits in codecs.items()}
        for found, codecs in coded({source.label: source.bounds for source in sources})
        for run, bound in found
    ]
    texts = {
        out: page(blocks),
        out.with_suffix(".md"): markdown(blocks, {k: path.name for k, path in pictures.items()}),
        out.with_suffix(".csv"): csv_text([row.flat() for row in rows.values()]),
    }
    for name, found in (("likelihood", bounds), ("levels", levels)):
        if found:
            texts[out.with_name(f"{out.stem}-{name}.csv")] = csv_text(found)
    for path, text in texts.items():
        write_text(path, text)
    return [*texts, *pictures.values()]


def page(blocks: Sequence[Block]) -> str:
    """The HTML page: one file, nothing from outside, everything that was read escaped."""
    here = Path(__file__)
    script, style = (here.with_name(f"page.{end}").read_text("utf-8") for end in ("js", "css"))
    known = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    more = {"script": Markup(script), "style": Markup(style), "script_hash": known}
    return _templates().get_template("page.html.jinja").render(blocks=blocks, **more)


def markdown(blocks: Sequence[Block], files: Mapping[str, str]) -> str:
    """The same as Markdown; ``files`` are those of the pictures, by name."""
    text = _templates().get_template("page.md.jinja").render(blocks=blocks, files=files)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


@cache
def _templates() -> Environment:
    loader, escaped = PackageLoader("pilotage.report", ""), select_autoescape(["html.jinja"])
    found = Environment(loader=loader, autoescape=escaped, trim_blocks=True, lstrip_blocks=True)
    found.filters |= {
        "plain": plain,
        "fence": fenced,
        "uri": lambda data: "data:image/png;base64," + base64.b64encode(data).decode(),
    }
    found.globals |= {
        "version": __version__,
        "svg": lambda *given: Markup(svg(*given)),
        "legend": lambda *given: Markup(legend_svg(*given)),
    }
    return found


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    text = re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", " ".join(str(text).split()))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def fenced(text: str) -> str:
    """A block of code with a fence that is longer than any within."""
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence}yaml\n{text.rstrip()}\n{fence}"


def save_pictures(blocks: Iterable[Block], out: Path) -> dict[str, Path]:
    """The charts and images as PNG files next to ``out``, by their names."""
    found = {}
    for block in (inner for outer in blocks for inner in outer.walk() if inner.picture):
        found[block.picture] = out.with_name(f"{out.stem}-{block.picture}.png")
        save(block, found[block.picture])
    return found


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows under all their columns, numbers unrounded; empty where a row has none."""
    cells = [{name: plain_cell(value) for name, value in row.items()} for row in rows]
    return str(pd.DataFrame(cells, dtype=object).to_csv(index=False, lineterminator="\n"))
