"""The denoising objective with condition dropout (2207.12598, Algorithm 1), and the hybrid one.

The hybrid objective adds the variational bound for a learned variance alone (2102.09672).
"""

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
from pilotage.diffusion.timesteps import ROUNDING, Timesteps
from pilotage.errors import PilotageError
from pilotage.objectives.variational import vlb_term


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
        """Select the numbers of some examples."""
        return Draws(self.u[part], self.eps[part], self.dropped[part])


@dataclass(frozen=True)
class Denoising:
    """Squared error of the network's output at a random λ, with condition dropout.

    Attributes:
        schedule: u -> λ.
        labels: the condition space.
        p_uncond: the dropping rate.
    """

    schedule: Schedule
    labels: Space
    p_uncond: float

    def draw(self, count: int, shape: tuple[int, ...], generator: torch.Generator) -> Draws:
        """Draw the random numbers of ``count`` examples of a shape, on the generator's device."""
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
        """Return ``{"loss": (B,)}``: the squared error per example, averaged over its dimensions.

        Args:
            denoise: the network with its parametrisation.
            x: clean data in [−1, 1].
            labels: the conditions, such as classes (B,).
            draws: the step's random numbers.
        """
        lam = self.schedule(draws.u)
        cond = self.labels.drop(labels, draws.dropped)
        output = denoise.output(diffuse(x, draws.eps, lam), lam, cond)
        expected = target(x, draws.eps, lam, denoise.predicts)
        return {"loss": (output - expected).square().flatten(1).mean(dim=1)}


def stratified(count: int, generator: torch.Generator) -> Float[Tensor, " B"]:
    """Draw ``count`` stratified U[0, 1) numbers in random order.

    Each is uniform; together they cover the noise levels evenly, which lowers the variance of the
    loss (2107.00630, appendix I.1).
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
    """Return the target of a network that predicts v, ε or x."""
    if predicts == "v":
        return target_v(x, eps, lam)
    return eps if predicts == "eps" else x


@dataclass(frozen=True)
class Hybrid(Denoising):
    """L_simple + vlb_weight · L_vlb for a network with a learned variance (2102.09672, eq. 16).

    L_vlb is the bound of a chain of ``steps`` levels, of which each draw gives one term. Its
    gradient is stopped at the first half of the network's output, so it trains the variance only.

    Attributes:
        steps: T; a term is the step from λ(u) to λ(u − 1/T), or to ∞ where u < 1/T.
        vlb_weight: in units of 1/1000 of the whole bound in bits per dimension. 1 is the paper's λ
            = 0.001 and guided-diffusion's RESCALED_MSE, whatever T.

    Raises:
        PilotageError: if steps < 2, vlb_weight is negative, or the schedule is ``Timesteps`` of
            another count than steps.
    """

    steps: int = 1000
    vlb_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 2:
            raise PilotageError(f"timesteps is {self.steps}: it must be at least 2.")
        if not 0 <= self.vlb_weight < float("inf"):
            raise PilotageError(
                f"vlb_weight is {self.vlb_weight}: it must be a finite number of at least 0."
            )
        if isinstance(self.schedule, Timesteps) and self.schedule.count != self.steps:
            raise PilotageError(
                f"timesteps is {self.steps}: it must be {self.schedule.count}, as in the schedule."
            )

    def terms(
        self,
        denoise: NetworkDenoiser,
        x: Float[Tensor, "B *shape"],
        labels: Any,
        draws: Draws,
    ) -> dict[str, Tensor]:
        """Return ``loss``, ``simple`` and ``vlb``, (B,); loss = simple + vlb_weight · T/1000 · vlb.

        ``simple`` is the squared error averaged over dimensions, ``vlb`` one term of the bound in
        bits per dimension.

        Raises:
            PilotageError: if the network has no output for the variance.
        """
        lam_r, lam_t, lam_s = neighbours(self.schedule, draws.u, self.steps)
        lam = lam_t.to(x.dtype)
        z = diffuse(x, draws.eps, lam)
        output = denoise.output(z, lam, self.labels.drop(labels, draws.dropped))
        if output.shape[1] != 2 * x.shape[1]:
            raise PilotageError(
                f"the network's output has {output.shape[1]} channels: it must have "
                f"{2 * x.shape[1]} with "
                "a learned variance."
            )
        mean, variance = output.chunk(2, dim=1)
        simple = (mean - target(x, draws.eps, lam, denoise.predicts)).square().flatten(1).mean(1)
        held = torch.cat([mean.detach(), variance], dim=1)
        prediction = NetworkDenoiser(lambda *_: held, denoise.predicts)(z, lam)
        vlb = vlb_term(prediction, x, z, lam_t, lam_s, lam_r)
        loss = simple + self.vlb_weight * self.steps / 1000 * vlb
        return {"loss": loss, "simple": simple, "vlb": vlb}


def neighbours(
    schedule: Schedule, u: Float[Tensor, " B"], steps: int
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Return λ at u + 1/T, u and u − 1/T, float64: levels r, t, s of a chain of T through u.

    λ_s is ∞ where u < 1/T. For ``Timesteps`` of count T they are three entries of its table.
    """
    u = u.double()
    before, after = u - 1 / steps, u + 1 / steps
    clean = before < -ROUNDING
    lam_s = torch.where(clean, torch.inf, schedule(before.clamp(min=0)))
    return schedule(after.clamp(max=1)), schedule(u), lam_s
