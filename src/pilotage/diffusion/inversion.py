"""DDIM inversion: encoding an image as the noise from which DDIM reconstructs it."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pilotage.diffusion.denoiser import Denoiser
from pilotage.diffusion.prediction import Prediction
from pilotage.diffusion.steps import State, ddim
from pilotage.errors import PilotageError


def invert(
    denoise: Denoiser,
    x: Float[Tensor, "B *shape"],
    lams: Float[Tensor, " T"],
    cond: Any = None,
) -> Iterator[State]:
    """Yield the states of ``ddim(0)`` from an image to its noise, for each level but the first.

    x is taken as z at the first level, which must be nearly clean (2010.02502, section 5.4;
    2105.05233, section 4.2). ``sample`` with ``ddim(0)`` over the same levels leads back to x, up
    to the discretisation error. No gradients are kept.

    Args:
        denoise: a denoiser, guided or not.
        x: images (B, *shape).
        lams: strictly decreasing log-SNR, e.g. ``schedule.grid(T).flip(0)``. Only the last may be
            −∞, where z is the denoiser's ε.
        cond: None or a batch of B conditions.

    Raises:
        PilotageError: if lams has fewer than 2 levels, is not strictly decreasing, or is infinite
            before its end.
    """
    levels = lams.detach().cpu()
    last_is_fine = bool(levels[-1:].isfinite().all()) or bool((levels[-1:] == -torch.inf).all())
    decreasing = len(levels) > 1 and bool((levels.diff() < 0).all())
    if not decreasing or not levels[:-1].isfinite().all() or not last_is_fine:
        raise PilotageError(
            f"lams is {levels.tolist()}: it must be 2 or more strictly decreasing levels, all "
            "finite except a last one of −∞."
        )
    return _loop(denoise, x, levels, cond)


def _loop(denoise: Denoiser, x: Tensor, lams: Tensor, cond: Any) -> Iterator[State]:
    def bound(z: Tensor, lam: Tensor) -> Prediction:
        return denoise(z, lam, cond)

    step, state = ddim(0.0), State(x, lams[0])
    for lam_s in lams[1:]:
        with torch.no_grad():
            state = step(bound, state, lam_s, None)
        yield state
