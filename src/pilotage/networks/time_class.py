"""The time and class vector of the networks of denoising diffusion GANs (2112.07804)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from pilotage.errors import PilotageError
from pilotage.networks.checks import class_settings
from pilotage.networks.initial import uniform_init


def sin_cos_features(time: Tensor, dim: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Sinusoidal features of the time, [sin | cos], frequencies e^{−ln(10⁴) i / (half − 1)}.

    The frequencies are float32 whatever the result is: published networks were trained with that
    table. ADM's features, :func:`~pilotage.networks.embedding.timestep_embedding`, are [cos | sin]
    and divide by half.

    Args:
        time: (B,) times.
        dim: number of features, at least 4; an odd number gets a last feature of 0.
        dtype: of the result; below float32, the angles are still taken in float32.

    Returns:
        (B, dim) features.
    """
    half = dim // 2
    index = torch.arange(half, dtype=torch.float32, device=time.device)
    table = torch.exp(index * -(math.log(10_000) / (half - 1)))
    angle = time.to(torch.promote_types(dtype, torch.float32))[:, None] * table
    features = torch.cat([angle.sin(), angle.cos()], dim=-1)
    return pad(features, (0, dim % 2)).to(dtype)


class FourierFeatures(nn.Module):
    """[sin | cos] of 2π w log(time), with fixed random w ~ N(0, scale²) (2006.10739).

    The time must be above 0: published networks with these features give NaN at time 0.
    """

    def __init__(self, channels: int, scale: float):
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(channels) * scale, requires_grad=False)

    def forward(self, time: Tensor) -> Tensor:
        """(B,) to (B, 2 · channels)."""
        angle = time.to(self.frequencies).log()[:, None] * self.frequencies * (2 * math.pi)
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class TimeAndClass(nn.Module):
    """Time and class in one vector, passed through the activation, ready for the blocks.

    Args:
        channels: features of the time.
        width: of the vector.
        num_classes: number of classes, or None.
        fourier_scale: of `FourierFeatures`, or None for sinusoidal features.
        activation: between the two linear maps and at the end.

    Raises:
        PilotageError: if channels is below 4, or num_classes below 1.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        num_classes: int | None = None,
        fourier_scale: float | None = None,
        activation: Callable[[Tensor], Tensor] = silu,
    ):
        super().__init__()
        if channels < 4:
            raise PilotageError(f"the time has {channels} features: it must have at least 4.")
        class_settings(num_classes, null_class=False)
        self.channels, self.activation = channels, activation
        fourier = fourier_scale is not None
        self.fourier = FourierFeatures(channels, fourier_scale) if fourier else None
        self.first = uniform_init(nn.Linear(2 * channels if fourier else channels, width))
        self.second = uniform_init(nn.Linear(width, width))
        self.label = None if num_classes is None else nn.Embedding(num_classes, width)

    def forward(self, time: Tensor, cond: Tensor | None = None) -> Tensor:
        """Embed ``time`` (B,) and the classes ``cond`` (B,) as (B, width).

        Raises:
            PilotageError: if ``cond`` is missing where a class is needed, or given in vain.
        """
        check_classes(time, cond, self.label is not None)
        if self.fourier is None:
            features = sin_cos_features(time, self.channels, self.first.weight.dtype)
        else:
            features = self.fourier(time)
        vector = self.second(self.activation(self.first(features)))
        return self.activation(vector if self.label is None else vector + self.label(cond))


def check_classes(time: Tensor, cond: Tensor | None, conditional: bool) -> None:
    """Raise a `PilotageError` unless the classes are given where, and only where, they belong."""
    if not conditional and cond is not None:
        raise PilotageError(
            "cond is given but the network was built with num_classes=None: it must be None."
        )
    if conditional and (cond is None or cond.shape != time.shape):
        given = "None" if cond is None else f"of shape {tuple(cond.shape)}"
        raise PilotageError(
            f"cond is {given} but the network is class-conditional: it must be "
            f"{tuple(time.shape)} labels, as many as there are times."
        )
