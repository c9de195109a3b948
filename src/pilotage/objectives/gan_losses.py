"""The two players of a denoising diffusion GAN, each minimising a loss of its own in turn."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pilotage.conditions import Labels, draw_dropped
from pilotage.diffusion.latent import NetworkDiscriminator, NetworkGenerator
from pilotage.objectives.adversarial import Adversarial, AdversarialDraws


class PlayerDraws(NamedTuple):
    """The random numbers of one player's turn.

    Attributes:
        game: those of the loss.
        dropped: which examples lose their label (B,).
    """

    game: AdversarialDraws
    dropped: Bool[Tensor, " B"]

    def rows(self, part: slice) -> "PlayerDraws":
        """The numbers of some of the examples."""
        return PlayerDraws(self.game.rows(part), self.dropped[part])


@dataclass(frozen=True)
class Player:
    """What both players share.

    Attributes:
        loss: of the steps.
        labels: the condition space; its null label is the networks' last.
        p_uncond: the rate at which labels are dropped.
    """

    loss: Adversarial
    labels: Labels
    p_uncond: float

    def draw(self, count: int, shape: tuple[int, ...], generator: torch.Generator) -> PlayerDraws:
        """The random numbers for ``count`` examples of a shape, on the generator's device."""
        game = self.loss.draw(count, shape, generator)
        uniform = torch.rand(count, generator=generator, device=generator.device)
        return PlayerDraws(game, draw_dropped(uniform, self.p_uncond))


@dataclass(frozen=True)
class DiscriminatorTurn(Player):
    """The discriminator learns to tell real from generated steps.

    Attributes:
        generator: its opponent, which does not learn meanwhile.
        updates: how many updates were done before, for the lazy penalty.
    """

    generator: NetworkGenerator
    updates: Callable[[], int]

    def terms(
        self,
        discriminator: NetworkDiscriminator,
        x: Float[Tensor, "B *shape"],
        labels: Int[Tensor, " B"],
        draws: PlayerDraws,
    ) -> dict[str, Tensor]:
        """Terms per example (B,), as `Adversarial.discriminator_terms`; "r1" where it is due."""
        cond, number = self.labels.drop(labels, draws.dropped), self.updates()
        terms = self.loss.discriminator_terms(
            discriminator, self.generator, x, cond, draws.game, number
        )
        if number % self.loss.r1_every:
            del terms["r1"]  # nothing was measured: a mean over steps must not count it as 0
        return terms


@dataclass(frozen=True)
class GeneratorTurn(Player):
    """The generator learns to pass for real.

    Attributes:
        discriminator: its opponent, which does not learn meanwhile.
        network: the discriminator's.
    """

    discriminator: NetworkDiscriminator
    network: nn.Module

    def terms(
        self,
        generator: NetworkGenerator,
        x: Float[Tensor, "B *shape"],
        labels: Int[Tensor, " B"],
        draws: PlayerDraws,
    ) -> dict[str, Tensor]:
        """The loss per example (B,); the logits are those that the discriminator's turn tells."""
        cond = self.labels.drop(labels, draws.dropped)
        with frozen(self.network):
            terms = self.loss.generator_terms(generator, self.discriminator, x, cond, draws.game)
        return {"loss": terms["loss"]}


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """The network's weights take part in what is computed inside without gradients of their own."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
