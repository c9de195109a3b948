"""The variance-preserving process as functions of the log-SNR λ (``lam``)."""

import torch
from jaxtyping import Float
from torch import Tensor


def alpha(lam: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Signal scale α = sqrt(sigmoid(λ)) (2207.12598, section 2)."""
    return torch.sigmoid(lam).sqrt()


def sigma(lam: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Noise scale σ = sqrt(sigmoid(−λ)); never 1 − α², which has no bits left at large λ."""
    return torch.sigmoid(-lam).sqrt()


def like(
    lam: Float[Tensor, "*batch"], z: Float[Tensor, "B *shape"]
) -> Float[Tensor, "*batch_and_ones"]:
    """Return λ in a form that broadcasts against z.

    One λ for the whole batch becomes a scalar: on the CPU in float64, it enters the arithmetic of
    any device in full precision at hardly any cost. One per example (B,) becomes (B, 1, ...).
    """
    if lam.ndim == 0:
        return lam
    return lam[0] if _is_shared(lam) else lam.reshape(-1, *[1] * (z.ndim - 1))


def spread(lam: Float[Tensor, "*batch"], count: int) -> Float[Tensor, " B"]:
    """Return λ as one value for each of ``count`` examples.

    One λ for the whole batch is expanded. Values per example are repeated as a whole up to
    ``count``, as ``torch.cat([z, z])`` repeats the examples.
    """
    if lam.ndim == 0:
        return lam.expand(count)
    return lam[:1].expand(count) if _is_shared(lam) else lam.repeat(count // len(lam))


def _is_shared(lam: Float[Tensor, " B"]) -> bool:
    """Whether λ (B,) is a single number, expanded."""
    return lam.stride(0) == 0


def tau(
    lam_t: Float[Tensor, "*#batch"], lam_s: Float[Tensor, "*#batch"]
) -> Float[Tensor, "*#batch"]:
    """τ = 1 − e^{λ_t − λ_s} in (0, 1], the share of a reverse step from λ_t up to λ_s > λ_t."""
    return -torch.expm1(lam_t - lam_s)


def diffuse(
    x: Float[Tensor, "B *shape"], eps: Float[Tensor, "B *shape"], lam: Float[Tensor, "*batch"]
) -> Float[Tensor, "B *shape"]:
    """Return the marginal sample z = α x + σ ε at λ (2207.12598, equation 1)."""
    lam = like(lam, x)
    return alpha(lam) * x + sigma(lam) * eps
