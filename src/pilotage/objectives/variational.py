"""The variational bound with a learned variance, as terms per example (2102.09672, section 3).

A chain is a list of levels; one step of it leads from λ_t to λ_s > λ_t, the last to λ_s = ∞. Where
a chain ends, the two bounds of the variance part from their formulas, which would give no finite
logarithm or no room between them. They are then

    upper   σ_t², what the transition's bound τ σ_t² is at λ_s = ∞;
    lower   the posterior variance of the step before, from λ_r to λ_t; σ_t² where no λ_r is given.

That is what guided-diffusion has at t = 0: log β_0, and the clipped posterior variance of t = 1.

Levels are read in float64 whatever the data's dtype, and should be given so: neighbouring levels of
a long chain differ by less than float32 can tell.
"""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from pilotage.diffusion.logsnr import alpha, tau
from pilotage.diffusion.prediction import Prediction
from pilotage.errors import PilotageError
from pilotage.objectives.gaussian import discretised_log_likelihood, normal_kl

Fraction = float | Literal["learned"]


class Coefficients(NamedTuple):
    """The Gaussian step q(z_s | z_t, x) = N(on_z z_t + on_x x, ·) and its bounds, each (B, 1, ...).

    Attributes:
        on_z: e^{λ_t − λ_s} α_s/α_t.
        on_x: τ α_s.
        lower: the log of the posterior variance τ σ_s², or what stands for it at the end.
        upper: the log of the transition variance τ σ_t².
        last: whether the step leads to λ_s = ∞.
    """

    on_z: Tensor
    on_x: Tensor
    lower: Tensor
    upper: Tensor
    last: Tensor


def coefficients(
    z: Float[Tensor, "B *shape"],
    lam_t: Float[Tensor, "*#batch"],
    lam_s: Float[Tensor, "*#batch"],
    lam_r: Float[Tensor, "*#batch"] | None = None,
) -> Coefficients:
    """All that a step from λ_t to λ_s needs, computed in float64 and told in the dtype of z.

    Args:
        z: whose shape, dtype and device to have.
        lam_t: a scalar or (B,).
        lam_s: above lam_t; ∞ at the end of a chain.
        lam_r: below lam_t, the level before it in the chain; asked for only where λ_s = ∞.
    """
    t, s = (_column(lam, z) for lam in (lam_t, lam_s))
    last = s.isinf()
    share = tau(t, s)
    upper = share.log() + logsigmoid(-t)
    lower = share.log() + logsigmoid(-s)
    at_end = upper if lam_r is None else tau(_column(lam_r, z), t).log() + logsigmoid(-t)
    return Coefficients(
        on_z=(torch.exp(t - s) * alpha(s) / alpha(t)).to(z.dtype),
        on_x=(share * alpha(s)).to(z.dtype),
        lower=torch.where(last, at_end, lower).to(z.dtype),
        upper=upper.to(z.dtype),
        last=last,
    )


def _column(lam: Tensor, z: Tensor) -> Tensor:
    """λ (B, 1, ...) in float64 on the device of z."""
    return lam.to(z.device, torch.float64).expand(len(z)).reshape(-1, *[1] * (z.ndim - 1))


def posterior(
    x: Float[Tensor, "B *shape"],
    z: Float[Tensor, "B *shape"],
    lam_t: Float[Tensor, "*#batch"],
    lam_s: Float[Tensor, "*#batch"],
    lam_r: Float[Tensor, "*#batch"] | None = None,
) -> tuple[Float[Tensor, "B *shape"], Float[Tensor, "B *shape"]]:
    """Mean and log-variance of q(z_s | z_t, x) (2207.12598, equation 3).

    With a denoiser's x they are the mean of its reverse step and the lower bound of its variance.
    At λ_s = ∞ the mean is x; the variance, 0, is told as the module's docstring says.
    """
    step = coefficients(z, lam_t, lam_s, lam_r)
    return step.on_z * z + step.on_x * x, step.lower.expand_as(z)


def model_log_variance(
    lam_t: Float[Tensor, "*#batch"],
    lam_s: Float[Tensor, "*#batch"],
    v: Float[Tensor, "B *shape"],
    lam_r: Float[Tensor, "*#batch"] | None = None,
) -> Float[Tensor, "B *shape"]:
    """(1 − v) log lower + v log upper, the log-variance of a reverse step (2102.09672, eq. 15).

    v is the fraction that :class:`~pilotage.diffusion.prediction.Prediction` holds.
    """
    step = coefficients(v, lam_t, lam_s, lam_r)
    return torch.lerp(step.lower.expand_as(v), step.upper.expand_as(v), v)


def vlb_term(
    prediction: Prediction,
    x: Float[Tensor, "B *shape"],
    z: Float[Tensor, "B *shape"],
    lam_t: Float[Tensor, "*#batch"],
    lam_s: Float[Tensor, "*#batch"],
    lam_r: Float[Tensor, "*#batch"] | None = None,
    v: Fraction = "learned",
) -> Float[Tensor, " B"]:
    """One term of the variational bound per example, in bits per dimension.

    KL(q(z_s | z_t, x) ‖ p(z_s | z_t)) for a finite λ_s. For λ_s = ∞ the negative log-likelihood of
    x, taken as one of 256 even levels, under the last step's Gaussian. A batch may hold both.

    Args:
        prediction: the denoiser's at (z, λ_t).
        x: the clean data in [−1, 1].
        z: the data at λ_t.
        lam_t: a scalar or (B,).
        lam_s: above lam_t, or ∞.
        lam_r: see :func:`coefficients`.
        v: a number in [0, 1], or "learned" for the fraction in the prediction.

    Raises:
        PilotageError: if v is outside [0, 1], or "learned" and the prediction has none.
    """
    step = coefficients(z, lam_t, lam_s, lam_r)
    log_variance = torch.lerp(
        step.lower.expand_as(z), step.upper.expand_as(z), _fraction(prediction, v)
    )
    # the two means share on_z · z, which would only cost digits
    gap = step.on_x * (x - prediction.x)
    kl = normal_kl(gap, step.lower, torch.zeros_like(gap), log_variance)
    nll = -discretised_log_likelihood(x, prediction.x, log_variance / 2)
    return bits(torch.where(step.last, nll, kl))


def _fraction(prediction: Prediction, v: Fraction) -> Tensor:
    if v != "learned":
        if not 0 <= v <= 1:
            raise PilotageError(f"v is {v}: it must lie in [0, 1] or be 'learned'.")
        return torch.full_like(prediction.x, v)
    if prediction.v is None:
        raise PilotageError("v is 'learned': this denoiser predicts no variance; give a number.")
    return prediction.v


def bits(nats: Float[Tensor, "B *shape"]) -> Float[Tensor, " B"]:
    """Nats number by number as bits per dimension, (B,)."""
    return nats.flatten(1).mean(dim=1) / math.log(2)


def prior_bpd(
    x: Float[Tensor, "B *shape"], lam_min: float | Float[Tensor, ""]
) -> Float[Tensor, " B"]:
    """KL(q(z | x) ‖ N(0, I)) at the noise end of a chain, in bits per dimension."""
    lam = torch.as_tensor(lam_min, dtype=torch.float64)
    signal = float(torch.sigmoid(lam))
    # ½ (σ² − 1 − log σ² + α² x²), with σ² = 1 − α² of which at this end only α² has digits
    rest = -signal - float(logsigmoid(-lam))
    return bits(0.5 * (rest + signal * x.square()))
