"""The same as Markdown, with the figures as files beside it."""

import re
from collections.abc import Mapping

from pilotage.report.attributes import TITLE as CAPTIONED
from pilotage.report.attributes import Captioned
from pilotage.report.best import Aims, Best, aim_text, best_text
from pilotage.report.content import Content, Section
from pilotage.report.figures import captions_text
from pilotage.report.grouping import Group
from pilotage.report.likelihood_section import Likelihoods
from pilotage.report.manifest import Facts, group_facts, source_facts
from pilotage.report.names import capital
from pilotage.report.tables import MATCHED, Line, Number, Table
from pilotage.report.training_curves import LEVELS_CAPTION
from pilotage.version import __version__

OF_SECTIONS = ("curves", "captions", "samples")


def markdown(content: Content, figures: Mapping[str, str]) -> str:
    """The whole file.

    Args:
        content: what to say.
        figures: file names by figure: ``curves-1`` and ``samples-1`` of the first section,
            ``captions-1`` too, ``likelihood``, ``levels``, ``training``, ``health``.
    """
    groups = [section.group for section in content.sections]
    parts = [f"# {plain(content.title)}", plain(content.lead)]
    for k, section in enumerate(content.sections, 1):
        parts += _section(section, {n: figures.get(f"{n}-{k}") for n in OF_SECTIONS})
    if content.unswept:
        verb = "has" if len(content.unswept) == 1 else "have"
        parts.append(f"{plain(', '.join(content.unswept))} {verb} no sweep yet.")
    parts += _likelihood(content.likelihood, figures.get("likelihood"))
    parts += _classifiers(content, figures.get("levels"))
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


def _section(section: Section, figures: Mapping[str, str | None]) -> list[str]:
    group, curves, samples = section.group, figures["curves"], figures["samples"]
    parts = [f"## {plain(group.title)}", *map(plain, section.notes)]
    if section.aims:
        parts += ["### Best w for each aim", *(_aims(aims, group) for aims in section.aims)]
    if section.curves:
        parts.append(table_markdown(section.curves))
    parts += _captioned(section.captioned, figures["captions"])
    if section.guidance:
        parts += ["### Over w", *map(table_markdown, section.guidance)]
    if section.matched:
        parts += [f"### {MATCHED}", *map(table_markdown, section.matched)]
    if curves:
        parts += [_image("trade-off curves", curves), plain(section.caption)]
    parts += ["### Every setting", table_markdown(section.metrics)]
    if section.further:
        parts.append(table_markdown(section.further))
    if samples:
        parts += ["### The same seeds at each w", _image("samples at each w", samples)]
        parts.append(plain(captions_text(section.samples[0][0])))
    return parts


def _captioned(found: Captioned | None, figure: str | None) -> list[str]:
    if not found:
        return []
    table = [table_markdown(found.table)] if found.table else []
    image = _image("what the captions ask for, over w", figure)
    return [f"### {CAPTIONED}", *map(plain, found.said), image, plain(found.caption), *table]


def _likelihood(found: Likelihoods | None, figure: str | None) -> list[str]:
    if not found:
        return []
    image = _image("bits per dimension", figure)
    captions = [plain(caption) for *_, caption in found.figures]
    return ["## Likelihood", *map(table_markdown, found.tables), image, *captions]


def _classifiers(content: Content, figure: str | None) -> list[str]:
    panels, tables = content.levels
    if not panels:
        return []
    image = _image("accuracy and calibration by noise level", figure)
    return ["## Noisy classifiers", image, plain(LEVELS_CAPTION), *map(table_markdown, tables)]


def _aims(aims: Aims, group: Group) -> str:
    head = f"{plain(capital(aims.name))}:\n\n" if aims.name else ""
    return head + "\n".join(_best(best, group) for best in aims.best)


def _best(best: Best, group: Group) -> str:
    number = best_text(best, group)
    text = f"{aim_text(best.metric, group)}: w = {best.w:g} ({best.curve.label}), {number}."
    return f"- {plain(text)} {plain(best.remark)}"


def table_markdown(table: Table) -> str:
    """A pipe table; what stood above the columns stands in their names."""
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
