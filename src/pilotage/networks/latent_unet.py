"""The latent of a stochastic generator: its mapping, and the ADM U-Net that listens to one."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from pilotage.errors import PilotageError
from pilotage.networks.checks import positive_int
from pilotage.networks.initial import uniform_init
from pilotage.networks.unet import UNet


def pixel_norm(latent: Tensor) -> Tensor:
    """A latent (B, N) at a mean square of 1 (1710.10196, section 4.2)."""
    return latent / (latent.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()


class LatentMapping(nn.Module):
    """Pixel norm, then linear maps, each followed by SiLU (2112.07804, appendix C).

    Args:
        latent_dim: length N of the latent.
        width: of the result and of the hidden layers.
        hidden: how many linear maps follow the first.

    Raises:
        PilotageError: if a setting is below 1 (``hidden``: below 0).
    """

    def __init__(self, latent_dim: int, width: int, hidden: int = 3):
        super().__init__()
        widths = [positive_int("latent_dim", latent_dim), positive_int("latent_width", width)]
        if hidden != 0:
            positive_int("latent_layers", hidden)
        widths += [width] * hidden
        pairs = pairwise(widths)
        self.layers = nn.ModuleList(uniform_init(nn.Linear(*p), over="outputs") for p in pairs)

    def forward(self, latent: Tensor) -> Tensor:
        """(B, N) to (B, width)."""
        h = pixel_norm(latent)
        for layer in self.layers:
            h = silu(layer(h))
        return h


def check_latent(latent: Tensor, count: int, dim: int) -> None:
    """Raise a `PilotageError` unless the latent is (count, dim)."""
    if latent.shape != (count, dim):
        raise PilotageError(
            f"latent has shape {tuple(latent.shape)}: it must be ({count}, {dim}), one row per "
            "example."
        )


class LatentUNet(nn.Module):
    """The ADM U-Net as a stochastic generator: the mapped latent is added to its time and class.

    Args:
        unet_settings: the arguments of `UNet`.
        latent_dim: length N of the latent.
        latent_layers: linear maps after the first.
        tanh: end in tanh, for an x in [−1, 1]; False for a network that predicts ε.

    Attributes:
        settings: the arguments that rebuild the network, as JSON types.
        null: the null label of the U-Net, or None.

    Raises:
        PilotageError: if a setting is out of range, or the U-Net learns a variance.
    """

    def __init__(
        self,
        unet_settings: Mapping[str, Any],
        latent_dim: int = 100,
        latent_layers: int = 3,
        tanh: bool = True,
    ):
        super().__init__()
        if unet_settings.get("learned_variance"):
            raise PilotageError(
                "learned_variance is True: it must be False for a network with a latent, which "
                "draws x instead of describing it."
            )
        self.unet = UNet(**unet_settings)
        self.null, self.tanh, self.latent_dim = self.unet.null, tanh, latent_dim
        width = self.unet.condition.width
        mapping = LatentMapping(latent_dim, width, latent_layers)
        self.unet.condition = LatentConditioning(self.unet.condition, mapping, latent_dim)
        self.settings: dict[str, Any] = {
            "unet_settings": self.unet.settings,
            "latent_dim": latent_dim,
            "latent_layers": latent_layers,
            "tanh": tanh,
        }

    def forward(
        self, z: Tensor, time: Tensor, latent: Tensor, cond: Tensor | None = None
    ) -> Tensor:
        """Draw a clean image.

        Args:
            z: (B, C, H, W) noisy images.
            time: (B,) times.
            latent: (B, N), usually N(0, I).
            cond: (B,) int64 classes, or None, as for `UNet`.

        Returns:
            (B, C, H, W).

        Raises:
            PilotageError: if a shape is wrong, or ``cond`` is missing or given in vain.
        """
        check_latent(latent, len(z), self.latent_dim)
        output = self.unet(z, time, packed(cond, latent))
        return output.tanh() if self.tanh else output


def packed(cond: Tensor | None, latent: Tensor) -> Tensor:
    """Classes and latent in one condition (B, 1 + N), or (B, N) without classes."""
    if cond is None:
        return latent
    if cond.shape != latent.shape[:1]:
        raise PilotageError(
            f"cond has shape {tuple(cond.shape)}: it must be ({len(latent)},), as the batch."
        )
    wide = latent.to(torch.promote_types(latent.dtype, torch.float32))  # exact up to 2²⁴ classes
    return torch.cat([cond[:, None].to(wide), wide], dim=1)


class LatentConditioning(nn.Module):
    """The `Conditioning` of a network, with a latent that comes `packed` in its condition."""

    def __init__(self, inner: nn.Module, mapping: LatentMapping, latent_dim: int):
        super().__init__()
        self.inner, self.mapping = inner, mapping
        self.latent_dim, self.width = latent_dim, inner.width

    def forward(self, time: Tensor, cond: Tensor) -> Tensor:
        """(B,) and a packed condition to (B, width)."""
        label, latent = cond[:, : -self.latent_dim], cond[:, -self.latent_dim :]
        given = label[:, 0].long() if label.shape[1] else None
        weight = self.mapping.layers[0].weight
        return self.inner(time, given) + self.mapping(latent.to(weight.dtype))
