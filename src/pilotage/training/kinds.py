"""What differs between training a denoiser and a classifier: the objective and what is shown."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from torch import nn

from pilotage.data import ImageData
from pilotage.folder import Card
from pilotage.model import build_labels, schedule_of
from pilotage.objectives import Denoising, Hybrid
from pilotage.objectives.classification import Classification
from pilotage.objectives.vdm import VDM
from pilotage.training.loop import Objective, Training
from pilotage.training.noise_levels import NoiseLevelWatch
from pilotage.training.watch import SampleWatch


class Watch(Protocol):
    """Shows now and then how a training goes; every process calls it."""

    def look(self) -> None:
        """Measure and draw; the main process writes."""
        ...


def build_objective(card: Card, network: nn.Module) -> Objective:
    """What a recipe minimises; the network may hold the schedule that is learned with it."""
    recipe = card.recipe
    schedule = schedule_of(network, recipe)
    if recipe.objective == "classifier":
        return Classification(schedule)
    how = (schedule, build_labels(card), recipe.p_uncond)
    if recipe.objective == "hybrid":
        return Hybrid(*how, steps=recipe.timesteps, vlb_weight=recipe.vlb_weight)
    if recipe.objective == "vdm":
        steps = math.inf if recipe.bound_steps is None else recipe.bound_steps
        return VDM(*how, steps=steps, levels=recipe.data_levels)
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
