"""The same as Markdown, with the figures as files beside it."""

import re
from collections.abc import Mapping

from pilotage.report.arrange import Group
from pilotage.report.best import Best
from pilotage.report.content import Content, Section
from pilotage.report.manifest import Facts, group_facts, how_to_read, source_facts
from pilotage.report.tables import Line, Number, Table, aim_text, best_text
from pilotage.version import __version__


def markdown(content: Content, figures: Mapping[str, str]) -> str:
    """The whole file.

    Args:
        content: what to say.
        figures: file names by figure: ``curves-1`` and ``samples-1`` of the first section,
            ``training``, ``health``.
    """
    groups = [section.group for section in content.sections]
    parts = [f"# {plain(content.title)}", plain(how_to_read(groups))]
    for k, section in enumerate(content.sections, 1):
        parts += _section(section, figures.get(f"curves-{k}"), figures.get(f"samples-{k}"))
    if content.unswept:
        verb = "has" if len(content.unswept) == 1 else "have"
        parts.append(f"{plain(', '.join(content.unswept))} {verb} no sweep yet.")
    if content.training:
        parts += ["## Training", _image("training curves", figures.get("training"))]
    if content.health or content.warnings:
        parts += ["## Training health", _image("health curves", figures.get("health"))]
        said = [f"- {plain(f'{run}, {when}: {text}')}." for run, when, text in content.warnings]
        parts.append("\n".join(said) or "No warning was raised.")
    parts.append("## Manifest")
    for group in groups:
        parts += [f"### {plain(group.title)}", _facts(group_facts(group))]
    for source in content.sources:
        parts += [f"### {plain(source.label)}", _facts(source_facts(source, groups))]
        parts.append(_fenced(source.card))
    parts.append(f"Written by Pilotage {__version__}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(section: Section, curves: str | None, samples: str | None) -> list[str]:
    group = section.group
    parts = [f"## {plain(group.title)}", *map(plain, section.notes)]
    if section.best:
        parts += ["### Best w for each aim", "\n".join(_best(b, group) for b in section.best)]
    if section.curves:
        parts.append(table_markdown(section.curves))
    if section.guidance:
        parts += ["### Over w", *map(table_markdown, section.guidance)]
    parts.append(_image("trade-off curves", curves))
    parts += ["### Every setting", table_markdown(section.metrics)]
    if section.further:
        parts.append(table_markdown(section.further))
    if samples:
        parts += ["### The same seeds at each w", _image("samples at each w", samples)]
    return parts


def _best(best: Best, group: Group) -> str:
    number = best_text(best, group)
    text = f"{aim_text(best.metric, group)}: w = {best.w:g} ({best.curve.label}), {number}."
    return f"- {plain(text)} {plain(best.remark)}"


def table_markdown(table: Table) -> str:
    """A pipe table; what stood above the columns is told in their names."""
    above = [name for name, count in table.spans for _ in range(count)] or [""] * len(table.columns)
    names = [", ".join(filter(None, pair)) for pair in zip(above, table.columns, strict=True)]
    rows = [_row([table.corner, *names]), "|:---|" + "---:|" * len(names)]
    rows += [
        _row([plain(line.head), *_cells(line, len(names))], escape=False) for line in table.lines
    ]
    return "\n".join(rows) + f"\n\n{plain(table.caption)}"


def _row(cells: list[str], escape: bool = True) -> str:
    return "| " + " | ".join(plain(cell) if escape else cell for cell in cells) + " |"


def _cells(line: Line, columns: int) -> list[str]:
    if line.kind == "title":
        return [""] * columns
    return [" / ".join(_number(n) for n in cell) for cell in line.cells]


def _number(number: Number) -> str:
    text = f"**{number.text}**" if number.best else number.text
    return f"{text} {number.error}".rstrip()


def _facts(facts: Facts) -> str:
    return "\n".join(f"- {plain(name)}: {plain(value)}" for name, value in facts)


def _image(name: str, file: str | None) -> str:
    return f"![{name}](<{file}>)" if file else ""


def _fenced(text: str) -> str:
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}yaml\n{text.rstrip()}\n{fence}"


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    text = re.sub(r"([\\`*_\[\]|#~])", r"\\\1", " ".join(text.split()))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
