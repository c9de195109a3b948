"""What differs between kinds of training: the objectives of their turns, and what is shown."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from torch import nn

from pilotage.conditions import CaptionSpace
from pilotage.data import ImageData
from pilotage.models.build import (
    build_labels,
    build_schedule,
    few_steps,
    known_classes,
    schedule_of,
)
from pilotage.models.run_folder import Card
from pilotage.objectives import Denoising, Hybrid
from pilotage.objectives.classification import Classification
from pilotage.objectives.conditioned import ImageConditionedDenoising
from pilotage.objectives.gan_losses import Adversarial, DiscriminatorLoss, GeneratorLoss
from pilotage.objectives.vdm import VDM
from pilotage.settings import AdversarialRecipe, TextRecipe
from pilotage.training.callbacks import SampleWatch
from pilotage.training.caption_callback import CaptionWatch
from pilotage.training.noise_level_callback import NoiseLevelWatch
from pilotage.training.point_callback import PointWatch
from pilotage.training.trainer import Objective, Training, Turn

LOGIT_LIMITS = {"real_logit": 1e4, "fake_logit": 1e4}  # softplus has long been flat there


class Watch(Protocol):
    """Shows now and then how a training goes; every process calls it."""

    def look(self) -> None:
        """Measure and draw; the main process writes."""
        ...


def build_turns(card: Card, training: Training, space: CaptionSpace | None = None) -> list[Turn]:
    """The updates of a training step, the main learner's last; space is that of captions."""
    if isinstance(card.recipe, AdversarialRecipe):
        return _gan_turns(card, training)
    return [Turn(training.main, build_objective(card, training.network, space))]


def build_objective(card: Card, network: nn.Module, space: CaptionSpace | None = None) -> Objective:
    """What a recipe with one network minimises; it may hold the schedule learned with it."""
    recipe = card.recipe
    if isinstance(recipe, TextRecipe):
        return _text_objective(recipe, space)
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


def _text_objective(recipe: TextRecipe, space: CaptionSpace) -> Objective:
    """Denoising of captioned images, with an image beside x where the recipe has one."""
    how = (build_schedule(recipe), space, recipe.p_uncond)
    denoising = Denoising(*how)
    if recipe.objective == "hybrid":
        denoising = Hybrid(*how, steps=recipe.timesteps, vlb_weight=recipe.vlb_weight)
    if recipe.low_res is None and not recipe.inpaint:
        return denoising
    return ImageConditionedDenoising(
        denoising, recipe.low_res, recipe.augment, recipe.inpaint, recipe.p_uncond_image
    )


def _gan_turns(card: Card, training: Training) -> list[Turn]:
    """First the discriminator's turn, then the generator's."""
    recipe, main, opponent = card.recipe, training.main, training.opponent
    loss = Adversarial(
        few_steps(recipe).lams,
        recipe.network.latent_dim,
        conditional=known_classes(card) is not None,
        with_latent=recipe.with_latent,
        direct=recipe.direct,
        r1_gamma=recipe.r1_gamma,
        r1_every=recipe.r1_every,
    )
    how = (loss, build_labels(card), recipe.p_uncond)
    judge = DiscriminatorLoss(*how, main.plain, lambda: training.step)
    draw = GeneratorLoss(*how, opponent.plain, opponent.network)
    return [Turn(opponent, judge, LOGIT_LIMITS), Turn(main, draw)]


def make_watch(
    training: Training,
    card: Card,
    out: Path,
    data: tuple[ImageData, ImageData],
    say: Callable[[str], None],
    space: CaptionSpace | None = None,
) -> Watch:
    """What a recipe's run shows while it trains; space is that of captions."""
    if isinstance(card.recipe, TextRecipe):
        return CaptionWatch(training, card, out, data, say, space=space)
    if card.recipe.objective == "classifier":
        kind = NoiseLevelWatch
    else:
        kind = PointWatch if len(card.data.shape) == 1 else SampleWatch
    return kind(training, card, out, data, say)
