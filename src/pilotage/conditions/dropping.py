"""Condition dropout: which examples lose their condition, or parts of it."""

from collections.abc import Mapping
from typing import overload

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pilotage.conditions.multi import Several
from pilotage.conditions.space import Space
from pilotage.errors import PilotageError


def draw_uniform(space: Space, count: int, generator: torch.Generator) -> Float[Tensor, "B *parts"]:
    """Draw the U[0, 1) numbers for condition dropout, on the generator's device.

    One for each example (B,); where the parts of a condition are dropped independently, one for
    each part (B, P).
    """
    shape: tuple[int, ...] = (count,)
    if isinstance(space, Several) and not space.together:
        shape = (count, len(space.parts))
    return torch.rand(shape, generator=generator, device=generator.device)


@overload
def draw_dropped(
    uniform: Float[Tensor, "B *parts"], p_uncond: float
) -> Bool[Tensor, "B *parts"]: ...


@overload
def draw_dropped(
    uniform: Float[Tensor, "B *parts"], p_uncond: Mapping[str, float]
) -> dict[str, Bool[Tensor, " B"]]: ...


def draw_dropped(
    uniform: Float[Tensor, "B *parts"], p_uncond: float | Mapping[str, float]
) -> Bool[Tensor, "B *parts"] | dict[str, Bool[Tensor, " B"]]:
    """Decide which examples lose their condition: each with probability ``p_uncond``.

    Args:
        uniform: independent U[0, 1) numbers, one per example; 0 drops none and 1 drops all. Or one
            per example and part (B, P).
        p_uncond: the dropping rate (2207.12598, Algorithm 1, line 3); or the rate of each part by
            its name, in the order of the columns of ``uniform``.

    Returns:
        Bools of the shape of ``uniform``; (B,) for each part where the rates have names.

    Raises:
        PilotageError: if rates by name are not as many as the columns of ``uniform``.
    """
    if not isinstance(p_uncond, Mapping):
        return uniform < p_uncond
    if uniform.ndim != 2 or uniform.shape[1] != len(p_uncond):
        raise PilotageError(
            f"uniform has shape {tuple(uniform.shape)}: it must be (B, {len(p_uncond)}), a column "
            f"for each of {list(p_uncond)}."
        )
    return {name: uniform[:, i] < rate for i, (name, rate) in enumerate(p_uncond.items())}
