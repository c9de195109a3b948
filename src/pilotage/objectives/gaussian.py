"""Divergence and likelihood of Gaussians, in nats and number by number."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from pilotage.errors import PilotageError

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
