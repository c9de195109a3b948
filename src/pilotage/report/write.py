"""``write_report``: reads the runs and writes page, Markdown, CSV and figures."""

from collections.abc import Sequence
from pathlib import Path

from pilotage.errors import PilotageError
from pilotage.report.content import Content, gather
from pilotage.report.csv import flat, flat_levels, flat_likelihood
from pilotage.report.figures import save_png
from pilotage.report.markdown import markdown
from pilotage.report.page import page
from pilotage.report.read import read_sources
from pilotage.report.samples import save_strips


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
