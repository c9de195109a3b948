"""The loop: a step repeated over a grid of λ (2207.12598, Algorithm 2)."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pilotage.diffusion.denoiser import Denoiser
from pilotage.diffusion.guidance import BrokenGuidanceError
from pilotage.diffusion.prediction import Prediction
from pilotage.diffusion.steps import State, Step
from pilotage.errors import PilotageError


def sample(
    denoise: Denoiser,
    z: Float[Tensor, "B *shape"],
    lams: Float[Tensor, " T"],
    step: Step,
    cond: Any = None,
    noise: Iterable[Tensor] | None = None,
) -> Iterator[State]:
    """Yield the state after every step, T of them for a grid of T; the last z is the image.

    The denoiser is called at each of the T levels. The last step leads to λ = ∞, where z is the
    denoiser's x. No gradients are kept. Progress and logging are left to the caller.

    Args:
        denoise: a denoiser, guided or not.
        z: the initial state at lams[0], usually N(0, I), (B, *shape).
        lams: strictly increasing log-SNR, e.g. ``TruncatedCosine().grid(T)``.
        step: e.g. ``ancestral(v=0.3)`` or ``ddim(eta=0)``.
        cond: None or a batch of B conditions.
        noise: draws of z's shape, one for each step but the last; a deterministic step needs none.

    Raises:
        PilotageError: if lams is empty, not finite or not strictly increasing, or the step is
            random and noise is exhausted; BrokenGuidanceError, with the step and its λ, if the
            gradient of a guiding function is not finite.
    """
    levels = lams.detach().cpu()
    if levels.ndim != 1 or len(levels) < 1:
        raise PilotageError(
            f"lams has shape {tuple(lams.shape)}: it must be (T,) with T of at least 1."
        )
    if not levels.isfinite().all() or not (levels.diff() > 0).all():
        raise PilotageError(
            f"lams is {levels.tolist()}: it must be finite and strictly increasing."
        )
    return _loop(denoise, z, levels, step, cond, iter(noise if noise is not None else ()))


def _loop(
    denoise: Denoiser, z: Tensor, lams: Tensor, step: Step, cond: Any, noise: Iterator[Tensor]
) -> Iterator[State]:
    def bound(z: Tensor, lam: Tensor) -> Prediction:
        return denoise(z, lam, cond)

    end = torch.full_like(lams[0], torch.inf)
    state = State(z, lams[0])
    for number, lam_s in enumerate((*lams[1:], end), 1):
        try:
            with (
                torch.no_grad()
            ):  # around each step, so that the caller's grad mode is unchanged at every yield
                state = step(bound, state, lam_s, None if lam_s is end else next(noise, None))
        except BrokenGuidanceError as error:
            raise BrokenGuidanceError(f"step {number} of {len(lams)}: {error}") from None
        yield state
