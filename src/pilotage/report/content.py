"""The content of a report, decided once for page and Markdown."""

from typing import NamedTuple

from pilotage.report import tables
from pilotage.report.attributes import Captioned, captioned
from pilotage.report.best import AIMS, Best, best_over
from pilotage.report.charts import charts_caption, sweep_panels
from pilotage.report.classifiers import level_panels, level_tables
from pilotage.report.figures import Panel
from pilotage.report.grouping import Curve, Group, arrange, notes
from pilotage.report.guidance import guidance_names
from pilotage.report.likelihood_section import Likelihoods, likelihoods
from pilotage.report.manifest import how_to_read, title, warnings_of
from pilotage.report.matched import matched_tables
from pilotage.report.read import Source
from pilotage.report.samples import Strip, strips
from pilotage.report.series import health_panels, training_panels
from pilotage.report.tables import Table


class Aims(NamedTuple):
    """The best w for each aim that was measured, of all curves whose w means the same.

    Attributes:
        name: what w is there; empty if it is the same in the whole group.
    """

    name: str
    best: list[Best]


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
    first = tables.curve_best(group)
    ordered = sorted(group.curves, key=lambda curve: curve != first)
    pictures = [(curve, strips(curve)) for curve in ordered]
    return Section(
        group=group,
        notes=notes(group),
        aims=_aims(group),
        curves=tables.best_table(group) if len(group.curves) > 1 else None,
        captioned=captioned(group),
        guidance=tables.guidance_tables(group),
        matched=matched_tables(group),
        metrics=tables.metrics_table(group),
        further=tables.further_table(group),
        panels=sweep_panels(group),
        caption=charts_caption(group),
        samples=[(curve, found) for curve, found in pictures if found],
    )


def _aims(group: Group) -> list[Aims]:
    names = guidance_names(group.guidances)
    found = []
    for guidance, name in names.items():
        curves = [curve for curve in group.curves if curve.guidance == guidance]
        best = [b for b in (best_over(curves, metric) for metric in AIMS) if b]
        found.append(Aims(name if len(names) > 1 else "", best))
    return [aims for aims in found if aims.best]
