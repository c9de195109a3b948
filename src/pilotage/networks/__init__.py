"""Networks: each maps a noisy batch and its times to a prediction, or to logits of its classes.

A network is made of its plan: one object that holds its settings, documents and checks them.
"""

from pilotage.networks.encoder import EncoderPlan, UNetEncoder
from pilotage.networks.mlp import MLP, MLPPlan
from pilotage.networks.unet import UNet, UNetPlan

__all__ = ["MLP", "EncoderPlan", "MLPPlan", "UNet", "UNetEncoder", "UNetPlan"]
