"""Reverse steps from λ_t to λ_s > λ_t, as functions of a state.

A step calls the denoiser at (z, λ_t) and returns the state at λ_s. Its noise is an argument, it
keeps nothing between calls, and at λ_s = ∞ it returns the denoiser's x.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from pilotage.diffusion.logsnr import alpha, like, sigma, spread, tau
from pilotage.diffusion.prediction import Prediction
from pilotage.errors import PilotageError

Score = Callable[[Tensor, Tensor], Tensor]


class State(NamedTuple):
    """The state of a sampler.

    Attributes:
        z: the batch (B, *shape).
        lam: its log-SNR, a scalar or (B,).
        prediction: the latest prediction; None before the first step.
        history: what a multistep solver needs of earlier steps.
    """

    z: Tensor
    lam: Tensor
    prediction: Prediction | None = None
    history: tuple[Any, ...] = ()


@runtime_checkable
class BoundDenoiser(Protocol):
    """A denoiser whose condition is already chosen: ``(z, lam) -> Prediction``."""

    def __call__(self, z: Tensor, lam: Tensor) -> Prediction:
        """Predict for a batch."""
        ...


@runtime_checkable
class Step(Protocol):
    """One reverse step: the state at λ_t and the noise n (B, *shape) give the state at λ_s."""

    def __call__(
        self, denoise: BoundDenoiser, state: State, lam_s: Tensor, noise: Tensor | None
    ) -> State:
        """Return the state at ``lam_s``."""
        ...


def ancestral(v: float | Literal["learned"] = 0.3, score: Score | None = None) -> Step:
    """Return the ancestral step with variance (σ̃²)^{1−v} (σ²_{t|s})^v (2207.12598, eqs. 3 and 4).

    The mean is e^{λ_t − λ_s} (α_s/α_t) z + τ α_s x. The two bounds of the variance are the
    posterior's σ̃² = τ σ_s² (v = 0) and the transition's σ²_{t|s} = τ σ_t² (v = 1).

    Args:
        v: a number in [0, 1], or "learned" for the fraction that the network predicts.
        score: ``(z, lam) -> (B, *shape)``, w ∇_z log p(c | z, λ_t) at the z before the step. It is
            added to the mean, times the variance: ADM's classifier guidance of this sampler
            (2105.05233, Algorithm 1). In the limit of many steps it equals
            :func:`guidance.classifier`, which works with every sampler. At λ_s = ∞ there is no
            variance and no shift; guided-diffusion clips the variance above 0 and shifts there too.

    Raises:
        PilotageError: if v is outside [0, 1]; when stepping, if noise is missing, or v is "learned"
            and the denoiser predicts none.
    """
    if v != "learned" and not 0 <= v <= 1:
        raise PilotageError(f"v is {v}: it must lie in [0, 1] or be 'learned'.")

    def step(denoise: BoundDenoiser, state: State, lam_s: Tensor, noise: Tensor | None) -> State:
        z, lam_t = state.z, state.lam
        prediction = _predict(denoise, state)
        t, s = like(lam_t, z), like(lam_s, z)
        mean = torch.exp(t - s) * alpha(s) / alpha(t) * z + tau(t, s) * alpha(s) * prediction.x
        if noise is None:
            _only_at_the_end(lam_s, "ancestral")
            return State(mean, lam_s, prediction)
        fraction = _learned(prediction) if v == "learned" else v
        # at λ_s = ∞ the variance is 0, whatever a power of the bounds would give
        low, high = sigma(s) + s.isinf(), sigma(t)
        std = tau(t, s).sqrt() * low ** (1 - fraction) * high**fraction * s.isfinite()
        if score is not None:
            mean = mean + std**2 * score(z, _level(state))
        return State(mean + std * noise, lam_s, prediction)

    return step


def ddim(eta: float = 0.0) -> Step:
    """Return the step z_s = α_s x + σ_s √(1 − η²τ) ε + σ_s √(η²τ) n (2010.02502, equation 12).

    η = 0 is deterministic: the Euler step of the probability flow in z/α against σ/α. It is also
    defined towards noise, λ_s < λ_t, up to λ_s = −∞, where z is ε. η = 1 has the mean and variance
    of ``ancestral(v=0)``.

    Raises:
        PilotageError: if eta is outside [0, 1]; when stepping, if eta > 0 and noise is missing.
    """
    if not 0 <= eta <= 1:
        raise PilotageError(f"eta is {eta}: it must lie in [0, 1].")

    def step(denoise: BoundDenoiser, state: State, lam_s: Tensor, noise: Tensor | None) -> State:
        z, lam_t = state.z, state.lam
        prediction = _predict(denoise, state)
        t, s = like(lam_t, z), like(lam_s, z)
        if eta == 0:
            return State(alpha(s) * prediction.x + sigma(s) * prediction.eps, lam_s, prediction)
        share = eta**2 * tau(t, s)
        mean = alpha(s) * prediction.x + sigma(s) * (1 - share).sqrt() * prediction.eps
        if noise is None:
            _only_at_the_end(lam_s, f"ddim(eta={eta})")
            return State(mean, lam_s, prediction)
        return State(mean + sigma(s) * share.sqrt() * noise, lam_s, prediction)

    return step


def _predict(denoise: BoundDenoiser, state: State) -> Prediction:
    """Call the denoiser at the state."""
    return denoise(state.z, _level(state))


def _level(state: State) -> Tensor:
    """Return λ for denoisers and scores: per example, in the dtype and on the device of z."""
    return spread(state.lam.to(state.z), len(state.z))


def _only_at_the_end(lam_s: Tensor, name: str) -> None:
    if not lam_s.isinf().all():
        raise PilotageError(
            f"noise is None: it must be given for every step of {name} but the last."
        )


def _learned(prediction: Prediction) -> Tensor:
    if prediction.v is None:
        raise PilotageError(
            "v is 'learned': it must be a number, since this denoiser predicts no variance."
        )
    return prediction.v
