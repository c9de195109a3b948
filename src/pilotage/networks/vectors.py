"""Generator and discriminator for points in the plane and other short vectors (2112.07804)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from pilotage.errors import PilotageError
from pilotage.networks.checks import positive_int
from pilotage.networks.embedding import Conditioning
from pilotage.networks.latent import LatentMapping, check_latent
from pilotage.networks.mlp import ResidualLayer


class VectorGenerator(nn.Module):
    """Residual multi-layer perceptron G(z_t, time, latent) -> x.

    Args:
        dim: length D of the vectors.
        hidden: width of the layers.
        layers: number of residual layers.
        latent_dim: length N of the latent.
        num_classes: number of classes, or None.

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
        latent_dim: int = 16,
        num_classes: int | None = None,
    ):
        super().__init__()
        self.settings = _settings(dim, hidden, layers, num_classes) | {"latent_dim": latent_dim}
        self.condition = Conditioning(hidden, num_classes)
        self.latent_dim = latent_dim
        self.mapping = LatentMapping(latent_dim, self.condition.width, hidden=1)
        self.body = _Body(dim, hidden, layers, dim, self.condition.width)

    def forward(
        self, z: Tensor, time: Tensor, latent: Tensor, cond: Tensor | None = None
    ) -> Tensor:
        """(B, D) noisy vectors, (B,) times, (B, N) latents and (B,) classes or None to (B, D).

        Raises:
            PilotageError: if a shape is wrong, or ``cond`` is missing or given in vain.
        """
        _check_vectors("z", z, time, self.settings["dim"])
        check_latent(latent, len(z), self.latent_dim)
        return self.body(z, self.condition(time, cond) + self.mapping(latent))


class VectorDiscriminator(nn.Module):
    """Residual multi-layer perceptron D(x_s, time, z_t) -> logit.

    Args:
        dim: length D of the vectors.
        hidden: width of the layers.
        layers: number of residual layers.
        num_classes: number of classes, or None.

    Attributes:
        settings: the arguments that rebuild the network, as JSON types.

    Raises:
        PilotageError: if a setting is out of range.
    """

    def __init__(
        self, dim: int, hidden: int = 128, layers: int = 3, num_classes: int | None = None
    ):
        super().__init__()
        self.settings = _settings(dim, hidden, layers, num_classes)
        self.condition = Conditioning(hidden, num_classes)
        self.body = _Body(2 * dim, hidden, layers, 1, self.condition.width)

    def forward(self, x: Tensor, time: Tensor, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """Two (B, D) vectors, the less noisy first, and (B,) times and classes or None to (B,).

        Raises:
            PilotageError: if a shape is wrong, or ``cond`` is missing or given in vain.
        """
        for name, vector in (("x", x), ("z", z)):
            _check_vectors(name, vector, time, self.settings["dim"])
        return self.body(torch.cat([x, z], dim=1), self.condition(time, cond)).squeeze(1)


class _Body(nn.Module):
    """Residual layers between two linear maps."""

    def __init__(self, inputs: int, hidden: int, layers: int, outputs: int, width: int):
        super().__init__()
        self.stem = nn.Linear(inputs, hidden)
        self.layers = nn.ModuleList(ResidualLayer(hidden, width) for _ in range(layers))
        self.out = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """(B, inputs) to (B, outputs)."""
        h = self.stem(x)
        for layer in self.layers:
            h = layer(h, emb)
        return self.out(silu(h))


def _settings(dim: int, hidden: int, layers: int, num_classes: int | None) -> dict[str, Any]:
    return {
        "dim": positive_int("dim", dim),
        "hidden": positive_int("hidden", hidden),
        "layers": positive_int("layers", layers),
        "num_classes": num_classes,
    }


def _check_vectors(name: str, vector: Tensor, time: Tensor, dim: int) -> None:
    if vector.ndim != 2 or vector.shape[1] != dim or vector.shape[:1] != time.shape:
        raise PilotageError(
            f"{name} has shape {tuple(vector.shape)} and time {tuple(time.shape)}: they must be "
            f"(B, {dim}) and (B,)."
        )
