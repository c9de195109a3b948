"""The variational bound with a learned variance, as terms per example (2102.09672, section 3).

A chain is a list of levels; one step of it leads from λ_t to λ_s > λ_t, the last to λ_s = ∞. Where
a chain ends, the two bounds of the variance part from their formulas, which would give no finite
logarithm or no room between them. They are then

    upper   σ_t², what the transition's bound τ σ_t² is at λ_s = ∞;
    lower   the posterior variance of the step before, from λ_r to λ_t; σ_t² where no λ_r is given.

That is what guided-diffusion has at t = 0: log β_0, and the clipped posterior variance of t = 1.

Levels are read in float64 whatever the data's dtype, and should be given so: neighbouring levels of
a long chain differ by less than float32 can tell.

At the end of the file stands the whole bound of a chain: a model's likelihood.
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
    """KL(N(mean1, e^logvar1) ‖ N(mean2, e^logvar2)) in nats, elementwise; shapes broadcast."""
    ratio = logvar1 - logvar2
    return 0.5 * (torch.expm1(ratio) - ratio + (mean1 - mean2).square() * torch.exp(-logvar2))


def normal_cdf(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The standard normal distribution function, approximated.

    ½ (1 + tanh(√(2/π) (x + 0.044715 x³))), which is off by 3e-4 at most. It is what published
    likelihoods were computed with (2102.09672 and its code).
    """
    return torch.sigmoid(_SCALE * (x + _CUBIC * x**3))


def discretised_log_likelihood(
    x: Float[Tensor, "*#shape"],
    mean: Float[Tensor, "*#shape"],
    log_scale: Float[Tensor, "*#shape"],
    levels: int = 256,
) -> Float[Tensor, "*shape"]:
    """log P(x) in nats, elementwise, where x is one of ``levels`` even values from −1 to 1.

    P is the mass that N(mean, e^{2 log_scale}) has in the bin of x, half a level to either side;
    the first and the last bin are open ended (2006.11239, equation 13). The distribution function
    is :func:`normal_cdf`. A mass below 1e-12 counts as 1e-12, as in the code behind the published
    numbers: a model so wrong is told so by a finite value, but no longer by a gradient.

    With F = sigmoid ∘ g, log(F(b) − F(a)) = log F(b) + log(1 − F(a)) + log(1 − e^{g(a) − g(b)}):
    no difference of two numbers near 1 is taken, so the far tail keeps its digits in float32.

    Args:
        x: values in [−1, 1].
        mean: of the Gaussian.
        log_scale: the log of its standard deviation.
        levels: how many values x may have.

    Raises:
        PilotageError: if levels < 2.
    """
    if levels < 2:
        raise PilotageError(f"levels is {levels}: at least 2 are needed.")
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
    rest, signal = (float(part) for part in prior_parts(lam_min))
    return bits(0.5 * (rest + signal * x.square()))


def prior_parts(lam_min: float | Float[Tensor, ""]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """σ² − 1 − log σ² and α², float64: the KL at the noise end is ½ Σ (the first + the second x²).

    Gradients reach ``lam_min``.
    """
    lam = torch.as_tensor(lam_min, dtype=torch.float64)
    signal = torch.sigmoid(lam)  # σ² is 1 − α², of which at this end only α² has digits
    return -signal - logsigmoid(-lam), signal


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
