"""The kinds of training, as values: models, objectives and callbacks of each.

``recipe.task`` names an entry of ``TASKS``, ``recipe.objective`` one of ``OBJECTIVES``. A new kind
of training is a new task, a new objective a new entry. How models are built and sampled is in
:mod:`pilotage.models.build`.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from pilotage.conditions import (
    ByteLevelBPE,
    Space,
    Tokens,
    frozen_text,
    load_space,
)
from pilotage.data import LabelledData, PointData
from pilotage.diffusion import Schedule
from pilotage.diffusion.latent import NetworkDiscriminator
from pilotage.errors import PilotageError
from pilotage.models.build import (
    at_most_all,
    build_discriminator,
    builder_of,
    few_steps,
    gan_time,
    known_classes,
    schedule_of,
)
from pilotage.models.run_folder import CONDITIONS, Card, read_card, trained
from pilotage.objectives import Denoising, Hybrid
from pilotage.objectives.classification import Classification
from pilotage.objectives.conditioned import ImageConditionedDenoising
from pilotage.objectives.gan_losses import Adversarial, DiscriminatorLoss, GeneratorLoss
from pilotage.objectives.vdm import VDM
from pilotage.settings import SamplingSpec
from pilotage.settings.samplers import DDIM
from pilotage.training.callbacks import (
    Callback,
    CaptionGrids,
    NoiseLevels,
    PointPlots,
    Run,
    SampleGrids,
)
from pilotage.training.learner import Trainable
from pilotage.training.trainer import Objective, Training, Turn
from pilotage.utils.distributed import process_device

GRID_STEPS = 32  # of sample grids; fewer where a beta schedule has fewer timesteps
# divergence thresholds of the mean logits, where softplus is long saturated
LOGIT_LIMITS = {"real_logit": 1e4, "fake_logit": 1e4}


# --- objectives ----------------------------------------------------------------------------------


# for networks trained alone, by the ``objective`` of the recipe
OBJECTIVES: dict[str, Callable[[Any, Schedule, Any], Objective]] = {
    "simple": lambda recipe, schedule, space: Denoising(schedule, space, recipe.p_uncond),
    "hybrid": lambda recipe, schedule, space: Hybrid(
        schedule, space, recipe.p_uncond, recipe.timesteps, recipe.vlb_weight
    ),
    "vdm": lambda recipe, schedule, space: VDM(
        schedule, space, recipe.p_uncond, recipe.bound_steps or math.inf, recipe.data_levels
    ),
    "classifier": lambda recipe, schedule, space: Classification(schedule),
}


# --- tasks ---------------------------------------------------------------------------------------


class Task:
    """The training of a denoiser, and the base of other kinds of training.

    Attributes:
        takes_points: whether it supports points.
        own_network: whether a user's own network, and with it a condition space, is supported.
        captions: whether it is conditioned on captions instead of labels.
    """

    takes_points = False
    own_network = True
    captions = False

    def check(self, card: Card) -> None:
        """Refuse data that the recipe cannot learn from.

        Raises:
            PilotageError: giving the reason.
        """
        recipe = card.recipe
        if recipe.flip and recipe.data == "shapes":
            raise PilotageError(
                "flip is True: it must be False, since captions of shapes say what is left and "
                "right."
            )
        if card.data.points and not self.takes_points:
            raise PilotageError(
                f"data is {recipe.data}: it must have images, since only objective ddgan learns "
                "points."
            )

    def space(self, recipe: Any, data: LabelledData, out: Path) -> Space | None:
        """Return the condition space of a run; None if it has labels only.

        Args:
            recipe: of the run.
            data: the training data.
            out: the run folder, which may hold the space already.

        Raises:
            PilotageError: if the space cannot be made.
        """
        return None

    def models(self, card: Card, network: nn.Module | None = None) -> dict[str, Trainable]:
        """Make the trained models with initial weights, by weight file; the main one first.

        Args:
            card: the recipe and the facts of the data.
            network: replaces the recipe's.
        """
        return {"model": builder_of(card).build(card, network)}

    def learning_rate(self, recipe: Any, name: str) -> float:
        """Return the learning rate of a model, before warm-up and decay."""
        rate: float = recipe.learning_rate
        return rate

    def objective(self, card: Card, network: nn.Module, space: Space) -> Objective:
        """Make the objective of the main network, which may hold a learned schedule."""
        recipe = card.recipe
        return OBJECTIVES[recipe.objective](recipe, schedule_of(network, recipe), space)

    def turns(self, card: Card, training: Training, space: Space) -> list[Turn]:
        """Return the updates of a training step, the main learner's last."""
        return [Turn(training.main, self.objective(card, training.network, space))]

    def spec(self, recipe: Any) -> SamplingSpec:
        """Return the sampling request of grids: w = 1, or the only w that p_uncond has trained."""
        w = {0.0: 0.0, 1.0: -1.0}.get(recipe.p_uncond, 1.0)
        return SamplingSpec(w=w, steps=at_most_all(GRID_STEPS, recipe), sampler=DDIM())

    def callbacks(self, run: Run) -> list[Callback]:
        """Return the callbacks of a run."""
        return [SampleGrids(run, self.spec(run.card.recipe))]


class CaptionedTask(Task):
    """A denoiser on captions, perhaps with concatenated conditioning channels."""

    own_network = False
    captions = True

    def check(self, card: Card) -> None:
        """Check the size of low-resolution conditioning images, too."""
        low, size = card.recipe.low_res, card.data.shape[1:]
        if low and any(a >= b or b % a for a, b in zip(low, size, strict=True)):
            raise PilotageError(
                f"low_res is {low}: it must be smaller than the images' {size}, and divide it."
            )
        super().check(card)

    def space(self, recipe: Any, data: LabelledData, out: Path) -> Space:
        """Return the space of captions.

        It is the run's own, else that of ``start_from``, else made of the encoder, the tokenizer's
        file or the captions.
        """
        if (out / CONDITIONS).exists() and trained(out):
            return load_space(out / CONDITIONS)
        if recipe.start_from is not None:
            return _space_of(Path(recipe.start_from), recipe)
        if recipe.encoder is not None:
            return frozen_text(recipe.encoder, recipe.context, process_device())
        return Tokens(_tokenizer(recipe, data))

    def objective(self, card: Card, network: nn.Module, space: Space) -> Objective:
        """Make the denoising objective of captioned images."""
        recipe, found = card.recipe, super().objective(card, network, space)
        if recipe.low_res is None and not recipe.inpaint:
            return found
        if not isinstance(found, Denoising):
            raise PilotageError(
                f"objective is {recipe.objective}: it must be a denoising one with low_res or "
                "inpaint."
            )
        return ImageConditionedDenoising(
            found, recipe.low_res, recipe.augment, recipe.inpaint, recipe.p_uncond_image
        )

    def callbacks(self, run: Run) -> list[Callback]:
        """Return grids of held-out captions."""
        return [CaptionGrids(run, self.spec(run.card.recipe))]


class GanTask(Task):
    """A denoising diffusion GAN: a generator and its discriminator (2112.07804)."""

    takes_points = True
    own_network = False

    def models(self, card: Card, network: nn.Module | None = None) -> dict[str, Trainable]:
        """Make the generator, then the discriminator."""
        network_d = build_discriminator(card)
        discriminator = NetworkDiscriminator(network_d, gan_time(network_d, card.recipe))
        return {**super().models(card, network), "discriminator": discriminator}

    def learning_rate(self, recipe: Any, name: str) -> float:
        """Return the rate of either; the discriminator may have its own."""
        own = recipe.discriminator_learning_rate if name == "discriminator" else None
        return own or super().learning_rate(recipe, name)

    def turns(self, card: Card, training: Training, space: Any) -> list[Turn]:
        """Update the discriminator, then the generator."""
        recipe, (main, opponent) = card.recipe, training.learners
        loss = Adversarial(
            few_steps(recipe).lams,
            recipe.network.latent_dim,
            conditional=known_classes(card) is not None,
            with_latent=recipe.with_latent,
            direct=recipe.direct,
            r1_gamma=recipe.r1_gamma,
            r1_every=recipe.r1_every,
        )
        how = (loss, space, recipe.p_uncond)
        discriminate = DiscriminatorLoss(*how, main.plain, lambda: training.step)
        generate = GeneratorLoss(*how, opponent.plain, opponent.network)
        return [Turn(opponent, discriminate, LOGIT_LIMITS), Turn(main, generate)]

    def spec(self, recipe: Any) -> SamplingSpec:
        """Return the sampling request of grids: no guidance, the generator's own steps."""
        return SamplingSpec()

    def callbacks(self, run: Run) -> list[Callback]:
        """Return grids of images, or plots of points."""
        data = run.data[0]
        if isinstance(data, PointData):
            return [PointPlots(run, SamplingSpec(batch_size=1000), data)]
        return super().callbacks(run)


class ClassifierTask(Task):
    """A classifier of noisy images."""

    own_network = False

    def callbacks(self, run: Run) -> list[Callback]:
        """Return the accuracy by noise level."""
        return [NoiseLevels(run)]


# by the ``task`` of the recipe
TASKS: dict[str, Task] = {
    "denoiser": Task(),
    "captioned": CaptionedTask(),
    "gan": GanTask(),
    "classifier": ClassifierTask(),
}


def task_of(card: Card) -> Task:
    """Return the task of a card."""
    return TASKS[card.recipe.task]


# --- the space of captions -----------------------------------------------------------------------


def _tokenizer(recipe: Any, data: LabelledData) -> ByteLevelBPE:
    """Load the tokenizer's file, or train one on the captions."""
    if recipe.tokenizer == "bpe":
        if recipe.vocabulary <= 256:
            raise PilotageError(
                f"vocabulary is {recipe.vocabulary}: it must be at least 257, for all bytes and "
                "the end of text."
            )
        return ByteLevelBPE.train(data.captions or (), recipe.vocabulary, recipe.context)
    if not Path(recipe.tokenizer).is_file():
        raise PilotageError(
            f"tokenizer is {recipe.tokenizer!r}: it must be bpe, or an existing tokenizer.json."
        )
    return ByteLevelBPE.load(recipe.tokenizer, recipe.context)


def _space_of(source: Path, recipe: Any) -> Space:
    """Load the space that another run was trained with."""
    card = read_card(source)
    if card.recipe.task != recipe.task:
        raise PilotageError(f"--from is {source}: it must be a run on captions.")
    for name in ("tokenizer", "encoder", "context"):
        new, old = getattr(recipe, name), getattr(card.recipe, name)
        if new != old:
            raise PilotageError(
                f"{name} is {new!r}: it must be {old!r}, as in {source}, whose weights training "
                "starts from."
            )
    return builder_of(card).space(card, source)
