"""The content of a report, decided once for page and Markdown."""

from typing import NamedTuple

from pilotage.report import tables
from pilotage.report.attributes import Captioned, captioned
from pilotage.report.best import Aims, aims_of, best_table, curve_best
from pilotage.report.charts import charts_caption, sweep_panels
from pilotage.report.figures import Panel, Strip, strips
from pilotage.report.grouping import Curve, Group, arrange, notes
from pilotage.report.likelihood_section import Likelihoods, likelihoods
from pilotage.report.manifest import how_to_read, title, warnings_of
from pilotage.report.read import Source
from pilotage.report.tables import Table
from pilotage.report.training_curves import (
    health_panels,
    level_panels,
    level_tables,
    training_panels,
)


class Section(NamedTuple):
    """All about one group.

    Attributes:
        aims: for each kind of guidance.
        curves: a table of the best w of every curve, if there are several.
        captioned: what the captions ask for, if there are any.
        matched: both kinds of guidance at the same inception score.
        caption: of the panels.
        samples: curves with their pictures, the best one first.
    """

    group: Group
    notes: list[str]
    aims: list[Aims]
    curves: Table | None
    captioned: Captioned | None
    guidance: list[Table]
    matched: list[Table]
    metrics: Table
    further: Table | None
    panels: list[Panel]
    caption: str
    samples: list[tuple[Curve, list[Strip]]]


class Content(NamedTuple):
    """All of a report.

    Attributes:
        lead: how to read it.
        unswept: models of which nothing was measured.
        likelihood: bits per dimension, if any were measured.
        levels: figures of the classifiers, and their numbers.
        warnings: (run, when, sentence).
    """

    title: str
    lead: str
    sources: list[Source]
    sections: list[Section]
    unswept: list[str]
    likelihood: Likelihoods | None
    levels: tuple[list[Panel], list[Table]]
    training: list[Panel]
    health: list[Panel]
    warnings: list[tuple[str, str, str]]


def gather(sources: list[Source]) -> Content:
    """Everything that the runs give."""
    groups = arrange(sources)
    return Content(
        title=title(sources),
        lead=how_to_read(groups, sources),
        sources=sources,
        sections=[_section(group) for group in groups],
        unswept=[source.label for source in sources if _unswept(source)],
        likelihood=likelihoods(sources),
        levels=(level_panels(sources), level_tables(sources)),
        training=training_panels(sources),
        health=health_panels(sources),
        warnings=[(s.label, *warning) for s in sources for warning in warnings_of(s)],
    )


def _unswept(source: Source) -> bool:
    measured = source.bounds or any(row.kind == "sample" for row in source.rows)
    return not source.classifies and not measured


def _section(group: Group) -> Section:
    first = curve_best(group)
    ordered = sorted(group.curves, key=lambda curve: curve != first)
    pictures = [(curve, strips(curve)) for curve in ordered]
    return Section(
        group=group,
        notes=notes(group),
        aims=aims_of(group),
        curves=best_table(group) if len(group.curves) > 1 else None,
        captioned=captioned(group),
        guidance=tables.guidance_tables(group),
        matched=tables.matched_tables(group),
        metrics=tables.metrics_table(group),
        further=tables.further_table(group),
        panels=sweep_panels(group),
        caption=charts_caption(group),
        samples=[(curve, found) for curve, found in pictures if found],
    )
