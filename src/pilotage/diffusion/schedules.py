"""Schedules: functions from u in [0, 1] to λ."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from pilotage.errors import PilotageError


@runtime_checkable
class Schedule(Protocol):
    """A decreasing map u -> λ with λ(0) = λ_max and λ(1) = λ_min."""

    @property
    def lam_min(self) -> float:
        """λ(1), the noise end."""
        ...

    @property
    def lam_max(self) -> float:
        """λ(0), the data end."""
        ...

    def __call__(self, u: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Return λ at u; same shape and dtype as u."""
        ...

    def grid(self, steps: int) -> Float[Tensor, " steps"]:
        """Return ``steps`` increasing values of λ from λ_min to λ_max, for the sampler."""
        ...


@dataclass(frozen=True)
class TruncatedCosine:
    """λ(u) = −2 log tan(a u + b), the cosine schedule truncated to [λ_min, λ_max].

    b = arctan(e^{−λ_max/2}) and a = arctan(e^{−λ_min/2}) − b (2207.12598, section 2).
    Training draws u ~ U(0, 1); sampling goes from u = 1 to 0.

    Raises:
        PilotageError: unless λ_min and λ_max are finite and λ_min < λ_max.
    """

    lam_min: float = -20.0
    lam_max: float = 20.0

    def __post_init__(self) -> None:
        finite = math.isfinite(self.lam_min) and math.isfinite(self.lam_max)
        if not finite or self.lam_min >= self.lam_max:
            raise PilotageError(
                f"lam_min is {self.lam_min} and lam_max is {self.lam_max}: "
                "both must be finite and lam_min below lam_max."
            )

    def __call__(self, u: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Return λ at u in [0, 1]; same shape and dtype as u."""
        b = math.atan(math.exp(-self.lam_max / 2))
        a = math.atan(math.exp(-self.lam_min / 2)) - b
        # float64: near u = 1 the tangent turns a float32 rounding of its argument into 0.3% of e^λ
        lam = -2 * torch.log(torch.tan(a * u.double() + b))
        return lam.clamp(self.lam_min, self.lam_max).to(u.dtype)

    def grid(self, steps: int) -> Float[Tensor, " steps"]:
        """Return λ at ``steps`` evenly spaced u from 1 to 0, increasing, float64 (one step: λ_min).

        Raises:
            PilotageError: if steps < 1.
        """
        return even_grid(self, steps)


def even_grid(schedule: Schedule, steps: int) -> Float[Tensor, " steps"]:
    """Return λ of any schedule at evenly spaced u from 1 to 0; the ends are exact."""
    if steps < 1:
        raise PilotageError(f"steps is {steps}: it must be at least 1.")
    lams = schedule(torch.linspace(1.0, 0.0, steps, dtype=torch.float64))
    lams[-1] = schedule.lam_max
    lams[0] = schedule.lam_min
    return lams
