"""The variational bound as an objective: variational diffusion models (2107.00630)."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pilotage.conditions import Labels, draw_dropped
from pilotage.diffusion.denoiser import Denoiser
from pilotage.diffusion.learned import limits
from pilotage.diffusion.schedules import Schedule
from pilotage.errors import PilotageError
from pilotage.objectives.denoising import stratified
from pilotage.objectives.vdm_terms import (
    Weight,
    check_levels,
    check_steps,
    diffusion_term,
    prior_term,
    reconstruction_term,
    with_loss,
)


class VDMDraws(NamedTuple):
    """The random numbers of one training step.

    Attributes:
        u: the schedule's argument (B,), in [0, 1).
        eps: the noise of the diffusion term (B, *shape).
        eps_0: the noise of the reconstruction (B, *shape).
        dropped: which examples lose their condition (B,).
    """

    u: Float[Tensor, " B"]
    eps: Float[Tensor, "B *shape"]
    eps_0: Float[Tensor, "B *shape"]
    dropped: Bool[Tensor, " B"]

    def rows(self, part: slice) -> "VDMDraws":
        """Select the numbers of some examples."""
        return VDMDraws(*(numbers[part] for numbers in self))


@dataclass(frozen=True)
class VDM:
    """The variational bound, in continuous time or in T steps.

    The parameters of a learnable schedule are a module of the network, so that one optimiser trains
    both; here is only a reference. In continuous time its interior minimises the variance of the
    diffusion term, its ends the bound; in T steps the bound depends on the whole schedule, which
    minimises it. See
    :func:`~pilotage.objectives.vdm_terms.diffusion_term`.

    Attributes:
        schedule: u -> λ, fixed or learnable.
        labels: the condition space.
        p_uncond: the dropping rate; without dropping, the bound is of p(x | c).
        steps: T, or inf for continuous time.
        levels: number of values of the data, even from −reach to reach.
        reach: 1 for images in [−1, 1]; see :mod:`~pilotage.objectives.vdm_terms`.
        weight: w(λ) that multiplies the diffusion term (no bound then); None is 1.
        draw_u: "antithetic", one random number for the batch (appendix I.1), or "stratified".

    Raises:
        PilotageError: if steps < 1 or not whole, levels < 2, reach is not above 0, draw_u is
            unknown, or time is continuous and the schedule a table of timesteps.
    """

    schedule: Schedule
    labels: Labels
    p_uncond: float = 0.0
    steps: float = math.inf
    levels: int = 256
    reach: float = 1.0
    weight: Weight | None = None
    draw_u: Literal["antithetic", "stratified"] = "antithetic"

    def __post_init__(self) -> None:
        check_steps(self.steps, self.schedule)
        check_levels(self.levels, self.reach)
        if self.draw_u not in ("antithetic", "stratified"):
            raise PilotageError(
                f"draw_u is {self.draw_u!r}: it must be 'antithetic' or 'stratified'."
            )

    def draw(self, count: int, shape: tuple[int, ...], generator: torch.Generator) -> VDMDraws:
        """Draw the random numbers of ``count`` examples of a shape, on the generator's device."""
        device = generator.device
        if self.draw_u == "stratified":
            u = stratified(count, generator)
        else:
            offset = torch.rand((), generator=generator, device=device)
            order = torch.randperm(count, generator=generator, device=device)
            u = antithetic(offset, count)[order]
        eps, eps_0 = torch.randn(2, count, *shape, generator=generator, device=device)
        uniform = torch.rand(count, generator=generator, device=device)
        return VDMDraws(u, eps, eps_0, draw_dropped(uniform, self.p_uncond))

    def terms(
        self,
        denoise: Denoiser,
        x: Float[Tensor, "B *shape"],
        labels: Int[Tensor, " B"],
        draws: VDMDraws,
    ) -> dict[str, Tensor]:
        """Return ``prior``, ``reconstruction``, ``diffusion`` in nats and ``loss``, each (B,).

        ``loss`` is the sum of the three in bits per dimension.

        Args:
            denoise: the network, in any parametrisation.
            x: data on the levels.
            labels: the conditions.
            draws: the step's random numbers.

        Raises:
            PilotageError: if x is not on the levels, or the ends of a learned schedule cross.
        """
        lam_min, lam_max = limits(self.schedule)
        cond = self.labels.drop(labels, draws.dropped)
        args = (draws.u, self.schedule, self.steps, self.weight, cond)
        return with_loss(
            prior_term(x, lam_min),
            reconstruction_term(x, draws.eps_0, lam_max, self.levels, self.reach),
            diffusion_term(denoise, x, draws.eps, *args),
            x[0].numel(),
        )


def antithetic(offset: Float[Tensor, ""], count: int) -> Float[Tensor, " B"]:
    """Return u_i = (offset + i/B) mod 1, evenly spaced; each U(0, 1) if offset is (app. I.1)."""
    return (offset + torch.arange(count, device=offset.device, dtype=offset.dtype) / count) % 1
