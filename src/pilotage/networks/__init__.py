"""Networks: each maps a noisy batch and its times to a prediction, or to logits of its classes."""

from pilotage.networks.encoder import UNetEncoder
from pilotage.networks.mlp import MLP
from pilotage.networks.unet import UNet

__all__ = ["MLP", "UNet", "UNetEncoder"]
