"""Generator and discriminator for points in the plane and other short vectors (2112.07804)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from pilotage.errors import PilotageError
from pilotage.networks.checks import positive_int
from pilotage.networks.embedding import Conditioning
from pilotage.networks.fourier import check_fourier, input_channels, with_fourier
from pilotage.networks.latent_unet import check_latent

_TIME_FEATURES = 32
_SLOPE = 0.2


class VectorGenerator(nn.Module):
    """Multi-layer perceptron G(z_t, time, latent) -> x, on Fourier features of z_t.

    A step back to separated modes is a staircase of z_t: the features make it a steep one.

    Args:
        dim: length D of the vectors.
        hidden: width of the layers.
        layers: number of layers between the first and the last.
        latent_dim: length N of the latent.
        num_classes: number of classes, or None.
        fourier: lowest and highest n of the features sin and cos of 2π 2ⁿ z_t, or None; the
            highest sets the finest detail, 1/2ⁿ, and should not go far below the data's.

    Attributes:
        settings: the arguments that rebuild the network, as JSON types.

    Raises:
        PilotageError: if a setting is out of range.
    """

    def __init__(
        self,
        dim: int,
        hidden: int = 128,
        layers: int = 3,
        latent_dim: int = 2,
        num_classes: int | None = None,
        fourier: Sequence[int] | None = (0, 4),
    ):
        super().__init__()
        self.settings = _settings(dim, hidden, layers, num_classes, fourier)
        self.settings["latent_dim"] = self.latent_dim = positive_int("latent_dim", latent_dim)
        self.condition = Conditioning(_TIME_FEATURES, num_classes)
        inputs = input_channels(dim, fourier) + latent_dim
        self.body = _Body(inputs, hidden, layers, dim, self.condition.width)

    def forward(
        self, z: Tensor, time: Tensor, latent: Tensor, cond: Tensor | None = None
    ) -> Tensor:
        """(B, D) noisy vectors, (B,) times, (B, N) latents and (B,) classes or None to (B, D).

        Raises:
            PilotageError: if a shape is wrong, or ``cond`` is missing or given in vain.
        """
        _check_vectors("z", z, time, self.settings["dim"])
        check_latent(latent, len(z), self.latent_dim)
        features = with_fourier(z, self.settings["fourier"])
        return self.body(torch.cat([features, latent], dim=1), self.condition(time, cond))


class VectorDiscriminator(nn.Module):
    """Multi-layer perceptron D(x_s, time, z_t) -> logit, on Fourier features of x_s.

    Args:
        dim: length D of the vectors.
        hidden: width of the layers.
        layers: number of layers between the first and the last.
        num_classes: number of classes, or None.
        fourier: lowest and highest n of the features of x_s, as for `VectorGenerator`.

    Attributes:
        settings: the arguments that rebuild the network, as JSON types.

    Raises:
        PilotageError: if a setting is out of range.
    """

    def __init__(
        self,
        dim: int,
        hidden: int = 128,
        layers: int = 3,
        num_classes: int | None = None,
        fourier: Sequence[int] | None = (0, 3),
    ):
        super().__init__()
        self.settings = _settings(dim, hidden, layers, num_classes, fourier)
        self.condition = Conditioning(_TIME_FEATURES, num_classes)
        inputs = input_channels(dim, fourier) + dim
        self.body = _Body(inputs, hidden, layers, 1, self.condition.width)

    def forward(self, x: Tensor, time: Tensor, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """Two (B, D) vectors, the less noisy first, and (B,) times and classes or None to (B,).

        Raises:
            PilotageError: if a shape is wrong, or ``cond`` is missing or given in vain.
        """
        for name, vector in (("x", x), ("z", z)):
            _check_vectors(name, vector, time, self.settings["dim"])
        features = with_fourier(x, self.settings["fourier"])
        pair = torch.cat([features, z], dim=1)
        return self.body(pair, self.condition(time, cond)).squeeze(1)


class _Body(nn.Module):
    """Linear maps with leaky ReLU between them; the time and class shift the first one's result."""

    def __init__(self, inputs: int, hidden: int, layers: int, outputs: int, width: int):
        super().__init__()
        self.stem = nn.Linear(inputs, hidden)
        self.emb = nn.Linear(width, hidden)
        self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers))
        self.out = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """(B, inputs) to (B, outputs)."""
        h = self.stem(x) + self.emb(emb)
        for layer in (*self.layers, self.out):
            h = layer(leaky_relu(h, _SLOPE))
        return h


def _settings(
    dim: int, hidden: int, layers: int, num_classes: int | None, fourier: Sequence[int] | None
) -> dict[str, Any]:
    check_fourier(fourier)
    return {
        "dim": positive_int("dim", dim),
        "hidden": positive_int("hidden", hidden),
        "layers": positive_int("layers", layers),
        "num_classes": num_classes,
        "fourier": None if fourier is None else list(fourier),
    }


def _check_vectors(name: str, vector: Tensor, time: Tensor, dim: int) -> None:
    if vector.ndim != 2 or vector.shape[1] != dim or vector.shape[:1] != time.shape:
        raise PilotageError(
            f"{name} has shape {tuple(vector.shape)} and time {tuple(time.shape)}: they must be "
            f"(B, {dim}) and (B,)."
        )
