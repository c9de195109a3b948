r"""Learnable schedules, and the rate of change of any schedule (2107.00630, section 5).

A learnable schedule keeps its ends and its interior apart:

    λ(u) = λ_max (1 − m(u)) + λ_min m(u),   m(0) = 0, m(1) = 1, m non-decreasing.

The variational bound depends on the ends, so they are learned by it. In continuous time it does not
depend on m; only the variance of its estimate does, so m is learned to lower that variance
(2107.00630, section 5.1.2 and appendix I.2). As E[L] is the same for every m, so is the variance
up to E[L²], whose gradient is that of L per example, times 2 L: :func:`rate_by_parts` scales the
gradient of m, without a second backward pass through the network.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pilotage.diffusion.schedules import Schedule, even_grid
from pilotage.diffusion.timesteps import Timesteps
from pilotage.errors import PilotageError

_EDGE = 2.0**-50


class LearnableLam(nn.Module):
    """λ(u) = λ_max (1 − m(u)) + λ_min m(u); subclasses define m.

    A :class:`~pilotage.diffusion.schedules.Schedule`. λ has the dtype of u, at least float32, and
    the device of u.

    Args:
        lam_min: initial λ(1), the noise end.
        lam_max: initial λ(0), the data end.
        learned: whether the ends are parameters.

    Attributes:
        ends: (λ_min, λ_max) as one parameter (2,), or None where they are fixed.

    Raises:
        PilotageError: unless the ends are finite and λ_min < λ_max; when called, if they have
            crossed while they were learned.
    """

    def __init__(self, lam_min: float, lam_max: float, learned: bool) -> None:
        if not math.isfinite(lam_min) or not math.isfinite(lam_max):
            raise _crossed(lam_min, lam_max)
        _in_order(lam_min, lam_max)
        super().__init__()
        self._given = torch.tensor([lam_min, lam_max], dtype=torch.float64)
        self.ends = nn.Parameter(self._given.float()) if learned else None

    def interior(self, u: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Return m at u in [0, 1]."""
        raise NotImplementedError

    def limits(self) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Return λ_min and λ_max as scalars; gradients flow where they are learned."""
        ends = self._given if self.ends is None else self.ends
        _in_order(*ends.tolist())
        low, high = ends.unbind()
        return low, high

    def join(self, m: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Return λ for an interior m; exact at m = 0 and m = 1."""
        low, high = self.limits()
        return (high * (1 - m) + low * m).to(m.dtype)

    def forward(self, u: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Return λ at u in [0, 1]."""
        here = u.device if self.ends is None else self.ends.device
        wide = torch.promote_types(u.dtype, torch.float32)
        return self.join(self.interior(u.to(here, wide))).to(u.device)

    @property
    def lam_min(self) -> float:
        """λ(1), the noise end."""
        return float(self.limits()[0].detach())

    @property
    def lam_max(self) -> float:
        """λ(0), the data end."""
        return float(self.limits()[1].detach())

    def grid(self, steps: int) -> Float[Tensor, " steps"]:
        """Return λ at ``steps`` evenly spaced u from 1 to 0, increasing, float64, detached.

        Raises:
            PilotageError: if steps < 1.
        """
        with torch.no_grad():
            return even_grid(self, steps)


class LinearLam(LearnableLam):
    """λ(u) = λ_max + (λ_min − λ_max) u, linear in u (2107.00630, appendix H).

    Args:
        lam_min: λ(1).
        lam_max: λ(0).
        learned: whether the two ends are parameters; fixed ends are exact in float64.

    Raises:
        PilotageError: unless the ends are finite and λ_min < λ_max; when called, if they have
            crossed while they were learned.
    """

    def __init__(self, lam_min: float, lam_max: float, learned: bool = False) -> None:
        super().__init__(lam_min, lam_max, learned)

    def interior(self, u: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Return u itself."""
        return u


class MonotoneLam(LearnableLam):
    """The monotone network of 2107.00630 (appendix H), between learned ends.

    g(u) = |w| u + (2/width) Σ_k |c_k| sigmoid(|a_k| (2u − 1) + b_k) is increasing, and m is g
    shifted and scaled to go from 0 to 1, exactly. The initial m is close to linear.

    Args:
        lam_min: initial λ(1).
        lam_max: initial λ(0).
        width: number of sigmoids.

    Raises:
        PilotageError: if width < 1, or unless the ends are finite and λ_min < λ_max; when called,
            if they have crossed while they were learned.
    """

    def __init__(self, lam_min: float, lam_max: float, width: int = 1024) -> None:
        super().__init__(lam_min, lam_max, learned=True)
        if width < 1:
            raise PilotageError(f"width is {width}: it must be at least 1.")
        self.slope = nn.Parameter(torch.ones(()))
        self.gain = nn.Parameter(4 * torch.randn(width))
        self.shift = nn.Parameter(2 * torch.randn(width))
        self.share = nn.Parameter(0.1 * torch.randn(width))

    def interior(self, u: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Return m at u in [0, 1], in the precision of the parameters or of u, the higher one.

        The two ends are computed together with u, so that rounding never moves m off 0 or 1.
        """
        g = self._risen(torch.cat([u.flatten(), u.new_tensor([0.0, 1.0])]))
        m = (g[:-2] - g[-2]) / (g[-1] - g[-2])
        return m.reshape(u.shape).to(u.dtype)

    def _risen(self, u: Tensor) -> Tensor:
        """Return g at u (N,)."""
        features = torch.sigmoid(torch.outer(2 * u - 1, self.gain.abs().to(u)) + self.shift.to(u))
        # not a matrix product, whose rounding of a row depends on the other rows
        curved = (features * self.share.abs()).sum(dim=1) * (2 / len(self.share))
        return self.slope.abs() * u + curved


class Rate(NamedTuple):
    """λ and dλ/du at u, and a handle on the gradients of the schedule's interior.

    Attributes:
        lam: λ(u), (B,).
        slope: dλ/du, negative, (B,).
        weigh: called with (B,) weights before the backward pass, scales each example's gradients
            of the interior through ``lam`` and ``slope``; gradients of the ends are not scaled.
    """

    lam: Float[Tensor, " B"]
    slope: Float[Tensor, " B"]
    weigh: Callable[[Tensor], None]


def rate(
    schedule: Callable[[Tensor], Tensor], u: Float[Tensor, "*batch"]
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Return λ and dλ/du at u, by forward differentiation; gradients reach its parameters.

    Raises:
        PilotageError: if the schedule is ``Timesteps``, whose λ jumps from level to level.
    """
    if isinstance(schedule, Timesteps):
        raise PilotageError(
            f"schedule is {schedule}: it must be continuous, to have a rate of change."
        )
    # a schedule that is clamped at its ends has no slope there
    within = u.double().clamp(_EDGE, 1 - _EDGE)
    slope: Tensor = torch.func.jvp(schedule, (within,), (torch.ones_like(within),))[1]
    lam = schedule(u)
    return lam, slope.to(lam.dtype)


def rate_by_parts(schedule: Schedule, u: Float[Tensor, " B"]) -> Rate:
    """Return :func:`rate` with separate gradients of a learnable schedule's ends and interior.

    λ = λ_max (1 − m) + λ_min m passes its gradient to the ends and to m separately. Hooks on m and
    dm/du multiply theirs by the weights that ``weigh`` was called with, if it was.

    Raises:
        PilotageError: see :func:`rate`.
    """
    if not isinstance(schedule, LearnableLam):
        return Rate(*rate(schedule, u), weigh=lambda _: None)
    m, rise = rate(schedule.interior, u)
    weights: list[Tensor] = []

    def scaled(gradient: Tensor) -> Tensor:
        return gradient * weights[-1].to(gradient) if weights else gradient

    for part in (m, rise):
        if part.requires_grad:
            part.register_hook(scaled)  # type: ignore[no-untyped-call]
    low, high = schedule.limits()
    return Rate(schedule.join(m), ((low - high) * rise).to(rise.dtype), weights.append)


def limits(schedule: Schedule) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return λ_min and λ_max of any schedule as scalars; gradients flow where they are learned."""
    if isinstance(schedule, LearnableLam):
        return schedule.limits()
    low, high = torch.tensor([schedule.lam_min, schedule.lam_max], dtype=torch.float64).unbind()
    return low, high


def _in_order(lam_min: float, lam_max: float) -> None:
    if lam_min >= lam_max:
        raise _crossed(lam_min, lam_max)


def _crossed(lam_min: float, lam_max: float) -> PilotageError:
    return PilotageError(
        f"lam_min is {lam_min} and lam_max is {lam_max}: "
        "both must be finite and lam_min below lam_max."
    )
