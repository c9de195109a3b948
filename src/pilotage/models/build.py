"""From a run's card to its model: one builder per kind of model.

A recipe names its kind (``recipe.task``), and ``BUILDERS`` has the builder of each: a new kind of
model is one more builder. What trains it is in :mod:`pilotage.training.tasks`. The weights that a
network starts with are a function of the recipe's seed.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pilotage.conditions import CaptionSpace, Labels, Space, load_space
from pilotage.diffusion import (
    Denoiser,
    NetworkDenoiser,
    NoisyClassifier,
    Schedule,
    SeededNoise,
    Step,
    Timesteps,
    TruncatedCosine,
)
from pilotage.diffusion.ddgan_levels import FewSteps
from pilotage.diffusion.denoiser import cosine_time
from pilotage.diffusion.latent import (
    NetworkGenerator,
    direct,
    latent,
    no_latents,
)
from pilotage.diffusion.learned import LearnableLam, LinearLam, MonotoneLam
from pilotage.diffusion.steps import Score
from pilotage.errors import PilotageError
from pilotage.models.conditioning import CaptionConditioner, Conditioner, SpaceConditioner
from pilotage.models.run_folder import CONDITIONS, Card
from pilotage.networks import EncoderPlan, UNet, UNetEncoder, UNetPlan
from pilotage.networks.discriminator import Discriminator, DiscriminatorPlan
from pilotage.networks.encoder_path import ADMPlan
from pilotage.networks.latent_unet import LatentUNet, LatentUNetPlan
from pilotage.networks.mlp import (
    VectorDiscriminator,
    VectorDiscriminatorPlan,
    VectorGenerator,
    VectorGeneratorPlan,
)
from pilotage.networks.ncsnpp import NCSNpp
from pilotage.networks.ncsnpp_plan import NCSNppPlan
from pilotage.networks.plan import Plan
from pilotage.networks.text_unet import TextUNet, TextUNetPlan
from pilotage.settings import AdversarialRecipe, Settings, TrainingRecipe
from pilotage.settings.samplers import Ancestral, Sampler
from pilotage.utils.seeding import derived_seed, seeded

DEFAULT_STEPS = 64

Trained = NetworkDenoiser | NoisyClassifier | NetworkGenerator
P = TypeVar("P", bound=Plan)
A = TypeVar("A", bound=ADMPlan)


# --- noise levels ---------------------------------------------------------------------


def few_steps(recipe: AdversarialRecipe) -> FewSteps:
    """The levels that a GAN's generator is asked at."""
    return FewSteps(recipe.steps_T, recipe.beta_min, recipe.beta_max, recipe.geometric)


# by the "schedule" of a recipe's noise levels
SCHEDULES: dict[str, Callable[[Any], Schedule]] = {
    "truncated_cosine": lambda recipe: TruncatedCosine(recipe.lam_min, recipe.lam_max),
    "linear_lam": lambda recipe: LinearLam(recipe.lam_min, recipe.lam_max, learned=False),
    "learned_ends": lambda recipe: LinearLam(recipe.lam_min, recipe.lam_max, learned=True),
    "learned": lambda recipe: MonotoneLam(recipe.lam_min, recipe.lam_max),
    "linear": lambda recipe: Timesteps("linear", recipe.timesteps),
    "cosine": lambda recipe: Timesteps("cosine", recipe.timesteps),
    "ddgan": few_steps,
}


def build_schedule(recipe: TrainingRecipe) -> Schedule:
    """The run's noise schedule; one that is learned is as it starts."""
    return SCHEDULES[recipe.noise_levels["schedule"]](recipe)


def at_most_all(steps: int, recipe: TrainingRecipe) -> int:
    """A number of steps, or that of all levels of a recipe's beta schedule with fewer."""
    schedule = build_schedule(recipe)
    return min(steps, schedule.count) if isinstance(schedule, Timesteps) else steps


def schedule_of(network: nn.Module, recipe: TrainingRecipe) -> Schedule:
    """The noise schedule of a run's network, as far as it has learned one."""
    return network.schedule if isinstance(network, Scheduled) else build_schedule(recipe)


def _time(recipe: TrainingRecipe) -> Callable[[Tensor], Tensor]:
    schedule = build_schedule(recipe)
    return schedule.time if isinstance(schedule, Timesteps) else cosine_time


def gan_time(network: nn.Module, recipe: AdversarialRecipe) -> Callable[[Tensor], Tensor]:
    """How λ reaches a network: the paper's as the times 0 to T − 1, ours as 0 to 1000."""
    if isinstance(network, NCSNpp | Discriminator):
        return few_steps(recipe).time
    return cosine_time


# --- plans ---------------------------------------------------------------------------------------


def plan_of(kind: type[P], *settings: Settings, **given: Any) -> P:
    """A network's plan: what is given, else what the settings have by the same names.

    Args:
        kind: the plan's class; its own defaults fill the rest.
        *settings: any settings; only those named as a field of the plan are read.
        **given: fields of the plan.

    Raises:
        PilotageError: see ``kind``.
    """
    names = {field.name for field in fields(kind)}
    shared = {name: value for each in settings for name, value in each if name in names}
    return kind(**{**shared, **given})


def _adm_plan(kind: type[A], card: Card, **given: Any) -> A:
    """The plan of an ADM network; a number of heads takes the place of channels per head."""
    settings = card.recipe.network
    if settings.heads is not None:
        given["head_channels"] = None
    return plan_of(kind, settings, in_channels=card.data.shape[0], **given)


class Scheduled(nn.Module):
    """A network and the schedule that is learned with it, as one set of weights.

    Attributes:
        network: the U-Net; calling this calls it.
        schedule: u -> λ.
    """

    def __init__(self, network: UNet, schedule: LearnableLam) -> None:
        super().__init__()
        self.network, self.schedule = network, schedule

    def forward(self, z: Tensor, time: Tensor, cond: Tensor | None = None) -> Tensor:
        """The network's output."""
        output: Tensor = self.network(z, time, cond)
        return output


# --- builders ------------------------------------------------------------------------------------


class Builder:
    """A denoiser on labels, and what another kind of model changes of it.

    Attributes:
        stochastic: whether the network draws x, with a latent, instead of its mean.
    """

    stochastic = False

    def build(self, card: Card, network: nn.Module | None = None) -> Trained:
        """What a card's run trains, around a network, or the recipe's with its initial weights."""
        return self.around(card, self.network(card) if network is None else network)

    def network(self, card: Card) -> nn.Module:
        """The recipe's network, with its initial weights."""
        recipe, classes = card.recipe, len(card.data.classes)
        plan = _adm_plan(
            UNetPlan,
            card,
            num_classes=classes or None,
            null_class=recipe.network.null_class and classes > 0,
            learned_variance=recipe.learned_variance,
        )
        with seeded(recipe.seed, "weights"):
            unet, schedule = UNet(plan), build_schedule(recipe)
        if isinstance(schedule, LearnableLam) and any(True for _ in schedule.parameters()):
            return Scheduled(unet, schedule)
        return unet

    def around(self, card: Card, network: nn.Module) -> Trained:
        """The network as a denoiser; λ reaches it as a time from 0 to 1000, or a timestep."""
        return NetworkDenoiser(network, card.recipe.predicts, _time(card.recipe))

    def space(self, card: Card, folder: Path) -> Space:
        """The condition space of a run: that which it has saved, or its labels."""
        saved = folder / CONDITIONS
        return load_space(saved) if saved.exists() else build_labels(card)

    def conditioner(self, card: Card, network: nn.Module, space: Space) -> Conditioner:
        """The conditioner of the network."""
        device = _device(network)
        if not isinstance(space, Labels):
            return SpaceConditioner(space, True, device, noun="conditions", classifiers=False)
        has_null = bool(card.data.classes) and card.recipe.null_label
        return SpaceConditioner(space, has_null, device)

    def denoiser(self, card: Card, network: nn.Module, seeds: Iterable[int]) -> Denoiser:
        """The denoiser of the images of these seeds, one each."""
        denoise = NetworkDenoiser(network, card.recipe.predicts, _time(card.recipe))
        conditioned = bool(card.data.classes) or card.network is not None
        return denoise if conditioned else denoise.around(_unconditional(network))

    def default_steps(self, card: Card) -> int:
        """Network levels by default: 64, or all of a shorter beta schedule."""
        return at_most_all(DEFAULT_STEPS, card.recipe)

    def sampler(self, card: Card, sampler: Sampler) -> Sampler:
        """The sampler, with nothing left open.

        Raises:
            PilotageError: if the model cannot be sampled so.
        """
        return sampler.fitted(card.recipe.learned_variance)

    def step(self, card: Card, sampler: Sampler, score: Score | None) -> Step:
        """The step function of a sampler."""
        return sampler.step() if score is None else sampler.step(score)

    def bounded(self, card: Card) -> bool:
        """Whether what the network draws lies in [−1, 1], and so can be clipped."""
        return True


class CaptionedBuilder(Builder):
    """A denoiser on captions."""

    def network(self, card: Card) -> nn.Module:
        """The network with its text transformer."""
        recipe = card.recipe
        plan = _adm_plan(
            TextUNetPlan,
            card,
            vocabulary=card.data.vocabulary if recipe.encoder is None else None,
            encoder_width=None if recipe.encoder is None else card.data.vocabulary,
            context=recipe.context,
            low_res=recipe.low_res is not None,
            inpaint=recipe.inpaint,
            learned_variance=recipe.learned_variance,
        )
        with seeded(recipe.seed, "weights"):
            return TextUNet(plan)

    def space(self, card: Card, folder: Path) -> Space:
        """The captions' space, as the run was trained with it.

        Raises:
            PilotageError: if it is not there, or another.
        """
        space = load_space(folder / CONDITIONS)
        if not isinstance(space, CaptionSpace) or space.hash != card.data.tokenizer:
            what = "tokenizer" if card.recipe.encoder is None else "text encoder"
            found, wanted = getattr(space, "hash", "none"), str(card.data.tokenizer)
            raise PilotageError(
                f"{folder / CONDITIONS} has a {what} of SHA-256 {found[:12]}…: it does not belong "
                f"to the run, whose {what} is {wanted[:12]}…."
            )
        return space

    def conditioner(self, card: Card, network: nn.Module, space: Space) -> Conditioner:
        """The network's own text encoder, after the space's tokens or features."""
        if not isinstance(space, CaptionSpace) or not isinstance(network, TextUNet):
            raise PilotageError("space or network is not of captions: the run needs both.")
        return CaptionConditioner(space, network, card.recipe, card.data.shape)

    def denoiser(self, card: Card, network: nn.Module, seeds: Iterable[int]) -> Denoiser:
        """The network as a denoiser of encoded captions."""
        return NetworkDenoiser(network, card.recipe.predicts, _time(card.recipe))


class GeneratorBuilder(Builder):
    """The generator of a denoising diffusion GAN: a stochastic denoiser (2112.07804)."""

    stochastic = True

    def network(self, card: Card) -> nn.Module:
        """The generator's."""
        recipe, settings = card.recipe, card.recipe.network
        channels, classes = card.data.shape[0], known_classes(card)
        tanh = recipe.predicts == "x" and not recipe.direct
        with seeded(recipe.seed, "weights"):
            if card.data.points:
                layers = {"hidden": settings.channels, "layers": settings.num_res_blocks}
                points = {"dim": channels, "num_classes": classes}
                return VectorGenerator(plan_of(VectorGeneratorPlan, settings, **points, **layers))
            images = {"in_channels": channels, "num_classes": classes}
            if settings.kind == "unet":
                return LatentUNet(plan_of(LatentUNetPlan, settings, **images, tanh=tanh))
            own = settings.ncsnpp
            return NCSNpp(plan_of(NCSNppPlan, settings, own, **images, tanh=tanh and own.tanh))

    def around(self, card: Card, network: nn.Module) -> NetworkGenerator:
        """The network as a draw of x."""
        recipe = card.recipe
        return NetworkGenerator(network, recipe.predicts, gan_time(network, recipe))

    def conditioner(self, card: Card, network: nn.Module, space: Space) -> Conditioner:
        """Labels, if the networks know any."""
        has_null = isinstance(space, Labels) and bool(space.classes)
        return SpaceConditioner(space, has_null, _device(network))

    def denoiser(self, card: Card, network: nn.Module, seeds: Iterable[int]) -> Denoiser:
        """The generator with its latents, the next ones at every call."""
        generator = self.around(card, network)
        latents = _latents(card, tuple(seeds), _device(network))
        if build_labels(card).classes:
            return latent(generator, latents)
        return latent(lambda z, lam, cond, n: generator(z, lam, None, n), latents)

    def default_steps(self, card: Card) -> int:
        """Those that it was trained for."""
        steps: int = card.recipe.steps_T
        return steps

    def sampler(self, card: Card, sampler: Sampler) -> Sampler:
        """Ancestral sampling with v = 0, which a draw of x goes with."""
        if not isinstance(sampler, Ancestral):
            raise PilotageError(
                f"sampler is {sampler}: a generator draws x for the ancestral step, so it must be "
                "ancestral."
            )
        if sampler.v not in (None, 0):
            raise PilotageError(
                f"v is {sampler.v}: a generator draws x for v = 0, so it must be 0."
            )
        return sampler.replace(v=0.0)

    def step(self, card: Card, sampler: Sampler, score: Score | None) -> Step:
        """The sampler's step, or none for a generator that draws the next z itself."""
        return direct() if card.recipe.direct else super().step(card, sampler, score)

    def bounded(self, card: Card) -> bool:
        """Unless it draws z, which has no bounds."""
        return not card.recipe.direct


class ClassifierBuilder(Builder):
    """A classifier of noisy images: it guides, and makes no images."""

    def network(self, card: Card) -> nn.Module:
        """The encoder."""
        size, classes = card.data.shape[1:], len(card.data.classes)
        plan = _adm_plan(EncoderPlan, card, size=size, classes=classes)
        with seeded(card.recipe.seed, "weights"):
            return UNetEncoder(plan)

    def around(self, card: Card, network: nn.Module) -> NoisyClassifier:
        """The network as p(c | z, λ); λ reaches it as it reaches a denoiser."""
        return NoisyClassifier(network, _time(card.recipe))


# by the ``task`` of the recipe
BUILDERS: dict[str, Builder] = {
    "denoiser": Builder(),
    "captioned": CaptionedBuilder(),
    "gan": GeneratorBuilder(),
    "classifier": ClassifierBuilder(),
}


def builder_of(card: Card) -> Builder:
    """The builder of a card's kind of model."""
    return BUILDERS[card.recipe.task]


def build_discriminator(card: Card) -> VectorDiscriminator | Discriminator:
    """The discriminator's network with its initial weights."""
    recipe, settings = card.recipe, card.recipe.discriminator
    channels, classes = card.data.shape[0], known_classes(card)
    with seeded(recipe.seed, "discriminator weights"):
        if card.data.points:
            points = {"dim": channels, "hidden": settings.channels, "num_classes": classes}
            return VectorDiscriminator(plan_of(VectorDiscriminatorPlan, settings, **points))
        images = {"in_channels": channels, "num_classes": classes}
        return Discriminator(plan_of(DiscriminatorPlan, settings, **images))


def known_classes(card: Card) -> int | None:
    """Labels that both networks of a GAN know, the null one included; None if they know none."""
    recipe, classes = card.recipe, len(card.data.classes)
    if not classes or not recipe.knows_labels:
        return None
    return classes + 1


def build_labels(card: Card) -> Labels:
    """The run's condition space; without classes for a GAN that was never told any."""
    return Labels(card.data.classes if card.recipe.knows_labels else ())


def _latents(card: Card, seeds: tuple[int, ...], device: torch.device) -> Iterator[Tensor]:
    """Draws (B, N), each row of its image's seed, but not the numbers of its noise."""
    dim = card.recipe.network.latent_dim
    if not card.recipe.with_latent:
        return no_latents(len(seeds), dim, torch.zeros(1, device=device))
    own = [derived_seed(seed, "latent") % 2**32 for seed in seeds]
    return SeededNoise(own, (dim,), device)


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _unconditional(network: nn.Module) -> Callable[..., Tensor]:
    """A network without classes, called like one with classes."""

    def called(z: Tensor, time: Tensor, cond: Any = None) -> Tensor:
        output: Tensor = network(z, time)
        return output

    return called
