"""The decoder of variational diffusion models: the likelihood of discrete data given z at λ_max.

Data are one of ``levels`` even values v_k = −reach + 2 reach k/(levels − 1), k = 0..levels−1. In
this project an 8-bit image is x = k/127.5 − 1: reach 1. The paper's own encoding 2 (k + ½)/256 − 1
is the same numbers with a reach of 255/256; a model trained on one is not one of the other at the
same λ, but the bits are of the same discrete data in both.

    p(x = v_k | z) ∝ N(z/α; v_k, e^{−λ}), normalised over the levels (2107.00630, section 3.3)
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from pilotage.diffusion.logsnr import alpha
from pilotage.errors import PilotageError

_NATS_THAT_COUNT = 45.0  # e^−45 is below float64's rounding of 1
_NUMBERS_AT_ONCE = 2**20
_OFF_GRID = 0.01  # of the distance between levels


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
    """log p(x = v_k | z) in nats for every number and every level, at one λ.

    The likeliest level of each number is ``argmax(-1)``. The answer has ``levels`` times the memory
    of z: for the likelihood of known data see :func:`reconstruction_term`.

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
    """−log p(x | z_0) in nats per example, at z_0 = α x + σ ε (2107.00630, equation 4).

    With κ the distance of neighbouring levels in units of the noise's standard deviation, the level
    n above the true one has log-weight κ n (ε − ½ κ n) relative to it. Nothing else enters: x and
    z_0 are never subtracted, so that float32 keeps its digits at any λ. Levels whose weight is
    below e^−45 are left out, and the rest is summed in blocks of a fixed size.

    The gradient reaches ``lam_max`` (to first order); x and eps are data.

    Args:
        x: data on the levels.
        eps: N(0, I).
        lam_max: λ at the data end.
        levels: how many values x may have.
        reach: the largest of them.

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
    """The level of every number."""
    place = (x.double() + reach) * ((levels - 1) / (2 * reach))
    index = place.round()
    on_grid = (place - index).abs().amax() <= _OFF_GRID  # false of NaN
    if not on_grid or index.amin() < 0 or index.amax() >= levels:
        raise PilotageError(
            f"x is not on the grid of levels={levels}: every number must be one of the {levels} "
            f"even values from {-reach:g} to {reach:g}."
        )
    return index


def _nats(index: Tensor, eps: Tensor, spacing: float, levels: int) -> tuple[Tensor, Tensor]:
    """−log p of each number (N,), and its derivative by the spacing κ."""
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
