"""Tensors of guided-diffusion's networks (ADM, Dhariwal & Nichol, 2105.05233), in and out."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from pilotage.errors import PilotageError
from pilotage.interop.adm.infer import infer_config, is_classifier
from pilotage.interop.adm.published import classifier_settings, unet_settings
from pilotage.interop.foreign_weights import (
    POINTWISE,
    SAME,
    Pair,
    Weights,
    by_head,
    exported,
    loaded,
    module_pairs,
    read_weights,
)
from pilotage.networks import EncoderPlan, UNet, UNetEncoder, UNetPlan
from pilotage.networks.blocks import Attention, Downsample, ResBlock, Upsample
from pilotage.networks.unet import UNetLayers


def load_unet(weights: Weights, *, config: Mapping[str, Any] | None = None, **flags: Any) -> UNet:
    """Build the `UNet` equivalent to guided-diffusion's network with these weights.

    Args:
        weights: a ``.safetensors`` file, a ``.pt`` or ``.pth`` file (only tensors are unpickled),
            or a state dict, with guided-diffusion's parameter names.
        config: keywords of guided-diffusion's ``UNetModel``; absent ones have that code's defaults.
            If None, they are inferred by `infer_config`.
        **flags: what tensors do not determine, as for `infer_config`: ``heads`` or
            ``head_channels`` is needed. They are for ``config=None`` only.

    Returns:
        The network in evaluation mode, with copied tensors, on the device and in the dtype of the
        given ones (the widest dtype, where they are mixed).

    Raises:
        PilotageError: if the file cannot be read, a keyword or flag is unknown or out of range, or
            tensors are missing, left over or of another shape.
    """
    tensors = read_weights(weights)
    config = _config(tensors, config, flags, classifier=False)
    settings, order = unet_settings(config), _new_order(config)
    return loaded(lambda: UNet(UNetPlan(**settings)), tensors, lambda unet: pairs(unet, order))


def load_classifier(
    weights: Weights, *, config: Mapping[str, Any] | None = None, **flags: Any
) -> UNetEncoder:
    """Build the `UNetEncoder` equivalent to guided-diffusion's classifier.

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
    settings, order = classifier_settings(config), _new_order(config)
    return loaded(
        lambda: UNetEncoder(EncoderPlan(**settings)), tensors, lambda unet: pairs(unet, order)
    )


def export_unet(unet: UNet, *, new_attention_order: bool = False) -> dict[str, Tensor]:
    """Copy the weights of ``unet`` under guided-diffusion's parameter names and in its layout.

    Args:
        unet: the network; `export_config` gives the ``UNetModel`` keywords that fit.
        new_attention_order: write ADM's newer order of the attention's qkv rows, not its default.
    """
    return exported(unet, pairs(unet, new_attention_order))


def export_classifier(
    encoder: UNetEncoder, *, new_attention_order: bool = False
) -> dict[str, Tensor]:
    """Copy the weights of ``encoder`` as `export_unet` does those of a U-Net.

    Args:
        encoder: the network; `export_config` gives the ``EncoderUNetModel`` keywords that fit.
        new_attention_order: as for `export_unet`.
    """
    return exported(encoder, pairs(encoder, new_attention_order))


def _config(
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any] | None,
    flags: Mapping[str, Any],
    classifier: bool,
) -> Mapping[str, Any]:
    """Return the given config, or infer it from the tensors."""
    if config is not None:
        if flags:
            raise PilotageError(
                f"{', '.join(flags)} given together with config: they must be left out, since the "
                "config has its own keywords for them."
            )
        return config
    if is_classifier(tensors) != classifier:
        what, reader = (
            ("output_blocks", "load_unet")
            if classifier
            else ("no output_blocks", "load_classifier")
        )
        raise PilotageError(f"weights have {what}: they must be read by {reader}.")
    return infer_config(tensors, **flags)


def _new_order(config: Mapping[str, Any]) -> bool:
    return bool(config.get("use_new_attention_order", False))


# the one table between our parameters and guided-diffusion's


def pairs(network: UNetLayers | UNetEncoder, new_attention_order: bool) -> Iterator[Pair]:
    """Iterate over every parameter of ``network``, which may be on the meta device.

    Args:
        network: any `UNet` or `UNetEncoder`; only its structure is read.
        new_attention_order: rows of ADM's qkv are [all q | all k | all v], as ours are; otherwise
            they are [q k v] of the first head, then of the second, and so on. The qkv of an
            attention pool always has the former order.
    """
    for ours, theirs in _modules(network):
        owner = network.get_submodule(ours.rpartition(".")[0])
        layout = POINTWISE if theirs.endswith(_POINTWISE) else SAME
        if theirs.endswith(".qkv") and isinstance(owner, Attention) and not new_attention_order:
            layout = by_head(owner.heads, 3, POINTWISE)
        yield from module_pairs(network.get_submodule(ours), ours, theirs, layout)


def _modules(network: UNetLayers | UNetEncoder) -> Iterator[tuple[str, str]]:
    """Iterate over the names, ours and ADM's, of the modules with parameters."""
    yield "condition.time.0", "time_embed.0"
    yield "condition.time.2", "time_embed.2"
    if network.condition.label is not None:
        yield "condition.label", "label_emb"
    yield "stem", "input_blocks.0.0"
    for index, stage in enumerate(network.encoder):
        yield from _stage(stage, f"encoder.{index}", f"input_blocks.{index + 1}")
    yield from _stage(network.middle, "middle", "middle_block")
    if isinstance(network, UNetEncoder):
        yield from _POOLS[network.settings["pool"]].items()
        return
    for index, stage in enumerate(network.decoder):
        yield from _stage(stage, f"decoder.{index}", f"output_blocks.{index}")
    yield "norm", "out.0"
    yield "out", "out.2"


_POOLS = {
    "attention": {
        "pool.norm": "out.0",
        "pool": "out.2",
        "pool.qkv": "out.2.qkv_proj",
        "pool.proj": "out.2.c_proj",
    },
    "spatial": {"pool.hidden": "out.0", "pool.out": "out.2"},
    "spatial_v2": {"pool.hidden": "out.0", "pool.norm": "out.1", "pool.out": "out.3"},
    "adaptive": {"pool.norm": "out.0", "pool.out": "out.3"},
}

_POINTWISE = (".qkv", ".proj_out", ".qkv_proj", ".c_proj")

_INSIDE: dict[type[nn.Module], dict[str, str]] = {
    ResBlock: {
        "norm_in": "in_layers.0",
        "conv_in": "in_layers.2",
        "emb": "emb_layers.1",
        "norm_out": "out_layers.0",
        "conv_out": "out_layers.3",
        "skip": "skip_connection",
    },
    Attention: {"norm": "norm", "qkv": "qkv", "proj": "proj_out"},
    Downsample: {"conv": "op"},
    Upsample: {"conv": "conv"},
}


def _stage(stage: nn.Module, ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    for index, (name, layer) in enumerate(stage.named_children()):
        present = dict(layer.named_children())
        for inner, other in _INSIDE[type(layer)].items():
            if inner in present:
                yield f"{ours}.{name}.{inner}", f"{theirs}.{index}.{other}"
