"""Networks of guided-diffusion (ADM, Dhariwal & Nichol, 2105.05233): read and written."""

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from pilotage.errors import PilotageError
from pilotage.interop.adm.config import classifier_settings, export_config, unet_settings
from pilotage.interop.adm.infer import infer_config, is_classifier
from pilotage.interop.adm.names import pairs
from pilotage.interop.filling import filled
from pilotage.interop.foreign_weights import Weights, read_weights
from pilotage.networks import EncoderPlan, UNet, UNetEncoder, UNetPlan

__all__ = [
    "classifier_settings",
    "export_classifier",
    "export_config",
    "export_unet",
    "infer_config",
    "load_classifier",
    "load_unet",
    "unet_settings",
]

Network = TypeVar("Network", UNet, UNetEncoder)


def load_unet(weights: Weights, *, config: Mapping[str, Any] | None = None, **flags: Any) -> UNet:
    """Build the `UNet` that computes what guided-diffusion's network does with these weights.

    Args:
        weights: a ``.safetensors`` file, a ``.pt`` or ``.pth`` file (only tensors are unpickled),
            or a state dict, with guided-diffusion's parameter names.
        config: keywords of guided-diffusion's ``UNetModel``; absent ones have that code's defaults.
            If None, the tensors tell it, by `infer_config`.
        **flags: what the tensors cannot tell, as for `infer_config`: ``heads`` or ``head_channels``
            is needed. They are for ``config=None`` only.

    Returns:
        The network in evaluation mode, with tensors of its own, on the device and in the type of
        the given ones (the widest type, where they are mixed).

    Raises:
        PilotageError: if the file cannot be read, a keyword or flag is unknown or out of range, or
            tensors are missing, left over or of another shape.
    """
    tensors = read_weights(weights)
    config = _config(tensors, config, flags, classifier=False)
    with torch.device("meta"):
        unet = UNet(UNetPlan(**unet_settings(config)))
    return _filled(unet, tensors, config)


def load_classifier(
    weights: Weights, *, config: Mapping[str, Any] | None = None, **flags: Any
) -> UNetEncoder:
    """Build the `UNetEncoder` that computes what guided-diffusion's classifier does.

    Args:
        weights: as for `load_unet`.
        config: keywords of guided-diffusion's ``EncoderUNetModel``, otherwise as for `load_unet`.
        **flags: as for `load_unet`; an attention pool needs ``head_channels``.

    Returns:
        The network as `load_unet` returns it.

    Raises:
        PilotageError: as for `load_unet`.
    """
    tensors = read_weights(weights)
    config = _config(tensors, config, flags, classifier=True)
    with torch.device("meta"):
        encoder = UNetEncoder(EncoderPlan(**classifier_settings(config)))
    return _filled(encoder, tensors, config)


def export_unet(unet: UNet, *, new_attention_order: bool = False) -> dict[str, Tensor]:
    """Copy the weights of ``unet`` under guided-diffusion's parameter names and in its layout.

    Args:
        unet: the network; `export_config` gives the ``UNetModel`` keywords that fit.
        new_attention_order: write ADM's newer order of the attention's qkv rows, not its default.
    """
    return _export(unet, new_attention_order)


def export_classifier(
    encoder: UNetEncoder, *, new_attention_order: bool = False
) -> dict[str, Tensor]:
    """Copy the weights of ``encoder`` as `export_unet` does those of a U-Net.

    Args:
        encoder: the network; `export_config` gives the ``EncoderUNetModel`` keywords that fit.
        new_attention_order: as for `export_unet`.
    """
    return _export(encoder, new_attention_order)


def _config(
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any] | None,
    flags: Mapping[str, Any],
    classifier: bool,
) -> Mapping[str, Any]:
    """The config given, or the one that the tensors tell."""
    if config is not None:
        if flags:
            raise PilotageError(
                f"{', '.join(flags)} given together with config: they are allowed with config=None "
                "only, since a config has keywords of its own for them."
            )
        return config
    if is_classifier(tensors) != classifier:
        found = (
            ("no output_blocks", "load_classifier")
            if not classifier
            else ("output_blocks", "load_unet")
        )
        raise PilotageError(f"weights have {found[0]}: they must be read by {found[1]}.")
    return infer_config(tensors, **flags)


def _filled(network: Network, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> Network:
    """The network, until now on the meta device, with the weights that ``config`` describes."""
    table = list(pairs(network, bool(config.get("use_new_attention_order", False))))
    return filled(network, tensors, table)


def _export(network: UNet | UNetEncoder, new_attention_order: bool) -> dict[str, Tensor]:
    own = network.state_dict()
    return {
        pair.adm: pair.export(own[pair.ours]).clone(memory_format=torch.contiguous_format)
        for pair in pairs(network, new_attention_order)
    }
