"""What differs between training a denoiser and a classifier: the objective and what is shown."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pilotage.data import ImageData
from pilotage.folder import Card
from pilotage.model import build_labels, build_schedule
from pilotage.objectives import Denoising, Hybrid
from pilotage.objectives.classification import Classification
from pilotage.training.loop import Objective, Training
from pilotage.training.noise_levels import NoiseLevelWatch
from pilotage.training.watch import SampleWatch


class Watch(Protocol):
    """Shows now and then how a training goes; every process calls it."""

    def look(self) -> None:
        """Measure and draw; the main process writes."""
        ...


def build_objective(card: Card) -> Objective:
    """What a recipe minimises."""
    schedule, recipe = build_schedule(card.recipe), card.recipe
    if recipe.objective == "classifier":
        return Classification(schedule)
    how = (schedule, build_labels(card), recipe.p_uncond)
    if recipe.objective == "hybrid":
        return Hybrid(*how, steps=recipe.timesteps, vlb_weight=recipe.vlb_weight)
    return Denoising(*how)


def make_watch(
    training: Training,
    card: Card,
    out: Path,
    data: tuple[ImageData, ImageData],
    say: Callable[[str], None],
) -> Watch:
    """What a recipe's run shows while it trains."""
    kind = NoiseLevelWatch if card.recipe.objective == "classifier" else SampleWatch
    return kind(training, card, out, data, say)
