"""The variational bound with a learned variance, as terms per example (2102.09672, section 3).

A chain is a list of levels; a step goes from λ_t to λ_s > λ_t, the last to λ_s = ∞. At the end of a
chain, the formulas of the two bounds of the variance would give no finite logarithm or equal
values. The bounds are then

    upper   σ_t², the limit of the transition's bound τ σ_t² at λ_s = ∞;
    lower   the posterior variance of the step before, from λ_r to λ_t; σ_t² where no λ_r is given.

as in guided-diffusion at t = 0: log β_0, and the clipped posterior variance of t = 1.

Levels are converted to float64 whatever the data's dtype, and should be float64: neighbouring
levels of a long chain differ by less than float32 resolves.

:func:`bound` is the whole bound of a chain: a model's likelihood.
"""

import math
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from pilotage.diffusion.denoiser import Denoiser
from pilotage.diffusion.guidance import clip_x
from pilotage.diffusion.logsnr import alpha, diffuse, spread, tau
from pilotage.diffusion.prediction import Prediction
from pilotage.errors import PilotageError

Fraction = float | Literal["learned"]

_CUBIC = 0.044715
_SCALE = 2 * math.sqrt(2 / math.pi)
_LEAST_PROBABILITY = 1e-12


def normal_kl(
    mean1: Float[Tensor, "*#shape"],
    logvar1: Float[Tensor, "*#shape"],
    mean2: Float[Tensor, "*#shape"],
    logvar2: Float[Tensor, "*#shape"],
) -> Float[Tensor, "*shape"]:
    """Return KL(N(mean1, e^logvar1) ‖ N(mean2, e^logvar2)) in nats, elementwise, broadcast."""
    ratio = logvar1 - logvar2
    return 0.5 * (torch.expm1(ratio) - ratio + (mean1 - mean2).square() * torch.exp(-logvar2))


def normal_cdf(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Approximate the standard normal distribution function.

    ½ (1 + tanh(√(2/π) (x + 0.044715 x³))), with an error of at most 3e-4, as used for published
    likelihoods (2102.09672 and its code).
    """
    return torch.sigmoid(_SCALE * (x + _CUBIC * x**3))


def discretised_log_likelihood(
    x: Float[Tensor, "*#shape"],
    mean: Float[Tensor, "*#shape"],
    log_scale: Float[Tensor, "*#shape"],
    levels: int = 256,
) -> Float[Tensor, "*shape"]:
    """Return log P(x) in nats, elementwise, for x one of ``levels`` even values from −1 to 1.

    P is the mass of N(mean, e^{2 log_scale}) in the bin of x, half a level to either side;
    the first and last bins are open-ended (2006.11239, equation 13). The distribution function
    is :func:`normal_cdf`. A mass below 1e-12 is clamped to 1e-12, as in the code behind the
    published numbers: the value stays finite, without a gradient.

    With F = sigmoid ∘ g, log(F(b) − F(a)) = log F(b) + log(1 − F(a)) + log(1 − e^{g(a) − g(b)}):
    no difference of numbers near 1 is taken, so the tails keep their precision in float32.

    Args:
        x: values in [−1, 1].
        mean: of the Gaussian.
        log_scale: the log of its standard deviation.
        levels: number of possible values of x.

    Raises:
        PilotageError: if levels < 2.
    """
    if levels < 2:
        raise PilotageError(f"levels is {levels}: it must be at least 2.")
    half = 1 / (levels - 1)
    scale = torch.exp(-log_scale)
    upper, lower = scale * (x - mean + half), scale * (x - mean - half)
    squares = upper.square() + upper * lower + lower.square()
    width = _SCALE * 2 * half * scale * (1 + _CUBIC * squares)  # g(upper) − g(lower), never 0
    below = logsigmoid(_SCALE * (upper + _CUBIC * upper**3))
    above = logsigmoid(-_SCALE * (lower + _CUBIC * lower**3))
    inside = below + above + torch.log(-torch.expm1(-width))
    log_mass = torch.where(x <= -1 + half / 2, below, torch.where(x >= 1 - half / 2, above, inside))
    return log_mass.clamp(min=math.log(_LEAST_PROBABILITY))


class Coefficients(NamedTuple):
    """The Gaussian step q(z_s | z_t, x) = N(on_z z_t + on_x x, ·) and its bounds, each (B, 1, ...).

    Attributes:
        on_z: e^{λ_t − λ_s} α_s/α_t.
        on_x: τ α_s.
        lower: the log of the posterior variance τ σ_s², or its value at the end of a chain.
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
    """Compute the coefficients of a step from λ_t to λ_s in float64, returned in the dtype of z.

    Args:
        z: determines shape, dtype and device.
        lam_t: a scalar or (B,).
        lam_s: above lam_t; ∞ at the end of a chain.
        lam_r: below lam_t, the previous level of the chain; used only where λ_s = ∞.
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
    """Return λ (B, 1, ...) in float64 on the device of z."""
    return lam.to(z.device, torch.float64).expand(len(z)).reshape(-1, *[1] * (z.ndim - 1))


def posterior(
    x: Float[Tensor, "B *shape"],
    z: Float[Tensor, "B *shape"],
    lam_t: Float[Tensor, "*#batch"],
    lam_s: Float[Tensor, "*#batch"],
    lam_r: Float[Tensor, "*#batch"] | None = None,
) -> tuple[Float[Tensor, "B *shape"], Float[Tensor, "B *shape"]]:
    """Return mean and log-variance of q(z_s | z_t, x) (2207.12598, equation 3).

    With a denoiser's x they are the mean of its reverse step and the lower bound of its variance.
    At λ_s = ∞ the mean is x, and the variance has the lower bound of the module's docstring.
    """
    step = coefficients(z, lam_t, lam_s, lam_r)
    return step.on_z * z + step.on_x * x, step.lower.expand_as(z)


def model_log_variance(
    lam_t: Float[Tensor, "*#batch"],
    lam_s: Float[Tensor, "*#batch"],
    v: Float[Tensor, "B *shape"],
    lam_r: Float[Tensor, "*#batch"] | None = None,
) -> Float[Tensor, "B *shape"]:
    """Return (1 − v) log lower + v log upper, the log-variance of a step (2102.09672, eq. 15).

    v is the fraction of a :class:`~pilotage.diffusion.prediction.Prediction`.
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
    """Return one term of the variational bound per example, in bits per dimension.

    KL(q(z_s | z_t, x) ‖ p(z_s | z_t)) for a finite λ_s. For λ_s = ∞ the negative log-likelihood of
    x, taken as one of 256 even levels, under the last step's Gaussian. A batch may hold both.

    Args:
        prediction: of the denoiser at (z, λ_t).
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
    # the two means share on_z · z, which would only cost precision
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
        raise PilotageError(
            "v is 'learned': it must be a number, since this denoiser predicts no variance."
        )
    return prediction.v


def bits(nats: Float[Tensor, "B *shape"]) -> Float[Tensor, " B"]:
    """Convert elementwise nats to bits per dimension, (B,)."""
    return nats.flatten(1).mean(dim=1) / math.log(2)


def prior_bpd(
    x: Float[Tensor, "B *shape"], lam_min: float | Float[Tensor, ""]
) -> Float[Tensor, " B"]:
    """Return KL(q(z | x) ‖ N(0, I)) at the noise end of a chain, in bits per dimension."""
    rest, signal = (float(part) for part in prior_parts(lam_min))
    return bits(0.5 * (rest + signal * x.square()))


def prior_parts(lam_min: float | Float[Tensor, ""]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return a = σ² − 1 − log σ² and b = α², float64: the KL at the noise end is ½ Σ (a + b x²).

    Gradients reach ``lam_min``.
    """
    lam = torch.as_tensor(lam_min, dtype=torch.float64)
    signal = torch.sigmoid(lam)  # σ² = 1 − α², of which only α² is precise at this end
    return -signal - logsigmoid(-lam), signal


class Bound(NamedTuple):
    """An upper bound of −log p(x), and its parts; bits per dimension unless stated otherwise.

    Attributes:
        total: prior and all terms (B,).
        prior: of the noise end (B,).
        terms: one per level, from the noise end to the data (B, T).
        x_error: mean squared error of x at each level, not in bits (B, T).
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
    """Estimate the bound of the sampling chain along ``lams``, with one draw of noise per level.

    Every level has its own draw, so the sum is an unbiased estimate (2006.11239, equation 5). No
    gradients are kept.

    Args:
        denoise: a denoiser.
        x: data in [−1, 1], of 256 even levels (B, *shape).
        lams: strictly increasing log-SNR, as for ``sample``.
        noises: T draws of x's shape, N(0, I).
        v: the variance, as for ``ancestral``.
        clip: whether to clip the denoiser's x to [−1, 1], the range of the data.
        cond: None or a batch of B conditions.

    Raises:
        PilotageError: if lams is empty, not finite or not increasing, noises are too few, v
            is outside [0, 1], or it is "learned" and the denoiser predicts none.
    """
    levels = lams.detach().to("cpu", torch.float64)
    if not len(levels) or not levels.isfinite().all() or not (levels.diff() > 0).all():
        raise PilotageError(
            f"lams is {levels.tolist()}: it must be finite and strictly increasing."
        )
    clipped = clip_x(denoise) if clip else denoise
    ends = [*levels[1:], torch.full_like(levels[0], torch.inf)]
    draws, columns = iter(noises), []
    with torch.no_grad():
        for k, (lam_t, lam_s) in enumerate(zip(levels, ends, strict=True)):
            eps = next(draws, None)
            if eps is None:
                raise PilotageError(f"noises has {k} draws: it must have {len(levels)}.")
            z = diffuse(x, eps, lam_t)
            prediction = clipped(z, spread(lam_t.to(z), len(z)), cond)
            lam_r = levels[k - 1] if k else None
            term = vlb_term(prediction, x, z, lam_t, lam_s, lam_r, v)
            columns.append((term, _error(prediction.x, x), _error(prediction.eps, eps)))
    terms, x_error, eps_error = (torch.stack(c, dim=1) for c in zip(*columns, strict=True))
    prior = prior_bpd(x, float(levels[0]))
    return Bound(terms.sum(dim=1) + prior, prior, terms, x_error, eps_error)


def _error(ours: Tensor, true: Tensor) -> Tensor:
    return (ours - true).square().flatten(1).mean(dim=1)
