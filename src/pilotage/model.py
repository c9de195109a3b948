"""From a run's card to its parts: network, denoiser, schedule, condition space."""

import torch
from torch import nn

from pilotage.conditions import Labels
from pilotage.diffusion import NetworkDenoiser, TruncatedCosine
from pilotage.diffusion.denoiser import cosine_time
from pilotage.folder import Card
from pilotage.networks import UNet
from pilotage.seeding import derived_seed
from pilotage.settings import Recipe


def build_network(card: Card) -> UNet:
    """The run's network with its initial weights, a function of the recipe's seed."""
    settings = card.recipe.network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(card.recipe.seed, "weights"))
        return UNet(
            in_channels=card.data.shape[0],
            channels=settings.channels,
            channel_mult=settings.channel_mult,
            num_res_blocks=settings.num_res_blocks,
            attention_resolutions=settings.attention_resolutions,
            head_channels=settings.head_channels,
            norm_groups=settings.norm_groups,
            dropout=settings.dropout,
            num_classes=len(card.data.classes),
            null_class=True,
        )


def build_denoiser(network: nn.Module, recipe: Recipe) -> NetworkDenoiser:
    """The network as a denoiser; λ reaches it as a time between 0 and 1000."""
    return NetworkDenoiser(network, recipe.predicts, cosine_time)


def build_schedule(recipe: Recipe) -> TruncatedCosine:
    """The run's noise schedule."""
    return TruncatedCosine(recipe.lam_min, recipe.lam_max)


def build_labels(card: Card) -> Labels:
    """The run's condition space."""
    return Labels(card.data.classes)
