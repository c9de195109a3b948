"""Lines of a classifier's ``noise_levels.jsonl``, checked."""

from typing import NamedTuple

from pilotage.errors import PilotageError
from pilotage.report.lines import Line


class Level(NamedTuple):
    """A classifier at one noise level, as training measured it."""

    u: float
    lam: float
    accuracy: float
    confidence: float
    calibration_error: float
    log_loss: float


class Levels(NamedTuple):
    """All noise levels at a step.

    Attributes:
        step: of the training.
        images: which these were measured on.
        levels: in the order of the file.
    """

    step: int
    images: str
    levels: tuple[Level, ...]


def parse_levels(line: Line) -> Levels:
    """A line of the file.

    Raises:
        PilotageError: naming file, line, level and field.
    """
    parts = line.parts("levels")
    if not parts:
        raise PilotageError(f"{line.where}: levels is empty.")
    levels = tuple(Level(*(part.number(name) for name in Level._fields)) for part in parts)
    return Levels(line.need("step", int), line.need("images", str), levels)
