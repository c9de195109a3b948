"""The hybrid objective: the denoising error, and the bound for the variance alone (2102.09672)."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pilotage.diffusion.denoiser import NetworkDenoiser
from pilotage.diffusion.logsnr import diffuse
from pilotage.diffusion.schedules import Schedule
from pilotage.diffusion.timesteps import ROUNDING, Timesteps
from pilotage.errors import PilotageError
from pilotage.objectives.denoising import Denoising, Draws, target
from pilotage.objectives.variational import vlb_term


@dataclass(frozen=True)
class Hybrid(Denoising):
    """L_simple + vlb_weight · L_vlb for a network with a learned variance (2102.09672, eq. 16).

    L_vlb is the bound of a chain of ``steps`` levels, of which each draw gives one term. The first
    half of the network's output is held fixed in it, so it teaches the variance only.

    Attributes:
        schedule: u -> λ.
        labels: the condition space.
        p_uncond: the dropping rate.
        steps: T; a term leads from λ(u) to λ(u − 1/T), or to ∞ where u < 1/T.
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
            raise PilotageError(f"steps is {self.steps}: at least 2 are needed.")
        if not 0 <= self.vlb_weight < float("inf"):
            raise PilotageError(
                f"vlb_weight is {self.vlb_weight}: it must be a finite number of at least 0."
            )
        if isinstance(self.schedule, Timesteps) and self.schedule.count != self.steps:
            raise PilotageError(
                f"steps is {self.steps}: a schedule of {self.schedule.count} timesteps needs as "
                "many steps."
            )

    def terms(
        self,
        denoise: NetworkDenoiser,
        x: Float[Tensor, "B *shape"],
        labels: Any,
        draws: Draws,
    ) -> dict[str, Tensor]:
        """``loss``, ``simple`` and ``vlb``, each (B,); loss = simple + vlb_weight · T/1000 · vlb.

        ``simple`` is the squared error averaged over the numbers, ``vlb`` one term of the bound in
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
                f"the network's output has {output.shape[1]} channels: with a learned variance "
                f"it must have {2 * x.shape[1]}."
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
    """λ at u + 1/T, u and u − 1/T in float64: the levels r, t, s of a chain of T that visits u.

    λ_s is ∞ where u < 1/T. For ``Timesteps`` of count T they are three entries of its table.
    """
    u = u.double()
    before, after = u - 1 / steps, u + 1 / steps
    clean = before < -ROUNDING
    lam_s = torch.where(clean, torch.inf, schedule(before.clamp(min=0)))
    return schedule(after.clamp(max=1)), schedule(u), lam_s
