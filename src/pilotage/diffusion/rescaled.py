"""Variance-exploding models as re-scalings of variance-preserving ones, and back.

At the same λ the two processes hold the same image with the same noise:

    z_VE = z / α = x + s ε,   s = σ/α = e^{−λ/2}.

So predictions of x and ε are the same in both, and a denoiser only needs z on its own scale
(2107.00630, section 4.3: any two processes with the same ends of λ are the same model).
"""

from typing import Any

from torch import Tensor

from pilotage.diffusion.denoiser import Denoiser
from pilotage.diffusion.logsnr import alpha, like
from pilotage.diffusion.prediction import Prediction


def preserving(exploding_denoiser: Denoiser) -> Denoiser:
    """Turn a denoiser of z_VE = x + s ε, s = e^{−λ/2}, into one of z = α x + σ ε."""

    def denoise(z: Tensor, lam: Tensor, cond: Any = None) -> Prediction:
        return exploding_denoiser(z / alpha(like(lam, z)), lam, cond)

    return denoise


def exploding(preserving_denoiser: Denoiser) -> Denoiser:
    """Turn a denoiser of z = α x + σ ε into one of z_VE = x + s ε, s = e^{−λ/2}."""

    def denoise(z: Tensor, lam: Tensor, cond: Any = None) -> Prediction:
        return preserving_denoiser(alpha(like(lam, z)) * z, lam, cond)

    return denoise
