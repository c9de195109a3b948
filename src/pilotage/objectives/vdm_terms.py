"""The terms of the bound of variational diffusion models, per example (2107.00630).

The bound of −log p(x) has three terms, here in nats per example:

    prior           KL(q(z_1 | x) ‖ N(0, I)) at λ_min
    reconstruction  −log p(x | z_0) at λ_max, of discrete data
    diffusion       ½ E_u[−λ'(u) ‖ε − ε̂‖²] in continuous time (equation 17),
                    T/2 E_u[expm1(λ_s − λ_t) ‖ε − ε̂‖²] in T steps (equation 13)

Levels are computed in float64 and passed to the network in the dtype of the data.

Data are one of ``levels`` even values v_k = −reach + 2 reach k/(levels − 1), k = 0..levels−1. In
this project an 8-bit image is x = k/127.5 − 1: reach 1. The paper's encoding 2 (k + ½)/256 − 1
has a reach of 255/256; a model of one encoding is not one of the other at the same λ, but the bits
are of the same discrete data in both.

    p(x = v_k | z) ∝ N(z/α; v_k, e^{−λ}), normalised over the levels (2107.00630, section 3.3)
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pilotage.diffusion.denoiser import Denoiser
from pilotage.diffusion.learned import LinearLam, Rate, limits, rate_by_parts
from pilotage.diffusion.logsnr import alpha, diffuse
from pilotage.diffusion.schedules import Schedule, TruncatedCosine
from pilotage.diffusion.timesteps import Timesteps
from pilotage.errors import PilotageError
from pilotage.objectives.variational import prior_parts

Weight = Callable[[Tensor], Tensor]

_NATS_THAT_COUNT = 45.0  # e^−45 is below float64's rounding of 1
_NUMBERS_AT_ONCE = 2**20
_OFF_GRID = 0.01  # of the distance between levels


def prior_term(
    x: Float[Tensor, "B *shape"], lam_min: float | Float[Tensor, ""]
) -> Float[Tensor, " B"]:
    """Return KL(q(z_1 | x) ‖ N(0, I)) in nats per example; gradients reach ``lam_min``."""
    rest, signal = prior_parts(lam_min)
    square = x.square().flatten(1)
    return 0.5 * (rest * square.shape[1] + signal * square.sum(dim=1).double()).to(x.dtype)


def check_levels(levels: int, reach: float) -> None:
    """Raise a `PilotageError` unless levels >= 2 and reach is a finite number above 0."""
    if isinstance(levels, bool) or not isinstance(levels, int) or levels < 2:
        raise PilotageError(f"levels is {levels!r}: it must be a whole number of at least 2.")
    if not 0 < reach < math.inf:
        raise PilotageError(f"reach is {reach}: it must be a finite number above 0.")


def level_log_probs(
    z: Float[Tensor, "*shape"],
    lam: float | Float[Tensor, ""],
    levels: int = 256,
    reach: float = 1.0,
) -> Float[Tensor, "*shape levels"]:
    """Return log p(x = v_k | z) in nats for every dimension and level, at one λ.

    The most probable level is ``argmax(-1)``. The result has ``levels`` times the memory of z: for
    the likelihood of known data see :func:`reconstruction_term`.

    Raises:
        PilotageError: if levels < 2 or reach is not above 0.
    """
    check_levels(levels, reach)
    lam = torch.as_tensor(lam, dtype=torch.float64)
    values = torch.linspace(-reach, reach, levels, dtype=torch.float64).to(z)
    offset = (z / alpha(lam))[..., None] - values
    return (-0.5 * (offset * torch.exp(lam / 2)).square()).log_softmax(dim=-1)


def reconstruction_term(
    x: Float[Tensor, "B *shape"],
    eps: Float[Tensor, "B *shape"],
    lam_max: float | Float[Tensor, ""],
    levels: int = 256,
    reach: float = 1.0,
) -> Float[Tensor, " B"]:
    """Return −log p(x | z_0) in nats per example, at z_0 = α x + σ ε (2107.00630, equation 4).

    With κ the distance of neighbouring levels in units of the noise's standard deviation, the level
    n above the true one has log-weight κ n (ε − ½ κ n) relative to it. x and
    z_0 are never subtracted, so that float32 keeps its precision at any λ. Levels whose weight is
    below e^−45 are skipped, and the rest is summed in blocks of a fixed size.

    The gradient reaches ``lam_max`` (to first order); x and eps are data.

    Args:
        x: data on the levels.
        eps: N(0, I).
        lam_max: λ at the data end.
        levels: number of possible values of x.
        reach: the largest value.

    Raises:
        PilotageError: if levels < 2, reach is not above 0, or x is not on the levels.
    """
    check_levels(levels, reach)
    index = _index(x.detach(), levels, reach)
    lam_max = torch.as_tensor(lam_max, dtype=torch.float64)
    spacing = torch.exp(lam_max / 2) * (2 * reach / (levels - 1))
    wide = torch.promote_types(eps.dtype, torch.float32)
    with torch.no_grad():
        nats, slope = _nats(index.flatten(), eps.to(wide).flatten(), float(spacing), levels)
        nats, slope = (part.reshape(len(x), -1).sum(dim=1) for part in (nats, slope))
    return nats + slope * (spacing - spacing.detach()).to(nats)


def _index(x: Tensor, levels: int, reach: float) -> Tensor:
    """Return the level index of every number."""
    place = (x.double() + reach) * ((levels - 1) / (2 * reach))
    index = place.round()
    on_grid = (place - index).abs().amax() <= _OFF_GRID  # false of NaN
    if not on_grid or index.amin() < 0 or index.amax() >= levels:
        raise PilotageError(
            f"x is off the grid: every number must be one of the {levels} even values from "
            f"{-reach:g} to {reach:g} (data_levels)."
        )
    return index


def _nats(index: Tensor, eps: Tensor, spacing: float, levels: int) -> tuple[Tensor, Tensor]:
    """Return −log p of each number (N,), and its derivative by the spacing κ."""
    far = float(eps.abs().amax())
    reach = (far + math.sqrt(far**2 + 2 * _NATS_THAT_COUNT)) / spacing
    most = levels - 1 if reach >= levels - 1 else max(1, math.ceil(reach))
    steps = torch.arange(1, most + 1, device=eps.device, dtype=eps.dtype)
    steps = torch.cat([-steps.flip(0), steps])
    rows = max(1, _NUMBERS_AT_ONCE // len(steps))
    blocks = [
        _block(i[:, None], e[:, None], steps, spacing, levels)
        for i, e in zip(torch.split(index, rows), torch.split(eps, rows), strict=True)
    ]
    nats, slopes = zip(*blocks, strict=True)
    return torch.cat(nats), torch.cat(slopes)


def _block(
    index: Tensor, eps: Tensor, steps: Tensor, spacing: float, levels: int
) -> tuple[Tensor, Tensor]:
    moved = spacing * steps
    log_weight = moved * (eps - moved / 2)
    there = index + steps
    log_weight = log_weight.masked_fill((there < 0) | (there > levels - 1), -math.inf)
    others = log_weight.logsumexp(dim=1)
    nats = torch.logaddexp(others, torch.zeros_like(others))
    share = torch.exp(log_weight - nats[:, None])
    return nats, (share * steps * (eps - moved)).sum(dim=1)


def diffusion_term(
    denoise: Denoiser,
    x: Float[Tensor, "B *shape"],
    eps: Float[Tensor, "B *shape"],
    u: Float[Tensor, " B"],
    schedule: Schedule,
    steps: float = math.inf,
    weight: Weight | None = None,
    cond: Any = None,
) -> Float[Tensor, " B"]:
    """Estimate the diffusion term in nats per example, from one u and one ε each.

    In T steps, u selects the step from the next multiple t of 1/T, at or above u, to t − 1/T.

    In continuous time the gradient of the interior of a learnable schedule is that of the mean of
    L², not of L: each example's is scaled by 2 L, in units of ½ (λ_max − λ_min) nats per dimension,
    the mean of L for a network with output 0. The unit does not depend on the batch, so that a
    batch in parts or on several processes gives the same gradient.

    Args:
        denoise: a denoiser, guided or not.
        x: clean data.
        eps: N(0, I).
        u: U(0, 1).
        schedule: u -> λ.
        steps: T, or inf.
        weight: w(λ), evaluated at λ(u) or λ_t; None is 1.
        cond: None or a batch of B conditions.

    Raises:
        PilotageError: if steps < 1 or not whole, or the schedule is a table and steps is inf.
    """
    check_steps(steps, schedule)
    if steps == math.inf:
        here = rate_by_parts(schedule, u.double())
        factor = -0.5 * here.slope
    else:
        here, factor = _jump(schedule, u, int(steps))
    if weight is not None:
        factor = factor * weight(here.lam)
    lam = here.lam.to(x.dtype)
    error = (eps - denoise(diffuse(x, eps, lam), lam, cond).eps).square().flatten(1).sum(dim=1)
    term = factor.to(x.dtype) * error
    unit = 0.5 * (schedule.lam_max - schedule.lam_min) * eps[0].numel()
    here.weigh(2 * term.detach() / unit)
    return term


def _jump(schedule: Schedule, u: Tensor, steps: int) -> tuple[Rate, Tensor]:
    """Return λ_t of the step that u selects, and T/2 expm1(λ_s − λ_t)."""
    k = torch.ceil(u * steps).clamp(1, steps).double()
    lam_t, lam_s = schedule(k / steps), schedule((k - 1) / steps)
    return Rate(lam_t, lam_t, lambda _: None), 0.5 * steps * torch.expm1(lam_s - lam_t)


def likelihood_terms(
    denoise: Denoiser,
    x: Float[Tensor, "B *shape"],
    schedule: Schedule,
    noise: Iterator[Tensor],
    steps: float = math.inf,
    evaluations: int | Literal["all"] = 64,
    levels: int = 256,
    reach: float = 1.0,
    cond: Any = None,
) -> dict[str, Tensor]:
    """Estimate the bound of −log p(x | c) with many evaluations, without gradients.

    The result is that of ``VDM.terms``: ``prior``, ``reconstruction`` and ``diffusion`` in nats,
    and ``loss``, their sum in bits per dimension, each (B,).

    The diffusion term is the mean over ``evaluations`` values of u, one in each of as many equal
    parts of [0, 1), all with the example's random offset: an unbiased estimate for any T.

    Args:
        denoise: a denoiser, guided or not.
        x: data on the levels.
        schedule: u -> λ.
        noise: draws of x's shape, N(0, I), e.g. ``SeededNoise`` with one seed per example;
            ``evaluations`` + 2 of them are used.
        steps: T, or inf.
        evaluations: network calls, or "all" for the sum over all T steps.
        levels: number of possible values of x.
        reach: the largest value.
        cond: None or a batch of B conditions.

    Raises:
        PilotageError: if evaluations < 1, or "all" where steps is inf; and as
            :func:`reconstruction_term` and :func:`diffusion_term` do.
    """
    check_steps(steps, schedule)
    parts = steps if evaluations == "all" else evaluations
    if not 1 <= parts < math.inf:
        raise PilotageError(
            f"evaluations is {evaluations!r} and steps is {steps}: evaluations must be at least 1, "
            "or 'all' where steps is finite."
        )
    with torch.no_grad():
        lam_min, lam_max = limits(schedule)
        reconstruction = reconstruction_term(x, next(noise), lam_max, levels, reach)
        offset = torch.special.ndtr(next(noise).flatten(1)[:, 0].double())
        if evaluations == "all":
            offset = torch.full_like(offset, 0.5)
        diffusion = torch.zeros_like(reconstruction)
        for part in range(int(parts)):
            u = (part + offset) / parts
            args = (next(noise), u, schedule, steps, None, cond)
            diffusion += diffusion_term(denoise, x, *args) / parts
        return with_loss(prior_term(x, lam_min), reconstruction, diffusion, x[0].numel())


def with_loss(
    prior: Tensor, reconstruction: Tensor, diffusion: Tensor, numbers: int
) -> dict[str, Tensor]:
    """Return the terms by name, and their sum in bits per dimension as ``loss``."""
    total = prior + reconstruction + diffusion
    return {
        "loss": total / (numbers * math.log(2)),
        "prior": prior,
        "reconstruction": reconstruction,
        "diffusion": diffusion,
    }


def check_steps(steps: float, schedule: Schedule) -> None:
    """Raise a `PilotageError` unless the schedule supports ``steps``, a number or inf."""
    whole = steps == math.inf or (isinstance(steps, int) and not isinstance(steps, bool))
    if not whole or steps < 1:
        raise PilotageError(f"steps is {steps}: it must be a whole number of at least 1, or inf.")
    if steps == math.inf and isinstance(schedule, Timesteps):
        raise PilotageError(
            f"steps is inf: it must be a finite number for the timesteps of {schedule}."
        )


def epsilon_weight(schedule: Schedule) -> Weight:
    """Return w(λ) = −2 du/dλ, which makes the diffusion term ‖ε − ε̂‖².

    This is L_simple of 2006.11239 (Algorithm 1 of 2207.12598), per example, summed over dimensions.

    Raises:
        PilotageError: unless the schedule is a ``TruncatedCosine`` or a fixed ``LinearLam``.
    """
    if isinstance(schedule, TruncatedCosine):
        start, end = (math.atan(math.exp(-lam / 2)) for lam in (schedule.lam_max, schedule.lam_min))
        return lambda lam: 0.5 / ((end - start) * torch.cosh(lam / 2))
    if isinstance(schedule, LinearLam) and schedule.ends is None:
        return lambda lam: torch.full_like(lam, 2 / (schedule.lam_max - schedule.lam_min))
    raise PilotageError(
        f"schedule is {schedule}: it must be a TruncatedCosine or a fixed LinearLam."
    )
