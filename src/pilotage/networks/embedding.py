"""Embeddings of time and class, the conditioning of every block; Fourier features of images."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from pilotage.errors import PilotageError
from pilotage.networks.initial import uniform_init


def timestep_embedding(time: Tensor, dim: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Sinusoidal features of the time, [cos | sin], of Dhariwal & Nichol (2105.05233).

    The frequencies e^{−ln(10⁴) i / half} are float32 whatever the result is: published networks
    were trained with its rounding.

    Args:
        time: (B,) times, whole or fractional, on the scale that the network was trained with.
        dim: number of features; an odd number gets a last feature of 0.
        dtype: type of the result; below float32, the angles are still taken in float32.

    Returns:
        (B, dim) features.
    """
    half = dim // 2
    angle = _angles(time, torch.exp(-math.log(10_000) * _index(half, time) / half), dtype)
    return pad(torch.cat([angle.cos(), angle.sin()], dim=-1), (0, dim % 2)).to(dtype)


def sin_cos_features(time: Tensor, dim: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Sinusoidal features of the time, [sin | cos], of DDPM and NCSN++ (2011.13456).

    Their frequencies are e^{−ln(10⁴) i / (half − 1)}, where `timestep_embedding` divides by half;
    arguments and result are otherwise as there, but that ``dim`` is at least 4.
    """
    half = dim // 2
    table = torch.exp(_index(half, time) * -(math.log(10_000) / (half - 1)))
    angle = _angles(time, table, dtype)
    return pad(torch.cat([angle.sin(), angle.cos()], dim=-1), (0, dim % 2)).to(dtype)


def _index(count: int, like: Tensor) -> Tensor:
    return torch.arange(count, dtype=torch.float32, device=like.device)


def _angles(time: Tensor, frequencies: Tensor, dtype: torch.dtype) -> Tensor:
    return time.to(torch.promote_types(dtype, torch.float32))[:, None] * frequencies


class TimeEmbedding(nn.Module):
    """The time embedding of ADM's networks, and their table of labels.

    Args:
        channels: features of the time; the result has ``width = 4 * channels``.
        labels: rows of the table, or None without one.
    """

    def __init__(self, channels: int, labels: int | None = None):
        super().__init__()
        self.channels, self.width = channels, 4 * channels
        self.time = nn.Sequential(
            nn.Linear(channels, self.width), nn.SiLU(), nn.Linear(self.width, self.width)
        )
        self.label = None if labels is None else nn.Embedding(labels, self.width)

    def embedded(self, time: Tensor) -> Tensor:
        """Times (B,) as (B, width), before the activation."""
        dtype = next(self.time.parameters()).dtype
        emb: Tensor = self.time(timestep_embedding(time, self.channels, dtype))
        return emb


class TimeClassEmbedding(TimeEmbedding):
    """Time and class in one vector, passed through SiLU, for every block's projection.

    With ``null_class``, label ``num_classes`` means "no class", and so does ``cond=None``.

    Args:
        channels: features of the time; the result has ``width = 4 * channels``.
        num_classes: number of classes, or None for an unconditional network.
        null_class: whether there is one more label, the null label.
    """

    def __init__(self, channels: int, num_classes: int | None = None, null_class: bool = False):
        super().__init__(channels, None if num_classes is None else num_classes + null_class)
        self.null = num_classes if null_class else None

    def forward(self, time: Tensor, cond: Tensor | None = None) -> Tensor:
        """Embed ``time`` (B,) and ``cond`` (B,) int64 or None as (B, width).

        Raises:
            PilotageError: if ``cond`` is missing where a class is needed, given where there are no
                classes, or if a shape is wrong.
        """
        self._check(time, cond)
        emb = self.embedded(time)
        if self.label is not None:
            emb = emb + (self.label.weight[self.null] if cond is None else self.label(cond))
        return silu(emb)

    def _check(self, time: Tensor, cond: Tensor | None) -> None:
        if time.ndim != 1:
            raise PilotageError(f"time has shape {tuple(time.shape)}: it must be (B,).")
        if cond is None:
            if self.label is not None and self.null is None:
                raise PilotageError(
                    "cond is None but the network is class-conditional and has no null label: "
                    "it must be (B,) labels."
                )
        elif self.label is None:
            raise _not_supported()
        elif cond.shape != time.shape:
            raise PilotageError(
                f"cond has shape {tuple(cond.shape)}: it must be {tuple(time.shape)}, as time is."
            )


class TimeTextEmbedding(TimeEmbedding):
    """Time and pooled text in one vector, passed through SiLU (GLIDE, 2112.10741).

    Args:
        channels: features of the time; the result has ``width = 4 * channels``.
    """

    def __init__(self, channels: int):
        super().__init__(channels)

    def forward(self, time: Tensor, pooled: Tensor) -> Tensor:
        """``time`` (B,) and a pooled text (B, width) to (B, width)."""
        return silu(self.embedded(time) + pooled)


class FourierFeatures(nn.Module):
    """Fourier features [sin | cos] of 2π w log(time), fixed w ~ N(0, scale²) (2006.10739).

    The time must be above 0: published networks with these features give NaN at time 0.
    """

    def __init__(self, channels: int, scale: float):
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(channels) * scale, requires_grad=False)

    def forward(self, time: Tensor) -> Tensor:
        """(B,) to (B, 2 · channels)."""
        angle = time.to(self.frequencies).log()[:, None] * self.frequencies * (2 * math.pi)
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class DDGANEmbedding(nn.Module):
    """Time and class embedding of the networks of denoising diffusion GANs (2112.07804).

    One vector, passed through the activation, for every block's projection.

    Args:
        channels: features of the time, at least `LEAST_FEATURES`.
        width: of the vector.
        num_classes: number of classes, or None.
        fourier_scale: of `FourierFeatures`, or None for sinusoidal features.
        activation: between the two linear maps and at the end.
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
        self.channels, self.activation = channels, activation
        self.fourier = None if fourier_scale is None else FourierFeatures(channels, fourier_scale)
        features = channels if self.fourier is None else 2 * channels
        self.first = uniform_init(nn.Linear(features, width))
        self.second = uniform_init(nn.Linear(width, width))
        self.label = None if num_classes is None else nn.Embedding(num_classes, width)

    def forward(self, time: Tensor, cond: Tensor | None = None) -> Tensor:
        """Embed ``time`` (B,) and the classes ``cond`` (B,) as (B, width).

        Raises:
            PilotageError: if ``cond`` is missing or not supported.
        """
        check_classes(time, cond, self.label is not None)
        if self.fourier is None:
            features = sin_cos_features(time, self.channels, self.first.weight.dtype)
        else:
            features = self.fourier(time)
        vector = self.second(self.activation(self.first(features)))
        return self.activation(vector if self.label is None else vector + self.label(cond))


LEAST_FEATURES = 4  # the frequencies of `sin_cos_features` need two sines


def check_time_features(name: str, count: int) -> None:
    """Raise a `PilotageError` if the time has too few features for a `DDGANEmbedding`."""
    if count < LEAST_FEATURES:
        raise PilotageError(
            f"{name} is {count}: it must be at least {LEAST_FEATURES}, for features of the time."
        )


def check_classes(time: Tensor, cond: Tensor | None, conditional: bool) -> None:
    """Raise a `PilotageError` unless classes are given exactly for conditional networks."""
    if not conditional and cond is not None:
        raise _not_supported()
    if conditional and (cond is None or cond.shape != time.shape):
        given = "None" if cond is None else f"of shape {tuple(cond.shape)}"
        raise PilotageError(
            f"cond is {given} but the network is class-conditional: it must be "
            f"{tuple(time.shape)} labels, as many as there are times."
        )


def _not_supported() -> PilotageError:
    return PilotageError(
        "cond is given but the network was built with num_classes=None: it must be None."
    )


# --- Fourier features of the images ---------------------------------------------------------------


def fourier_features(x: Tensor, first: int, last: int) -> Tensor:
    """Return sin and cos of 2π 2ⁿ x for n = first..last (2107.00630, appendix C).

    The paper writes 2ⁿ π: its n_min = 7 and n_max = 8 are 6 and 7 here. Angles are at least
    float32. 2ⁿ x modulo 1 is exact, so that high frequencies lose no precision.

    Args:
        x: (B, C, *size).
        first: the lowest n.
        last: the highest n.

    Returns:
        (B, 2 C (last − first + 1), *size) in the dtype of x: all sines, then all cosines; in each,
        the n of the first channel, then those of the next.
    """
    powers = [2.0**n for n in range(first, last + 1)]
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    turns = torch.stack([wide * power for power in powers], dim=2).flatten(1, 2)
    angle = 2 * math.pi * (turns - turns.round())
    return torch.cat([angle.sin(), angle.cos()], dim=1).to(x.dtype)


def with_fourier(x: Tensor, fourier: Sequence[int] | None) -> Tensor:
    """Append Fourier features of n = fourier[0]..fourier[1] to x; return x alone if None."""
    return x if fourier is None else torch.cat([x, fourier_features(x, *fourier)], dim=1)


def input_channels(channels: int, fourier: Sequence[int] | None) -> int:
    """Channels of :func:`with_fourier`."""
    return channels if fourier is None else channels * (1 + 2 * (fourier[1] - fourier[0] + 1))


def check_fourier(fourier: Any) -> None:
    """Raise a `PilotageError` unless this is None or two non-decreasing whole numbers."""
    if fourier is None:
        return
    pair = isinstance(fourier, list | tuple) and len(fourier) == 2
    if not pair or not all(type(n) is int for n in fourier) or fourier[0] > fourier[1]:
        raise PilotageError(
            f"fourier is {fourier!r}: it must be None or two whole numbers, the second at least "
            "the first."
        )
