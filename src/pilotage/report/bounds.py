"""Lines of a run's ``likelihood.jsonl``, checked."""

import math
from typing import Any, NamedTuple

from pilotage.errors import PilotageError
from pilotage.report.lines import Line
from pilotage.report.rows import Measure

PARTS = ("bits_per_dimension", "prior", "reconstruction", "diffusion")
WEIGHTS = ("ema", "model")


class Bound(NamedTuple):
    """Bits per dimension of held-out images under a model, and all that decides them.

    Attributes:
        run: what the report calls it.
        unconditional: whether no class was told, if only because the model knows none.
        v: the variance fraction, None if it is the model's own.
        n: how many images.
        steps: T of the bound, inf for continuous time.
        evaluations: network calls per image for the diffusion term; T where that is less.
        measures: by the names of ``PARTS``.
        codecs: bits per dimension of lossless codecs, by name.
        raw: everything that the line holds.
    """

    run: str
    unconditional: bool
    weights: str
    v: float | None
    n: int
    hash: str
    steps: float
    evaluations: int
    seed: int
    training_step: int
    data: str
    measures: dict[str, Measure]
    codecs: dict[str, float]
    raw: dict[str, Any]

    @property
    def key(self) -> tuple[Any, ...]:
        """What decides the numbers."""
        return self[: self._fields.index("data")]

    @property
    def total(self) -> Measure:
        """All parts together."""
        return self.measures["bits_per_dimension"]


def parse_bound(line: Line, run: str, conditional: bool) -> Bound:
    """A line of the file.

    Args:
        line: what was read.
        run: the label of the run.
        conditional: whether its model was ever told a class.

    Raises:
        PilotageError: naming file, line and field.
    """
    data = Line(f"{line.where}, data", line.need("data", dict))
    steps = _steps(line)
    evaluations = line.need("evaluations", int)
    chain = "timesteps" in line.content  # all steps of a beta schedule are evaluated
    return Bound(
        run=run,
        unconditional=line.need("unconditional", bool) or not conditional,
        weights=line.choice("weights", WEIGHTS),
        v=line.number_or("v"),
        n=line.need("n", int),
        hash=data.need("hash", str),
        steps=steps,
        evaluations=int(steps) if chain or steps < evaluations else evaluations,
        seed=line.need("seed", int),
        training_step=line.need("training_step", int),
        data=str(data.content.get("data", "")),
        measures={part: Measure(*line.pair(part)) for part in PARTS},
        codecs=_codecs(line),
        raw=line.content,
    )


def _steps(line: Line) -> float:
    if line.content.get("steps") == "inf" and "timesteps" not in line.content:
        return math.inf
    steps = line.need("steps", int)
    if steps < 1:
        raise PilotageError(f"{line.where}: steps is {steps}, which it cannot be.")
    return steps


def _codecs(line: Line) -> dict[str, float]:
    if line.content.get("codecs") is None:
        return {}
    codecs = Line(f"{line.where}, codecs", line.need("codecs", dict))
    return {name: codecs.number(name) for name in codecs.content}
