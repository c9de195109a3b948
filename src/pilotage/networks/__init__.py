"""Networks: from a noisy batch and its noise conditioning to a prediction, or to class logits.

A network is built from its plan: one object that holds, documents and validates its settings.
"""

from pilotage.networks.encoder import EncoderPlan, UNetEncoder
from pilotage.networks.mlp import MLP, MLPPlan
from pilotage.networks.unet import UNet, UNetPlan

__all__ = ["MLP", "EncoderPlan", "MLPPlan", "UNet", "UNetEncoder", "UNetPlan"]
