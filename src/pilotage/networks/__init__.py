"""Networks: each maps a noisy batch, its times and its classes to a prediction."""

from pilotage.networks.mlp import MLP
from pilotage.networks.unet import UNet

__all__ = ["MLP", "UNet"]
