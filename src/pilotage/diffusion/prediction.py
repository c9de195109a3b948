"""Predictions of a denoiser: x and ε together, consistent with z = α x + σ ε."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from pilotage.diffusion.logsnr import alpha, like, sigma


class Prediction(NamedTuple):
    """E[x | z, c] and E[ε | z, c], with αx + σε = z.

    Both are kept because deriving one from the other loses precision: ε from x divides by a
    vanishing σ at high λ, x from ε by a vanishing α at low λ.

    Attributes:
        x: the clean image (B, *shape).
        eps: the noise (B, *shape).
        v: a learned fraction in [0, 1] between the two bounds of the ancestral variance (log
            scale), (B, *shape), or None.
    """

    x: Float[Tensor, "B *shape"]
    eps: Float[Tensor, "B *shape"]
    v: Float[Tensor, "B *shape"] | None = None


def from_x(
    z: Float[Tensor, "B *shape"], lam: Float[Tensor, "*batch"], x: Float[Tensor, "B *shape"]
) -> Prediction:
    """Derive ε = (z − αx)/σ."""
    lam = like(lam, z)
    return Prediction(x, (z - alpha(lam) * x) / sigma(lam))


def from_eps(
    z: Float[Tensor, "B *shape"], lam: Float[Tensor, "*batch"], eps: Float[Tensor, "B *shape"]
) -> Prediction:
    """Derive x = (z − σε)/α."""
    lam = like(lam, z)
    return Prediction((z - sigma(lam) * eps) / alpha(lam), eps)


def from_v(
    z: Float[Tensor, "B *shape"], lam: Float[Tensor, "*batch"], v: Float[Tensor, "B *shape"]
) -> Prediction:
    """Rotate by x = αz − σv, ε = σz + αv (2202.00512, appendix D); well conditioned at any λ."""
    lam = like(lam, z)
    a, s = alpha(lam), sigma(lam)
    return Prediction(a * z - s * v, s * z + a * v)


def target_v(
    x: Float[Tensor, "B *shape"], eps: Float[Tensor, "B *shape"], lam: Float[Tensor, "*batch"]
) -> Float[Tensor, "B *shape"]:
    """Return v = αε − σx, the target of v-prediction."""
    lam = like(lam, x)
    return alpha(lam) * eps - sigma(lam) * x


def move_x(
    prediction: Prediction, lam: Float[Tensor, "*batch"], x: Float[Tensor, "B *shape"]
) -> Prediction:
    """Replace x and re-derive ε: ε' = ε + (α/σ)(x_old − x_new).

    Where x is unchanged, ε is too, to the last bit, at any λ.
    """
    ratio = torch.exp(like(lam, x) / 2)
    return Prediction(x, prediction.eps + ratio * (prediction.x - x), prediction.v)
