"""The denoising objective with dropped conditions (2207.12598, Algorithm 1)."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pilotage.conditions import Space, draw_dropped
from pilotage.diffusion.denoiser import NetworkDenoiser, Predicts
from pilotage.diffusion.logsnr import diffuse
from pilotage.diffusion.prediction import target_v
from pilotage.diffusion.schedules import Schedule


class Draws(NamedTuple):
    """The random numbers of one training step.

    Attributes:
        u: the schedule's argument (B,), in [0, 1).
        eps: the noise (B, *shape).
        dropped: which examples lose their condition (B,).
    """

    u: Float[Tensor, " B"]
    eps: Float[Tensor, "B *shape"]
    dropped: Bool[Tensor, " B"]

    def rows(self, part: slice) -> "Draws":
        """The numbers of some of the examples."""
        return Draws(self.u[part], self.eps[part], self.dropped[part])


@dataclass(frozen=True)
class Denoising:
    """Squared error of the network's output at a random λ, with labels dropped at random.

    Attributes:
        schedule: u -> λ.
        labels: the condition space.
        p_uncond: the dropping rate.
    """

    schedule: Schedule
    labels: Space
    p_uncond: float

    def draw(self, count: int, shape: tuple[int, ...], generator: torch.Generator) -> Draws:
        """The random numbers for ``count`` examples of a shape, on the generator's device."""
        device = generator.device
        u = stratified(count, generator)
        eps = torch.randn(count, *shape, generator=generator, device=device)
        uniform = torch.rand(count, generator=generator, device=device)
        return Draws(u, eps, draw_dropped(uniform, self.p_uncond))

    def terms(
        self,
        denoise: NetworkDenoiser,
        x: Float[Tensor, "B *shape"],
        labels: Any,
        draws: Draws,
    ) -> dict[str, Tensor]:
        """``{"loss": (B,)}``: the error per example, averaged over its numbers.

        Args:
            denoise: the network, and what it predicts.
            x: clean data in [−1, 1].
            labels: its conditions, such as classes (B,).
            draws: the step's random numbers.
        """
        lam = self.schedule(draws.u)
        cond = self.labels.drop(labels, draws.dropped)
        output = denoise.output(diffuse(x, draws.eps, lam), lam, cond)
        wanted = target(x, draws.eps, lam, denoise.predicts)
        return {"loss": (output - wanted).square().flatten(1).mean(dim=1)}


def stratified(count: int, generator: torch.Generator) -> Float[Tensor, " B"]:
    """``count`` numbers, each U[0, 1), one in each of ``count`` equal parts, in random order.

    Each is uniform on its own; together they cover the noise levels evenly, which lowers the
    variance of the loss (2107.00630, appendix I.1).
    """
    device = generator.device
    parts = torch.randperm(count, generator=generator, device=device)
    offsets = torch.rand(count, generator=generator, device=device)
    return ((parts + offsets) / count).clamp(max=1 - 2**-24)


def target(
    x: Float[Tensor, "B *shape"],
    eps: Float[Tensor, "B *shape"],
    lam: Float[Tensor, "*batch"],
    predicts: Predicts,
) -> Float[Tensor, "B *shape"]:
    """What a network that predicts v, ε or x should output."""
    if predicts == "v":
        return target_v(x, eps, lam)
    return eps if predicts == "eps" else x
