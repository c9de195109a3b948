"""What images cost: bits per dimension by model and T, as tables, and the section's charts."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from pilotage.report.bounds import PARTS, Bound
from pilotage.report.figures import Panel
from pilotage.report.likelihood_charts import bound_caption, bound_panels
from pilotage.report.likelihood_table import Coded, coded_images
from pilotage.report.names import decimals, number_text, spoken
from pilotage.report.read import Source
from pilotage.report.tables import Line, Number, Table, printed
from pilotage.report.variance import VARIANCE_CAPTION, variance_panel

COLUMNS = (f"{spoken(PARTS[0])} ↓", *PARTS[1:], "evaluations", "seed", "training step")
MEANING = (
    "Bits per dimension: an upper bound of −log₂ p per dimension, mean over the images ± one "
    "standard error; lower is better. They are the sum of prior, reconstruction and diffusion. "
    "T is the number of steps of the bound, inf is continuous time. Evaluations: network calls "
    "per image that estimate diffusion."
)


class Likelihoods(NamedTuple):
    """The section.

    Attributes:
        images: what the tables tell, one each.
        figures: name, panels and caption of each.
    """

    images: list[Coded]
    tables: list[Table]
    figures: list[tuple[str, list[Panel], str]]

    @property
    def panels(self) -> list[Panel]:
        """Those of all figures."""
        return [panel for _, panels, _ in self.figures for panel in panels]


def likelihoods(sources: Sequence[Source]) -> Likelihoods | None:
    """All of the section; None where no run has a likelihood."""
    images = coded_images(sources)
    if not images:
        return None
    runs = [source.label for source in sources]
    figures = [("Over T", bound_panels(images, runs), bound_caption(images))]
    variance = variance_panel(sources)
    if variance:
        figures.append(("Variance over training", [variance], VARIANCE_CAPTION))
    return Likelihoods(images, [_table(coded) for coded in images], figures)


def _table(coded: Coded) -> Table:
    digits = {part: decimals(bound.measures[part] for bound in coded.bounds) for part in PARTS}
    models: dict[tuple[Any, ...], list[Bound]] = {}
    for bound in coded.bounds:
        models.setdefault(_model(bound), []).append(bound)
    lines = []
    for bounds in models.values():
        lines.append(Line(_title(bounds[0]), kind="title"))
        lines += [_line(bound, digits) for bound in sorted(bounds, key=_order)]
    lines += [_codec(name, bits, digits[PARTS[0]]) for name, bits in coded.codecs.items()]
    return Table(_caption(coded), "T", COLUMNS, tuple(lines))


def _model(bound: Bound) -> tuple[Any, ...]:
    return bound.run, bound.unconditional, bound.weights, bound.v


def _title(bound: Bound) -> str:
    parts = [bound.run, "unconditional" if bound.unconditional else "conditional"]
    parts += ["latest weights"] if bound.weights == "model" else []
    parts += [f"v = {bound.v:g}"] if bound.v is not None else []
    return ", ".join(parts)


def _order(bound: Bound) -> tuple[float, ...]:
    return bound.steps, bound.training_step, bound.evaluations, bound.seed


def _line(bound: Bound, digits: dict[str, int]) -> Line:
    numbers = [printed(bound.measures[part], digits[part]) for part in PARTS]
    counts = (bound.evaluations, bound.seed, bound.training_step)
    numbers += [Number(str(count)) for count in counts]
    return Line(steps_text(bound.steps), tuple((number,) for number in numbers))


def _codec(name: str, bits: float, digits: int) -> Line:
    nothing = ((Number(""),),) * (len(COLUMNS) - 1)
    return Line(name, ((Number(number_text(bits, digits)),), *nothing), "floor")


def steps_text(steps: float) -> str:
    """T, as the command line takes it."""
    return "inf" if math.isinf(steps) else f"{steps:.0f}"


def _caption(coded: Coded) -> str:
    said = f"Held-out images of {coded.name}. {MEANING}"
    if coded.codecs:
        said += " At the end: lossless codecs, on the same images."
    return said
