"""The kinds of training, as values: what each learns, minimises and shows.

A recipe names its kind (``recipe.task``), and ``TASKS`` has the task of each; what the networks
minimise is named by ``recipe.objective``, in ``OBJECTIVES``. A new kind of training is one more
task, a new objective one more entry. How models are built and sampled is in
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

GRID_STEPS = 32  # of the grids of samples
LOGIT_LIMITS = {"real_logit": 1e4, "fake_logit": 1e4}  # softplus has long been flat there


# --- objectives ----------------------------------------------------------------------------------


# of networks that learn alone, by the ``objective`` of the recipe
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
    """How a denoiser is trained, and what another kind of training changes of it.

    Attributes:
        takes_points: whether it learns points, too.
        own_network: whether its network, and with it the condition space, may be a user's own.
        captions: whether it is conditioned on captions, instead of labels.
    """

    takes_points = False
    own_network = True
    captions = False

    def check(self, card: Card) -> None:
        """Refuse data that the recipe cannot learn from.

        Raises:
            PilotageError: saying why.
        """
        recipe = card.recipe
        if recipe.flip and recipe.data == "shapes":
            raise PilotageError(
                "flip is True: captions of shapes say what is left and right, so it must be False."
            )
        if card.data.points and not self.takes_points:
            raise PilotageError(
                f"data is {recipe.data}: it has points, which only objective ddgan learns."
            )

    def space(self, recipe: Any, data: LabelledData, out: Path) -> Space | None:
        """The condition space that a run needs beside its labels; None if these are all.

        Args:
            recipe: of the run.
            data: what it is trained on.
            out: its folder, which may hold the space already.

        Raises:
            PilotageError: if there is none.
        """
        return None

    def models(self, card: Card, network: nn.Module | None = None) -> dict[str, Trainable]:
        """What learns, by the names of the weight files, with initial weights; the main one first.

        Args:
            card: what is trained.
            network: in place of the recipe's.
        """
        return {"model": builder_of(card).build(card, network)}

    def learning_rate(self, recipe: Any, name: str) -> float:
        """Of one of the models, before warm-up and decay."""
        rate: float = recipe.learning_rate
        return rate

    def objective(self, card: Card, network: nn.Module, space: Space) -> Objective:
        """What the main network minimises; it may hold the schedule learned with it."""
        recipe = card.recipe
        return OBJECTIVES[recipe.objective](recipe, schedule_of(network, recipe), space)

    def turns(self, card: Card, training: Training, space: Space) -> list[Turn]:
        """The updates of a training step, the main learner's last."""
        return [Turn(training.main, self.objective(card, training.network, space))]

    def spec(self, recipe: Any) -> SamplingSpec:
        """How the grids are sampled: with w = 1, or what the run's dropping rate has trained."""
        w = {0.0: 0.0, 1.0: -1.0}.get(recipe.p_uncond, 1.0)
        return SamplingSpec(w=w, steps=at_most_all(GRID_STEPS, recipe), sampler=DDIM())

    def callbacks(self, run: Run) -> list[Callback]:
        """What the run shows while it trains."""
        return [SampleGrids(run, self.spec(run.card.recipe))]


class CaptionedTask(Task):
    """A denoiser on captions, and on an image beside x where the recipe has one."""

    own_network = False
    captions = True

    def check(self, card: Card) -> None:
        """Also the size of the image to enlarge."""
        low, size = card.recipe.low_res, card.data.shape[1:]
        if low and any(a >= b or b % a for a, b in zip(low, size, strict=True)):
            raise PilotageError(
                f"low_res is {low}: it must be smaller than the images' {size}, and divide it."
            )
        super().check(card)

    def space(self, recipe: Any, data: LabelledData, out: Path) -> Space:
        """The captions'.

        It is the run's own, else that of the run whose weights it starts from, else that of the
        encoder, the file or the captions given.
        """
        if (out / CONDITIONS).exists() and trained(out):
            return load_space(out / CONDITIONS)
        if recipe.start_from is not None:
            return _space_of(Path(recipe.start_from), recipe)
        if recipe.encoder is not None:
            return frozen_text(recipe.encoder, recipe.context, process_device())
        return Tokens(_tokenizer(recipe, data))

    def objective(self, card: Card, network: nn.Module, space: Space) -> Objective:
        """Denoising of captioned images."""
        recipe, found = card.recipe, super().objective(card, network, space)
        if recipe.low_res is None and not recipe.inpaint:
            return found
        if not isinstance(found, Denoising):
            raise PilotageError(
                f"objective is {recipe.objective}: it goes with neither low_res nor inpaint."
            )
        return ImageConditionedDenoising(
            found, recipe.low_res, recipe.augment, recipe.inpaint, recipe.p_uncond_image
        )

    def callbacks(self, run: Run) -> list[Callback]:
        """Grids of held-out captions."""
        return [CaptionGrids(run, self.spec(run.card.recipe))]


class GanTask(Task):
    """A denoising diffusion GAN: a generator and its discriminator (2112.07804)."""

    takes_points = True
    own_network = False

    def models(self, card: Card, network: nn.Module | None = None) -> dict[str, Trainable]:
        """The generator, then the discriminator."""
        opponent = build_discriminator(card)
        judge = NetworkDiscriminator(opponent, gan_time(opponent, card.recipe))
        return {**super().models(card, network), "discriminator": judge}

    def learning_rate(self, recipe: Any, name: str) -> float:
        """The discriminator may have its own."""
        own = recipe.discriminator_learning_rate if name == "discriminator" else None
        return own or super().learning_rate(recipe, name)

    def turns(self, card: Card, training: Training, space: Any) -> list[Turn]:
        """First the discriminator's turn, then the generator's."""
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
        judge = DiscriminatorLoss(*how, main.plain, lambda: training.step)
        draw = GeneratorLoss(*how, opponent.plain, opponent.network)
        return [Turn(opponent, judge, LOGIT_LIMITS), Turn(main, draw)]

    def spec(self, recipe: Any) -> SamplingSpec:
        """Without guidance, in its own steps."""
        return SamplingSpec()

    def callbacks(self, run: Run) -> list[Callback]:
        """Grids of images, or plots of points."""
        data = run.data[0]
        if isinstance(data, PointData):
            return [PointPlots(run, SamplingSpec(batch_size=1000), data)]
        return super().callbacks(run)


class ClassifierTask(Task):
    """A classifier of noisy images."""

    own_network = False

    def callbacks(self, run: Run) -> list[Callback]:
        """Accuracy by noise level."""
        return [NoiseLevels(run)]


# by the ``task`` of the recipe
TASKS: dict[str, Task] = {
    "denoiser": Task(),
    "captioned": CaptionedTask(),
    "gan": GanTask(),
    "classifier": ClassifierTask(),
}


def task_of(card: Card) -> Task:
    """The task of a card's kind of training."""
    return TASKS[card.recipe.task]


# --- the space of captions -----------------------------------------------------------------------


def _tokenizer(recipe: Any, data: LabelledData) -> ByteLevelBPE:
    """The tokenizer of the file given, or one trained on the captions."""
    if recipe.tokenizer == "bpe":
        if recipe.vocabulary <= 256:
            raise PilotageError(
                f"vocabulary is {recipe.vocabulary}: it must be at least 257, all bytes and the "
                "end of a text."
            )
        return ByteLevelBPE.train(data.captions or (), recipe.vocabulary, recipe.context)
    if not Path(recipe.tokenizer).is_file():
        raise PilotageError(
            f"tokenizer is {recipe.tokenizer!r}: it must be bpe, or a tokenizer.json that exists."
        )
    return ByteLevelBPE.load(recipe.tokenizer, recipe.context)


def _space_of(source: Path, recipe: Any) -> Space:
    """The space that another run's weights were trained with."""
    card = read_card(source)
    if card.recipe.task != recipe.task:
        raise PilotageError(f"start_from is {source}: it was not trained on captions.")
    for name in ("tokenizer", "encoder", "context"):
        asked, known = getattr(recipe, name), getattr(card.recipe, name)
        if asked != known:
            raise PilotageError(
                f"{name} is {asked!r}: it must be {known!r}, that of {source}, whose weights "
                "training starts from."
            )
    return builder_of(card).space(card, source)
