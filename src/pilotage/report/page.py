"""The HTML page: one file, nothing from outside, everything that was read escaped."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from pilotage.report.attributes import TITLE as CAPTIONED
from pilotage.report.attributes import Captioned
from pilotage.report.best import Aims, Best, aim_text, best_text
from pilotage.report.content import Content, Section
from pilotage.report.figures import Panel, Strip, captions_text, legend_svg, svg
from pilotage.report.grouping import Group
from pilotage.report.likelihood_section import Likelihoods
from pilotage.report.manifest import Facts, group_facts, source_facts
from pilotage.report.names import capital
from pilotage.report.tables import MATCHED, Line, Number, Table
from pilotage.report.training_curves import LEVELS_CAPTION
from pilotage.version import __version__

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
LONG = 16  # characters of a row's head that may be broken on a narrow screen


def page(content: Content) -> str:
    """The whole file."""
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    body = "\n".join(part for part in _parts(content) if part)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(content.title)} · Pilotage report</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _parts(content: Content) -> list[str]:
    return [
        _header(content),
        *(_section(section, k) for k, section in enumerate(content.sections, 1)),
        _unswept(content),
        _likelihood(content.likelihood),
        _classifiers(content),
        _part("Training", charts_html(content.training, "training")),
        _health(content),
        _manifest(content),
        f"<footer>Written by Pilotage {escape(__version__)}.</footer>",
    ]


def _header(content: Content) -> str:
    return (
        f'<header><p class="kind">Pilotage report</p><h1>{escape(content.title)}</h1>'
        f'<p class="lead">{escape(content.lead)}</p></header>'
    )


def _unswept(content: Content) -> str:
    if not content.unswept:
        return ""
    names = ", ".join(f"<b>{escape(name)}</b>" for name in content.unswept)
    verb = "has" if len(content.unswept) == 1 else "have"
    return (
        f'<p class="note">{names} {verb} no sweep yet: <code>pilotage sweep</code> measures '
        "samples over w.</p>"
    )


def _section(section: Section, number: int) -> str:
    charts = charts_html(section.panels, f"g{number}", section.caption)
    parts = [
        f"<h2>{escape(capital(section.group.title))}</h2>",
        "".join(f'<p class="note">{escape(note)}</p>' for note in section.notes),
        _best(section),
        _captioned(section.captioned, number),
        _headed("Over w", _tables(section.guidance)),
        _headed(MATCHED, _tables(section.matched)),
        _headed("Trade-off", charts),
        _headed("Every setting", table_html(section.metrics)),
        _folded("Further numbers", table_html(section.further)) if section.further else "",
        _samples(section),
    ]
    return "<section>" + "\n".join(part for part in parts if part) + "</section>"


def _headed(name: str, inside: str, level: int = 3) -> str:
    return f"<h{level}>{escape(name)}</h{level}>{inside}" if inside else ""


def _part(name: str, inside: str) -> str:
    return f"<section>{_headed(name, inside, 2)}</section>" if inside else ""


def _best(section: Section) -> str:
    cards = "".join(_cards(aims, section.group) for aims in section.aims)
    curves = table_html(section.curves) if section.curves and cards else ""
    return _headed("Best w for each aim", cards + curves)


def _captioned(found: Captioned | None, number: int) -> str:
    if not found:
        return ""
    said = "".join(f"<p>{escape(sentence)}</p>" for sentence in found.said)
    charts = charts_html(found.panels, f"c{number}", found.caption)
    return _headed(CAPTIONED, said + charts + (table_html(found.table) if found.table else ""))


def _cards(aims: Aims, group: Group) -> str:
    name = f'<p class="of">{escape(capital(aims.name))}</p>' if aims.name else ""
    cards = "".join(_card(best, group) for best in aims.best)
    return f'{name}<div class="cards">{cards}</div>'


def _card(best: Best, group: Group) -> str:
    where = f'<p class="where">{escape(best.curve.label)}</p>'
    return (
        f"<article><h4>{escape(capital(aim_text(best.metric, group)))}</h4>"
        f'<p class="value">w = {best.w:g}</p>'
        f"<p>{escape(best_text(best, group))}</p>"
        f'{where}<p class="remark">{escape(best.remark)}</p></article>'
    )


def _likelihood(found: Likelihoods | None) -> str:
    if not found:
        return ""
    figures = [
        _headed(name, charts_html(panels, f"likelihood-{k}", caption))
        for k, (name, panels, caption) in enumerate(found.figures, 1)
    ]
    return _part("Likelihood", _tables(found.tables) + "".join(figures))


def _classifiers(content: Content) -> str:
    panels, tables = content.levels
    charts = charts_html(panels, "levels", LEVELS_CAPTION)
    return _part("Noisy classifiers", charts + _tables(tables))


def _health(content: Content) -> str:
    if not content.health and not content.warnings:
        return ""
    items = "".join(
        f"<li><b>{escape(run)}</b>, {escape(when)}: {escape(said)}.</li>"
        for run, when, said in content.warnings
    )
    said = f'<ul class="warnings">{items}</ul>' if items else "<p>No warning was raised.</p>"
    return _part("Training health", said + charts_html(content.health, "health"))


def _samples(section: Section) -> str:
    if not section.samples:
        return ""
    (curve, first), *others = section.samples
    said = f"{curve.label}: each column is one seed, each row one w. {captions_text(curve)}"
    shown = _strips(first, said.rstrip())
    rest = "".join(_folded(curve.label, _strips(found)) for curve, found in others)
    return _headed("The same seeds at each w", shown + rest)


def _strips(found: list[Strip], caption: str = "") -> str:
    rows = "".join(f"<div><span>w = {strip.w:g}</span>{_picture(strip)}</div>" for strip in found)
    return f'<figure class="strips">{rows}{_figcaption(caption)}</figure>'


def _picture(strip: Strip) -> str:
    if strip.picture is None:
        return "<em>the picture is missing</em>"
    return f'<img src="{strip.uri}" alt="samples at w = {strip.w:g}">'


def _manifest(content: Content) -> str:
    groups = [section.group for section in content.sections]
    blocks = [_headed(capital(group.title), _facts(group_facts(group))) for group in groups]
    for source in content.sources:
        recipe = _folded("recipe.yaml", f"<pre>{escape(source.card)}</pre>")
        blocks.append(_headed(source.label, _facts(source_facts(source, groups)) + recipe))
    return f'<section class="manifest"><h2>Manifest</h2>{"".join(blocks)}</section>'


def _tables(tables: Sequence[Table]) -> str:
    return "".join(map(table_html, tables))


def table_html(table: Table) -> str:
    """A table in a box of its own that scrolls where the page is narrow."""
    width = max((len(cell) for line in table.lines for cell in line.cells), default=1)
    columns = len(table.columns) * width
    lines = "\n".join(_line(line, columns) for line in table.lines)
    heads = "".join(_head(name, width) for name in table.columns)
    corner = f'<th scope="col" class="corner">{escape(table.corner)}</th>'
    spans = "".join(_head(name, count * width, "span") for name, count in table.spans)
    above = f'<tr><td class="corner"></td>{spans}</tr>' if spans else ""
    return (
        f'<figure class="table"><div class="scroll" tabindex="0"><table>'
        f"<thead>{above}<tr>{corner}{heads}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>"
        f"{_figcaption(table.caption)}</figure>"
    )


def _head(name: str, width: int, kind: str = "") -> str:
    span = f' colspan="{width}"' if width > 1 else ""
    name_class = f' class="{kind}"' if kind else ""
    return f'<th scope="col"{span}{name_class}>{escape(name)}</th>'


def _line(line: Line, columns: int) -> str:
    if line.kind == "title":
        head = f'<th scope="rowgroup" colspan="{columns + 1}"><span>{escape(line.head)}</span></th>'
        return f'<tr class="title">{head}</tr>'
    cells = "".join(_number(n, k) for cell in line.cells for k, n in enumerate(cell))
    long = ' class="long"' if len(line.head) > LONG else ""
    return f'<tr class="{line.kind}"><th scope="row"{long}>{escape(line.head)}</th>{cells}</tr>'


def _number(number: Number, place: int) -> str:
    text = f"<b>{escape(number.text)}</b>" if number.best else escape(number.text)
    error = f" <small>{escape(number.error)}</small>" if number.error else ""
    return f'<td class="second">{text}{error}</td>' if place else f"<td>{text}{error}</td>"


def charts_html(panels: Sequence[Panel], prefix: str, caption: str = "") -> str:
    """Charts beside each other, with one legend; nothing without any."""
    if not panels:
        return ""
    drawn = "".join(
        f'<div class="chart" role="img" aria-label="{escape(panel.name)}">'
        f"{svg(panel, f'{prefix}-{k}')}</div>"
        for k, panel in enumerate(panels)
    )
    legend = legend_svg(panels, f"{prefix}-legend")
    drawn += f'<div class="chart legend">{legend}</div>' if legend else ""
    return f'<figure><div class="charts">{drawn}</div>{_figcaption(caption)}</figure>'


def _figcaption(text: str) -> str:
    return f"<figcaption>{escape(text)}</figcaption>" if text else ""


def _folded(name: str, inside: str) -> str:
    """What is only seen once its name is clicked."""
    return f"<details><summary>{escape(name)}</summary>{inside}</details>"


def _facts(facts: Facts) -> str:
    pairs = (f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return f"<dl>{''.join(pairs)}</dl>"
