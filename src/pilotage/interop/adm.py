"""U-Nets of guided-diffusion (ADM, Dhariwal & Nichol, 2105.05233): read and written."""

from collections.abc import Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from pilotage.errors import PilotageError
from pilotage.interop.adm_config import export_config, unet_settings
from pilotage.interop.adm_names import Pair, pairs
from pilotage.interop.weights import Weights, listing, read_weights
from pilotage.networks import UNet

__all__ = ["export_config", "export_unet", "load_unet", "unet_settings"]


def load_unet(weights: Weights, *, config: Mapping[str, Any]) -> UNet:
    """Build the `UNet` that computes what guided-diffusion's network does with these weights.

    Args:
        weights: a ``.safetensors`` file, a ``.pt`` or ``.pth`` file (only tensors are unpickled),
            or a state dict, with guided-diffusion's parameter names.
        config: keywords of guided-diffusion's ``UNetModel``; absent ones have that code's defaults.

    Returns:
        The network in evaluation mode, with tensors of its own, on the device and in the type of
        the given ones (the widest type, where they are mixed).

    Raises:
        PilotageError: if the file cannot be read, a keyword is unknown or out of range, or tensors
            are missing, left over or of another shape.
    """
    with torch.device("meta"):
        unet = UNet(**unet_settings(config))
    table = list(pairs(unet, bool(config.get("use_new_attention_order", False))))
    tensors = read_weights(weights)
    _check(tensors, unet, table)
    device = next(iter(tensors.values())).device
    unet = unet.to(_widest(tensors)).to_empty(device=device)
    unet.load_state_dict({pair.ours: pair.load(tensors[pair.adm]) for pair in table})
    return unet.eval()


def export_unet(unet: UNet, *, new_attention_order: bool = False) -> dict[str, Tensor]:
    """Copy the weights of ``unet`` under guided-diffusion's parameter names and in its layout.

    Args:
        unet: the network; `export_config` gives the ``UNetModel`` keywords that fit.
        new_attention_order: write ADM's newer order of the attention's qkv rows, not its default.
    """
    own = unet.state_dict()
    return {
        pair.adm: pair.export(own[pair.ours]).clone(memory_format=torch.contiguous_format)
        for pair in pairs(unet, new_attention_order)
    }


def _check(tensors: Mapping[str, Tensor], unet: UNet, table: list[Pair]) -> None:
    parameters = dict(unet.named_parameters())
    shapes = {pair.adm: tuple(pair.export(parameters[pair.ours]).shape) for pair in table}
    missing = [name for name in shapes if name not in tensors]
    extra = [name for name in tensors if name not in shapes]
    misshaped = [
        f"{name} ({tuple(tensors[name].shape)}, not {shape})"
        for name, shape in shapes.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    whole = [name for name in shapes if name in tensors and not tensors[name].is_floating_point()]
    found = (
        ("missing", missing),
        ("left over", extra),
        ("of another shape", misshaped),
        ("not of a floating type", whole),
    )
    wrong = [f"{what}: {listing(names)}" for what, names in found if names]
    if wrong:
        raise PilotageError(f"weights do not fit the config; {'; '.join(wrong)}.")


def _widest(tensors: Mapping[str, Tensor]) -> torch.dtype:
    return reduce(torch.promote_types, (tensor.dtype for tensor in tensors.values()))
