"""From a run's card to its parts: networks, denoiser or classifier, schedule, condition space.

The weights that a network starts with are a function of the recipe's seed.
"""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

from torch import Tensor, nn

from pilotage.conditions import Labels
from pilotage.diffusion import (
    NetworkDenoiser,
    NoisyClassifier,
    Schedule,
    Timesteps,
    TruncatedCosine,
)
from pilotage.diffusion.ddgan_levels import FewSteps
from pilotage.diffusion.denoiser import cosine_time
from pilotage.diffusion.latent import NetworkDiscriminator, NetworkGenerator
from pilotage.diffusion.learned import LearnableLam, LinearLam, MonotoneLam
from pilotage.models.run_folder import Card
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
from pilotage.settings import (
    AdversarialRecipe,
    ClassifierRecipe,
    Recipe,
    Settings,
    TextRecipe,
    TrainingRecipe,
)
from pilotage.utils.seeding import seeded

P = TypeVar("P", bound=Plan)
A = TypeVar("A", bound=ADMPlan)


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


# --- denoisers and classifiers -------------------------------------------------------------------


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


def build_network(card: Card) -> UNet | Scheduled:
    """The denoiser's network with its initial weights."""
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


def build_text_network(card: Card) -> TextUNet:
    """The network of a run on captions with its initial weights."""
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


def build_encoder(card: Card) -> UNetEncoder:
    """The classifier's network with its initial weights."""
    plan = _adm_plan(EncoderPlan, card, size=card.data.shape[1:], classes=len(card.data.classes))
    with seeded(card.recipe.seed, "weights"):
        return UNetEncoder(plan)


def build_denoiser(network: nn.Module, recipe: Recipe | TextRecipe) -> NetworkDenoiser:
    """The network as a denoiser; λ reaches it as a time between 0 and 1000, or a timestep."""
    return NetworkDenoiser(network, recipe.predicts, _time(recipe))


def build_classifier(network: nn.Module, recipe: ClassifierRecipe) -> NoisyClassifier:
    """The network as p(c | z, λ); λ reaches it as it reaches a denoiser."""
    return NoisyClassifier(network, _time(recipe))


def _time(recipe: TrainingRecipe) -> Callable[[Tensor], Tensor]:
    schedule = build_schedule(recipe)
    return schedule.time if isinstance(schedule, Timesteps) else cosine_time


# --- denoising diffusion GANs --------------------------------------------------------------------


def known_classes(card: Card) -> int | None:
    """Labels that both networks of a GAN know, the null one included; None if they know none."""
    recipe, classes = card.recipe, len(card.data.classes)
    if not classes or not recipe.knows_labels:
        return None
    return classes + 1


def build_generator_network(card: Card) -> VectorGenerator | LatentUNet | NCSNpp:
    """The generator's network with its initial weights."""
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


def build_generator(network: nn.Module, recipe: AdversarialRecipe) -> NetworkGenerator:
    """The network as a draw of x."""
    return NetworkGenerator(network, recipe.predicts, _gan_time(network, recipe))


def build_discriminator_network(card: Card) -> VectorDiscriminator | Discriminator:
    """The discriminator's network with its initial weights."""
    recipe, settings = card.recipe, card.recipe.discriminator
    channels, classes = card.data.shape[0], known_classes(card)
    with seeded(recipe.seed, "discriminator weights"):
        if card.data.points:
            points = {"dim": channels, "hidden": settings.channels, "num_classes": classes}
            return VectorDiscriminator(plan_of(VectorDiscriminatorPlan, settings, **points))
        images = {"in_channels": channels, "num_classes": classes}
        return Discriminator(plan_of(DiscriminatorPlan, settings, **images))


def build_discriminator(network: nn.Module, recipe: AdversarialRecipe) -> NetworkDiscriminator:
    """The network as a judge of steps."""
    return NetworkDiscriminator(network, _gan_time(network, recipe))


def _gan_time(network: nn.Module, recipe: AdversarialRecipe) -> Callable[[Tensor], Tensor]:
    """How λ reaches a network: the paper's as the times 0 to T − 1, ours as 0 to 1000."""
    if isinstance(network, NCSNpp | Discriminator):
        return few_steps(recipe).time
    return cosine_time


# --- noise levels and labels ---------------------------------------------------------------------


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


def schedule_of(network: nn.Module, recipe: TrainingRecipe) -> Schedule:
    """The noise schedule of a run's network, as far as it has learned one."""
    return network.schedule if isinstance(network, Scheduled) else build_schedule(recipe)


def build_labels(card: Card) -> Labels:
    """The run's condition space; without classes for a GAN that was never told any."""
    return Labels(card.data.classes if card.recipe.knows_labels else ())
