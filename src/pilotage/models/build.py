"""From a run's card to its parts: network, denoiser or classifier, schedule, condition space."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from pilotage.conditions import Labels
from pilotage.diffusion import (
    NetworkDenoiser,
    NoisyClassifier,
    Schedule,
    Timesteps,
    TruncatedCosine,
)
from pilotage.diffusion.denoiser import cosine_time
from pilotage.diffusion.learned import LearnableLam, LinearLam, MonotoneLam
from pilotage.models.gan import few_steps
from pilotage.models.run_folder import Card
from pilotage.networks import UNet, UNetEncoder
from pilotage.networks.text_unet import TextUNet
from pilotage.settings import ClassifierRecipe, Recipe, TextRecipe
from pilotage.utils.seeding import seeded


class Scheduled(nn.Module):
    """A network and the schedule that is learned with it, as one set of weights.

    Attributes:
        network: the U-Net; calling this calls it.
        schedule: u -> λ.
    """

    def __init__(self, network: UNet, schedule: nn.Module) -> None:
        super().__init__()
        self.network, self.schedule = network, schedule

    def forward(self, z: Tensor, time: Tensor, cond: Tensor | None = None) -> Tensor:
        """The network's output."""
        return self.network(z, time, cond)


def build_network(card: Card) -> UNet | Scheduled:
    """The denoiser's network with its initial weights, a function of the recipe's seed."""
    settings, classes = card.recipe.network, len(card.data.classes)
    with seeded(card.recipe.seed, "weights"):
        unet = UNet(
            in_channels=card.data.shape[0],
            num_classes=classes or None,
            null_class=settings.null_class and classes > 0,
            learned_variance=card.recipe.learned_variance,
            heads_up=settings.heads_up,
            fourier=settings.fourier,
            **_shared(settings),
        )
        schedule = build_schedule(card.recipe)
    learned = isinstance(schedule, LearnableLam) and any(True for _ in schedule.parameters())
    return Scheduled(unet, schedule) if learned else unet


def build_text_network(card: Card) -> TextUNet:
    """The network of a run on captions, the same way."""
    recipe, settings = card.recipe, card.recipe.network
    reads = "vocabulary" if recipe.encoder is None else "encoder_width"
    with seeded(recipe.seed, "weights"):
        return TextUNet(
            in_channels=card.data.shape[0],
            context=recipe.context,
            text_width=settings.text_width,
            text_layers=settings.text_layers,
            text_heads=settings.text_heads,
            final_norm=settings.final_norm,
            padding=settings.padding,
            low_res=recipe.low_res is not None,
            inpaint=recipe.inpaint,
            learned_variance=recipe.learned_variance,
            heads_up=settings.heads_up,
            **{"vocabulary": None, reads: card.data.vocabulary},
            **_shared(settings),
        )


def build_encoder(card: Card) -> UNetEncoder:
    """The classifier's network with its initial weights, a function of the recipe's seed."""
    settings = card.recipe.network
    with seeded(card.recipe.seed, "weights"):
        return UNetEncoder(
            size=card.data.shape[1:],
            in_channels=card.data.shape[0],
            classes=len(card.data.classes),
            pool=settings.pool,
            **_shared(settings),
        )


def build_denoiser(network: nn.Module, recipe: Recipe | TextRecipe) -> NetworkDenoiser:
    """The network as a denoiser; λ reaches it as a time between 0 and 1000, or a timestep."""
    return NetworkDenoiser(network, recipe.predicts, _time(recipe))


def build_classifier(network: nn.Module, recipe: ClassifierRecipe) -> NoisyClassifier:
    """The network as p(c | z, λ); λ reaches it as it reaches a denoiser."""
    return NoisyClassifier(network, _time(recipe))


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


def build_schedule(recipe: Any) -> Schedule:
    """The run's noise schedule; one that is learned is as it starts."""
    return SCHEDULES[recipe.noise_levels["schedule"]](recipe)


def schedule_of(network: nn.Module, recipe: Any) -> Schedule:
    """The noise schedule of a run's network, as far as it has learned one."""
    return network.schedule if isinstance(network, Scheduled) else build_schedule(recipe)


def build_labels(card: Card) -> Labels:
    """The run's condition space; without classes for a GAN that was never told any."""
    return Labels(card.data.classes if card.recipe.knows_labels else ())


def _time(recipe: Any) -> Callable[[Tensor], Tensor]:
    schedule = build_schedule(recipe)
    return schedule.time if isinstance(schedule, Timesteps) else cosine_time


def _shared(settings: Any) -> dict[str, Any]:
    """What the U-Net and its encoder are both told."""
    by_count = settings.heads is not None
    return {
        "channels": settings.channels,
        "channel_mult": settings.channel_mult,
        "num_res_blocks": settings.num_res_blocks,
        "attention_resolutions": settings.attention_resolutions,
        "head_channels": None if by_count else settings.head_channels,
        "heads": settings.heads,
        "scale_shift_norm": settings.scale_shift_norm,
        "resblock_updown": settings.resblock_updown,
        "conv_resample": settings.conv_resample,
        "norm_groups": settings.norm_groups,
        "dropout": settings.dropout,
    }
