"""What differs between kinds of models: how each is built, conditioned and sampled.

A recipe names its kind (``recipe.task``), and ``BUILDERS`` has the builder of each: a new kind of
model is one more builder. What trains it is in :mod:`pilotage.training.tasks`.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pilotage.conditions import CaptionSpace, Labels, Space, load_space
from pilotage.diffusion import Denoiser, NetworkDenoiser, NoisyClassifier, SeededNoise, Step
from pilotage.diffusion.latent import NetworkGenerator, direct, latent, no_latents
from pilotage.diffusion.steps import Score
from pilotage.errors import PilotageError
from pilotage.models.build import (
    build_classifier,
    build_denoiser,
    build_encoder,
    build_generator,
    build_generator_network,
    build_labels,
    build_network,
    build_text_network,
)
from pilotage.models.conditioning import CaptionConditioner, Conditioner, SpaceConditioner
from pilotage.models.run_folder import CONDITIONS, Card
from pilotage.networks.text_unet import TextUNet
from pilotage.settings.samplers import Ancestral, Sampler
from pilotage.utils.seeding import derived_seed

DEFAULT_STEPS = 64

Trained = NetworkDenoiser | NoisyClassifier | NetworkGenerator


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
        return build_network(card)

    def around(self, card: Card, network: nn.Module) -> Trained:
        """What the network's output means."""
        return build_denoiser(network, card.recipe)

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
        denoise = build_denoiser(network, card.recipe)
        conditioned = bool(card.data.classes) or card.network is not None
        return denoise if conditioned else denoise.around(_unconditional(network))

    def default_steps(self, card: Card) -> int:
        """Network levels where none are asked for."""
        return DEFAULT_STEPS

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
        return build_text_network(card)

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
        return build_denoiser(network, card.recipe)


class GeneratorBuilder(Builder):
    """The generator of a denoising diffusion GAN: a stochastic denoiser (2112.07804)."""

    stochastic = True

    def network(self, card: Card) -> nn.Module:
        """The generator's."""
        return build_generator_network(card)

    def around(self, card: Card, network: nn.Module) -> Trained:
        """The generator."""
        return build_generator(network, card.recipe)

    def conditioner(self, card: Card, network: nn.Module, space: Space) -> Conditioner:
        """Labels, if the networks know any."""
        has_null = isinstance(space, Labels) and bool(space.classes)
        return SpaceConditioner(space, has_null, _device(network))

    def denoiser(self, card: Card, network: nn.Module, seeds: Iterable[int]) -> Denoiser:
        """The generator with its latents, the next ones at every call."""
        generator = build_generator(network, card.recipe)
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
        return build_encoder(card)

    def around(self, card: Card, network: nn.Module) -> Trained:
        """The classifier."""
        return build_classifier(network, card.recipe)


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
