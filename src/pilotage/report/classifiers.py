"""What noisy classifiers show: accuracy and calibration by noise level."""

from collections.abc import Sequence
from typing import Any

from pilotage.report.figures import MUTED, SERIES, Panel
from pilotage.report.levels import Level
from pilotage.report.names import spoken
from pilotage.report.read import Source
from pilotage.report.tables import Line, Number, Table

DRAWN = {"accuracy": "o-", "confidence": "s--", "calibration_error": "^:"}
NAMES = {"accuracy": "accuracy ↑", "calibration_error": "calibration error ↓"}
NAMES |= {"confidence": "confidence", "log_loss": "log loss ↓"}
SHOWN = ("accuracy", "confidence", "calibration_error", "log_loss")
CAPTION = (
    "lam is the log signal-to-noise ratio: noise on the left, clean images on the right. "
    "Confidence is the mean probability of the likeliest class, the calibration error its mean "
    "distance from the accuracy, over bins of confidence."
)


def level_panels(sources: Sequence[Source]) -> list[Panel]:
    """A chart per classifier, of its newest levels."""
    shown = _with_levels(sources)
    return [_panel(source, named=len(shown) > 1) for source in shown]


def level_tables(sources: Sequence[Source]) -> list[Table]:
    """The same as numbers, with the log loss."""
    return [_table(source) for source in _with_levels(sources)]


def _with_levels(sources: Sequence[Source]) -> list[Source]:
    return [source for source in sources if source.classifies and source.levels]


def _panel(source: Source, named: bool) -> Panel:
    name = "accuracy and calibration by noise level"
    title = f"{name}\n{source.label}" if named else name

    def draw(axis: Any) -> None:
        levels = source.levels[-1].levels
        lams = [level.lam for level in levels]
        for k, (field, look) in enumerate(DRAWN.items()):
            values = [getattr(level, field) for level in levels]
            axis.plot(lams, values, look, color=SERIES[k], label=spoken(field))
        if source.classes:
            axis.axhline(1 / source.classes, color=MUTED, linewidth=1, label="chance")
        axis.set(title=title, xlabel="lam", ylim=(0, 1.03))

    return Panel(title.replace("\n", ", "), draw)


def _table(source: Source) -> Table:
    newest = source.levels[-1]
    chance = f"; chance is {1 / source.classes:.3g}" if source.classes else ""
    caption = f"{source.label} at step {newest.step}, on {newest.images} images{chance}."
    columns = tuple(NAMES[field] for field in SHOWN)
    return Table(caption, "lam", columns, tuple(map(_line, newest.levels)))


def _line(level: Level) -> Line:
    cells = tuple((Number(f"{getattr(level, field):.3f}"),) for field in SHOWN)
    return Line(f"{level.lam:.3g}", cells)
