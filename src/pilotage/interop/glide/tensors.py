"""Import and export of tensors of GLIDE's networks (Nichol et al., 2112.10741).

The published base model has a cosine schedule of 1000 timesteps, the up-sampler a linear one:

    schedule = Timesteps("cosine", 1000)
    network = load_text_unet(path, **PUBLISHED_FLAGS)
    denoise = NetworkDenoiser(network, "eps", network_time(schedule))
"""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from pilotage.errors import PilotageError
from pilotage.interop.adm.tensors import pairs
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
from pilotage.interop.glide.infer import text_unet_settings
from pilotage.networks.blocks import Attention
from pilotage.networks.text_unet import TextUNet, TextUNetPlan


def load_text_unet(weights: Weights, **flags: Any) -> TextUNet:
    """Build the `TextUNet` equivalent to GLIDE's network with these weights.

    Which of the four networks it is (base, up-sampler, either of them for inpainting) is inferred
    from the channels of the first layer.

    Args:
        weights: as for `load_unet` of guided-diffusion, with GLIDE's parameter names.
        **flags: what tensors do not determine: ``text_heads`` (needed), ``heads`` or
            ``head_channels`` (one is needed), ``heads_up``, ``dropout``, ``num_res_blocks``, and
            ``in_channels``, the channels of an image, where it is not half of the output's.

    Returns:
        The network as `load_unet` returns it.

    Raises:
        PilotageError: as for `load_unet`.
    """
    tensors = read_weights(weights)
    settings = text_unet_settings(tensors, **flags)
    return loaded(lambda: TextUNet(TextUNetPlan(**settings)), tensors, text_unet_pairs)


def export_text_unet(network: TextUNet) -> dict[str, Tensor]:
    """Copy the weights under GLIDE's parameter names and in its layout.

    Raises:
        PilotageError: if the network has a frozen text encoder.
    """
    if network.plan.encoder_width is not None:
        raise PilotageError("network has a frozen text encoder: it must have tokens, as GLIDE's.")
    return exported(network, text_unet_pairs(network))


def text_unet_pairs(network: TextUNet) -> Iterator[Pair]:
    """Iterate over every parameter of ``network``, which may be on the meta device."""
    yield from pairs(network, new_attention_order=False)
    yield from _image_attention(network)
    text = network.text
    yield from module_pairs(text.token, "text.token", "token_embedding")
    by_text_head = by_head(network.plan.text_heads, 3)
    for index, block in enumerate(text.blocks):
        for inner, other in _TEXT_BLOCK.items():
            yield from module_pairs(
                block.get_submodule(inner),
                f"text.blocks.{index}.{inner}",
                f"transformer.resblocks.{index}.{other}",
                by_text_head if inner == "qkv" else SAME,
            )
    yield from module_pairs(text.norm, "text.norm", "final_ln")
    yield from module_pairs(text.proj, "text.proj", "transformer_proj")
    yield Pair("text.position", "positional_embedding")
    if text.padding is not None:
        yield Pair("text.padding", "padding_embedding")


_TEXT_BLOCK = {
    "norm_in": "ln_1",
    "qkv": "attn.c_qkv",
    "proj": "attn.c_proj",
    "norm_out": "ln_2",
    "hidden": "mlp.c_fc",
    "out": "mlp.c_proj",
}


def _image_attention(network: TextUNet) -> Iterator[Pair]:
    """Iterate over the text projections of image attention, to [k v] by head."""
    for pair in pairs(network, new_attention_order=False):
        ours, _, name = pair.ours.rpartition(".qkv.")
        layer = network.get_submodule(ours)
        if ours and isinstance(layer, Attention):
            yield Pair(
                f"{ours}.text_kv.{name}",
                pair.theirs.replace(".qkv.", ".encoder_kv."),
                *by_head(layer.heads, 2, POINTWISE),
            )
