"""From a card to the two networks of a denoising diffusion GAN."""

from typing import Any

from torch import nn

from pilotage.diffusion.ddgan_levels import FewSteps
from pilotage.diffusion.denoiser import cosine_time
from pilotage.diffusion.latent import NetworkDiscriminator, NetworkGenerator
from pilotage.models.run_folder import Card
from pilotage.networks.discriminator import Discriminator
from pilotage.networks.latent_unet import LatentUNet
from pilotage.networks.ncsnpp import NCSNpp
from pilotage.networks.vectors import VectorDiscriminator, VectorGenerator
from pilotage.settings import AdversarialRecipe
from pilotage.utils.seeding import seeded


def few_steps(recipe: AdversarialRecipe) -> FewSteps:
    """The levels that the generator is asked at."""
    return FewSteps(recipe.steps_T, recipe.beta_min, recipe.beta_max, recipe.geometric)


def known_classes(card: Card) -> int | None:
    """Labels that both networks know, the null one included; None if they know none."""
    recipe, classes = card.recipe, len(card.data.classes)
    if not classes or not recipe.knows_labels:
        return None
    return classes + 1


def build_generator_network(card: Card) -> nn.Module:
    """The generator's network with its initial weights, a function of the recipe's seed."""
    recipe, settings = card.recipe, card.recipe.network
    latent = {"latent_dim": settings.latent_dim, "latent_layers": settings.latent_layers}
    with seeded(recipe.seed, "weights"):
        if card.data.points:
            return VectorGenerator(
                dim=card.data.shape[0],
                hidden=settings.channels,
                layers=settings.num_res_blocks,
                latent_dim=settings.latent_dim,
                num_classes=known_classes(card),
            )
        shared = {
            "in_channels": card.data.shape[0],
            "channels": settings.channels,
            "channel_mult": settings.channel_mult,
            "num_res_blocks": settings.num_res_blocks,
            "attention_resolutions": settings.attention_resolutions,
            "dropout": settings.dropout,
            "num_classes": known_classes(card),
        }
        tanh = recipe.predicts == "x" and not recipe.direct
        if settings.kind == "unet":
            groups = {"head_channels": settings.head_channels, "norm_groups": settings.norm_groups}
            return LatentUNet({**shared, **groups, "null_class": False}, **latent, tanh=tanh)
        own = dict(settings.ncsnpp) | {"latent_width": settings.latent_width}
        return NCSNpp(**shared, **latent, **own | {"tanh": tanh and settings.ncsnpp.tanh})


def build_generator(network: nn.Module, recipe: AdversarialRecipe) -> NetworkGenerator:
    """The network as a draw of x."""
    return NetworkGenerator(network, recipe.predicts, _time(network, recipe))


def build_discriminator_network(card: Card) -> nn.Module:
    """The discriminator's network with its initial weights, a function of the recipe's seed."""
    recipe, settings = card.recipe, card.recipe.discriminator
    with seeded(recipe.seed, "discriminator weights"):
        if card.data.points:
            return VectorDiscriminator(
                dim=card.data.shape[0],
                hidden=settings.channels,
                layers=settings.layers,
                num_classes=known_classes(card),
            )
        return Discriminator(
            channels=card.data.shape[0],
            width=settings.channels,
            size=settings.size,
            time_width=settings.time_width,
            num_classes=known_classes(card),
            slope=settings.slope,
        )


def build_discriminator(network: nn.Module, recipe: AdversarialRecipe) -> NetworkDiscriminator:
    """The network as a judge of steps."""
    return NetworkDiscriminator(network, _time(network, recipe))


def _time(network: nn.Module, recipe: AdversarialRecipe) -> Any:
    """How λ reaches a network: the paper's as the times 0 to T − 1, ours as 0 to 1000."""
    if isinstance(network, (NCSNpp, Discriminator)):
        return few_steps(recipe).time
    return cosine_time
