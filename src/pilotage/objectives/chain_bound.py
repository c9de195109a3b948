"""The whole variational bound of a chain: a model's likelihood in bits per dimension."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from pilotage.diffusion.denoiser import Denoiser
from pilotage.diffusion.guidance import clip_x
from pilotage.diffusion.logsnr import diffuse, spread
from pilotage.errors import PilotageError
from pilotage.objectives.variational import Fraction, prior_bpd, vlb_term


class Bound(NamedTuple):
    """An upper bound of −log p(x), and its parts; bits per dimension unless told otherwise.

    Attributes:
        total: prior and all terms (B,).
        prior: of the noise end (B,).
        terms: one per level, from the noise end to the data (B, T).
        x_error: mean squared error of x at each level, no bits (B, T).
        eps_error: the same of ε (B, T).
    """

    total: Float[Tensor, " B"]
    prior: Float[Tensor, " B"]
    terms: Float[Tensor, "B T"]
    x_error: Float[Tensor, "B T"]
    eps_error: Float[Tensor, "B T"]


def bound(
    denoise: Denoiser,
    x: Float[Tensor, "B *shape"],
    lams: Float[Tensor, " T"],
    noises: Iterable[Tensor],
    v: Fraction = "learned",
    clip: bool = True,
    cond: Any = None,
) -> Bound:
    """The bound of the chain that samples along ``lams``, with one draw of noise per level.

    Every level has its own draw, so the sum is an unbiased estimate (2006.11239, equation 5). No
    gradients are kept.

    Args:
        denoise: a denoiser.
        x: data in [−1, 1], of 256 even levels (B, *shape).
        lams: strictly increasing log-SNR, as for ``sample``.
        noises: T draws of x's shape, N(0, I).
        v: the variance, as for ``ancestral``.
        clip: whether to clip the denoiser's x to [−1, 1], which the data never leave.
        cond: None or a batch of B conditions.

    Raises:
        PilotageError: if lams is empty, not finite or not increasing, there are too few noises, v
            is outside [0, 1], or it is "learned" and the denoiser predicts none.
    """
    levels = lams.detach().to("cpu", torch.float64)
    if not len(levels) or not levels.isfinite().all() or not (levels.diff() > 0).all():
        raise PilotageError(
            f"lams is {levels.tolist()}: it must be finite and strictly increasing."
        )
    asked = clip_x(denoise) if clip else denoise
    ends = [*levels[1:], torch.full_like(levels[0], torch.inf)]
    draws, columns = iter(noises), []
    with torch.no_grad():
        for k, (lam_t, lam_s) in enumerate(zip(levels, ends, strict=True)):
            eps = next(draws, None)
            if eps is None:
                raise PilotageError(f"noises has {k} draws: {len(levels)} are needed.")
            z = diffuse(x, eps, lam_t)
            prediction = asked(z, spread(lam_t.to(z), len(z)), cond)
            lam_r = levels[k - 1] if k else None
            term = vlb_term(prediction, x, z, lam_t, lam_s, lam_r, v)
            columns.append((term, _error(prediction.x, x), _error(prediction.eps, eps)))
    terms, x_error, eps_error = (torch.stack(c, dim=1) for c in zip(*columns, strict=True))
    prior = prior_bpd(x, float(levels[0]))
    return Bound(terms.sum(dim=1) + prior, prior, terms, x_error, eps_error)


def _error(ours: Tensor, true: Tensor) -> Tensor:
    return (ours - true).square().flatten(1).mean(dim=1)
