"""The initial weights of DDPM's descendants."""

import math
from typing import Literal, TypeVar

from torch import nn

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)
NEARLY_ZERO = 1e-10


def uniform_init(
    layer: Layer, scale: float = 1.0, over: Literal["average", "outputs"] = "average"
) -> Layer:
    """Uniform weights with variance ``scale / fan`` and no bias; the layer itself is returned.

    Args:
        layer: a linear map or convolution.
        scale: 1, or `NEARLY_ZERO` for the last layer of a residual branch.
        over: the fan is the mean of inputs and outputs (DDPM), or the outputs (the style, latent
            and discriminator layers of denoising diffusion GANs).
    """
    outputs, inputs = layer.weight.shape[:2]
    window = layer.weight[0, 0].numel()
    fan = (inputs + outputs) / 2 * window if over == "average" else outputs * window
    bound = math.sqrt(3 * scale / fan)
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
