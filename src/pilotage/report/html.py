"""What the page is made of: tables, charts, lists, each as HTML with everything escaped."""

from collections.abc import Sequence
from html import escape

from pilotage.report.figures import Panel, legend_svg, svg
from pilotage.report.manifest import Facts
from pilotage.report.tables import Line, Number, Table

LONG = 16  # characters of a row's head that may be broken on a narrow screen


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
        f"<figcaption>{escape(table.caption)}</figcaption></figure>"
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


def charts_html(name: str, panels: Sequence[Panel], prefix: str, caption: str = "") -> str:
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
    said = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<h3>{escape(name)}</h3><figure><div class="charts">{drawn}</div>{said}</figure>'


def folded(name: str, inside: str) -> str:
    """What is only seen once its name is clicked."""
    return f"<details><summary>{escape(name)}</summary>{inside}</details>"


def facts_html(facts: Facts) -> str:
    """Names with their values."""
    return (
        "<dl>"
        + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
        + "</dl>"
    )
