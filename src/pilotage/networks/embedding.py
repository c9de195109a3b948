"""What every block is told besides its input: the time and the class, as one vector."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from pilotage.errors import PilotageError
from pilotage.networks.checks import class_settings


def timestep_embedding(time: Tensor, dim: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Sinusoidal features of the time, [cos | sin], of Dhariwal & Nichol (2105.05233).

    The frequencies e^{−ln(10⁴) i / half} are float32 whatever the result is: published networks
    were trained with that table, and its rounding is part of them.

    Args:
        time: (B,) times, whole or fractional, on the scale that the network was trained with.
        dim: number of features; an odd number gets a last feature of 0.
        dtype: type of the result; below float32, the angles are still taken in float32.

    Returns:
        (B, dim) features.
    """
    half = dim // 2
    index = torch.arange(half, dtype=torch.float32, device=time.device)
    table = torch.exp(-math.log(10_000) * index / half)
    angle = time.to(torch.promote_types(dtype, torch.float32))[:, None] * table
    features = torch.cat([angle.cos(), angle.sin()], dim=-1)
    return pad(features, (0, dim % 2)).to(dtype)


class Conditioning(nn.Module):
    """Time and class in one vector, passed through SiLU, ready for every block's own projection.

    With ``null_class``, label ``num_classes`` means "no class", and so does ``cond=None``.

    Args:
        channels: features of the time; the result has ``width = 4 * channels``.
        num_classes: number of classes, or None for an unconditional network.
        null_class: whether there is one more label, the null label.
    """

    def __init__(self, channels: int, num_classes: int | None = None, null_class: bool = False):
        super().__init__()
        class_settings(num_classes, null_class)
        self.channels, self.width = channels, 4 * channels
        self.null = num_classes if null_class else None
        self.time = nn.Sequential(
            nn.Linear(channels, self.width), nn.SiLU(), nn.Linear(self.width, self.width)
        )
        rows = None if num_classes is None else num_classes + null_class
        self.label = None if rows is None else nn.Embedding(rows, self.width)

    def forward(self, time: Tensor, cond: Tensor | None = None) -> Tensor:
        """Embed ``time`` (B,) and ``cond`` (B,) int64 or None as (B, width).

        Raises:
            PilotageError: if ``cond`` is missing where a class is needed, given where there are no
                classes, or if a shape is wrong.
        """
        _check(time, cond, self.label is not None, self.null)
        emb = self.time(timestep_embedding(time, self.channels, self.time[0].weight.dtype))
        if self.label is not None:
            emb = emb + (self.label.weight[self.null] if cond is None else self.label(cond))
        return silu(emb)


def _check(time: Tensor, cond: Tensor | None, conditional: bool, null: int | None) -> None:
    if time.ndim != 1:
        raise PilotageError(f"time has shape {tuple(time.shape)}: it must be (B,).")
    if cond is None:
        if conditional and null is None:
            raise PilotageError(
                "cond is None but the network is class-conditional and has no null label: "
                "it must be (B,) labels."
            )
    elif not conditional:
        raise PilotageError(
            "cond is given but the network was built with num_classes=None: it must be None."
        )
    elif cond.shape != time.shape:
        raise PilotageError(
            f"cond has shape {tuple(cond.shape)}: it must be {tuple(time.shape)}, as time is."
        )
