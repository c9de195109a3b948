"""The content of a report, decided once for page and Markdown."""

from typing import NamedTuple

from pilotage.report import tables
from pilotage.report.arrange import Curve, Group, arrange, notes
from pilotage.report.best import AIMS, Best, best_over
from pilotage.report.charts import health_panels, sweep_panels, training_panels
from pilotage.report.figures import Panel
from pilotage.report.manifest import title, warnings_of
from pilotage.report.read import Source
from pilotage.report.samples import Strip, strips
from pilotage.report.tables import Table


class Section(NamedTuple):
    """All about one group.

    Attributes:
        best: of all curves, for each aim that was measured.
        curves: a table of the best w of every curve, if there are several.
        samples: curves with their pictures, the best one first.
    """

    group: Group
    notes: list[str]
    best: list[Best]
    curves: Table | None
    guidance: list[Table]
    metrics: Table
    further: Table | None
    panels: list[Panel]
    samples: list[tuple[Curve, list[Strip]]]


class Content(NamedTuple):
    """All of a report.

    Attributes:
        unswept: runs without a sampled row.
        warnings: (run, when, sentence).
    """

    title: str
    sources: list[Source]
    sections: list[Section]
    unswept: list[str]
    training: list[Panel]
    health: list[Panel]
    warnings: list[tuple[str, str, str]]


def gather(sources: list[Source]) -> Content:
    """Everything that the runs give."""
    return Content(
        title=title(sources),
        sources=sources,
        sections=[_section(group) for group in arrange(sources)],
        unswept=[s.label for s in sources if not any(r.kind == "sample" for r in s.rows)],
        training=training_panels({s.label: s.training for s in sources}),
        health=health_panels({s.label: s.health for s in sources}),
        warnings=[(s.label, *warning) for s in sources for warning in warnings_of(s)],
    )


def _section(group: Group) -> Section:
    first = tables.curve_best(group)
    ordered = sorted(group.curves, key=lambda curve: curve != first)
    pictures = [(curve, strips(curve)) for curve in ordered]
    return Section(
        group=group,
        notes=notes(group),
        best=[b for b in (best_over(group, metric) for metric in AIMS) if b],
        curves=tables.best_table(group) if len(group.curves) > 1 else None,
        guidance=tables.guidance_tables(group),
        metrics=tables.metrics_table(group),
        further=tables.further_table(group),
        panels=sweep_panels(group),
        samples=[(curve, found) for curve, found in pictures if found],
    )
