"""Networks of GLIDE (Nichol et al., 2112.10741), read and written.

The published base model has a cosine schedule of 1000 timesteps, the up-sampler a linear one:

    schedule = Timesteps("cosine", 1000)
    network = load_text_unet(path, **PUBLISHED_FLAGS)
    denoise = NetworkDenoiser(network, "eps", network_time(schedule))
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pilotage.errors import PilotageError
from pilotage.interop.adm.config import unet_settings
from pilotage.interop.adm.evidence import Evidence
from pilotage.interop.adm.infer import infer_config, is_classifier
from pilotage.interop.adm.names import Pair, pairs
from pilotage.interop.filling import filled
from pilotage.interop.foreign_weights import Weights, read_weights
from pilotage.networks.attention import Attention
from pilotage.networks.checks import positive_int
from pilotage.networks.text_unet import TextUNet, TextUNetPlan

# what the tensors of the four published networks cannot tell
PUBLISHED_FLAGS = {"head_channels": 64, "text_heads": 8, "dropout": 0.1}

_UNET_FLAGS = ("heads", "head_channels", "heads_up", "dropout", "num_res_blocks")
_TEXT_FLAGS = ("text_heads", "in_channels")
_TEXT = (
    *("transformer.", "transformer_proj.", "token_embedding.", "final_ln."),
    *("positional_embedding", "padding_embedding"),
)


def load_text_unet(weights: Weights, **flags: Any) -> TextUNet:
    """Build the `TextUNet` that computes what GLIDE's network does with these weights.

    Which of the four networks it is (base, up-sampler, either of them for in-painting) the channels
    of the first layer tell.

    Args:
        weights: a ``.safetensors`` file, a ``.pt`` or ``.pth`` file (only tensors are unpickled),
            or a state dict, with GLIDE's parameter names.
        **flags: what the tensors cannot tell: ``text_heads`` (needed), ``heads`` or
            ``head_channels`` (one is needed), ``heads_up``, ``dropout``, ``num_res_blocks``, and
            ``in_channels``, the channels of an image, where it is not half of the output's.

    Returns:
        The network in evaluation mode, with tensors of its own, on the device and in the type of
        the given ones (the widest type, where they are mixed).

    Raises:
        PilotageError: if the file cannot be read, a flag is unknown or out of range, or tensors
            are missing, left over or of another shape.
    """
    tensors = read_weights(weights)
    settings = text_unet_settings(tensors, **flags)
    with torch.device("meta"):
        network = TextUNet(TextUNetPlan(**settings))
    return filled(network, tensors, list(text_unet_pairs(network)))


def export_text_unet(network: TextUNet) -> dict[str, Tensor]:
    """Copy the weights under GLIDE's parameter names and in its layout.

    Raises:
        PilotageError: if the network reads the features of a frozen encoder.
    """
    if network.plan.encoder_width is not None:
        raise PilotageError("network reads a frozen encoder's features: GLIDE's reads tokens.")
    own = network.state_dict()
    return {
        pair.adm: pair.export(own[pair.ours]).clone(memory_format=torch.contiguous_format)
        for pair in text_unet_pairs(network)
    }


def text_unet_settings(tensors: Mapping[str, Tensor], **flags: Any) -> dict[str, Any]:
    """Settings of the `TextUNet` that these tensors belong to; only names and shapes are read.

    Raises:
        PilotageError: if a flag is unknown, missing, out of range or at odds with the tensors, or
            the tensors are not those of such a network.
    """
    allowed = (*_UNET_FLAGS, *_TEXT_FLAGS)
    unknown = sorted(flags.keys() - set(allowed))
    if unknown:
        raise PilotageError(f"flags have {', '.join(unknown)}: allowed are {', '.join(allowed)}.")
    if flags.get("text_heads") is None:
        raise PilotageError("text_heads is None: it must be given, the tensors do not tell it.")
    if not any(name.startswith(_TEXT) for name in tensors) or is_classifier(tensors):
        raise PilotageError(
            "weights have no text transformer or no output_blocks: they must be those of a GLIDE "
            "network (load_unet and load_classifier read networks without text)."
        )
    image = {name: tensor for name, tensor in tensors.items() if not name.startswith(_TEXT)}
    config = infer_config(image, **{n: v for n, v in flags.items() if n in _UNET_FLAGS})
    settings = unet_settings({**config, "num_classes": None})
    del settings["num_classes"]
    seen, made = config["in_channels"], config["out_channels"]
    return {
        **settings,
        **_text_settings(tensors),
        **_image_settings(seen, made, flags.get("in_channels")),
        "text_heads": flags["text_heads"],
    }


def _text_settings(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    evidence = Evidence(tensors)
    positions = ("positional_embedding", "padding_embedding")
    for names in (("token_embedding.weight",), positions):
        if not any(name in tensors for name in names):
            raise PilotageError(f"weights lack {' and '.join(names)}, which a GLIDE network has.")
    found = (re.match(r"transformer\.resblocks\.(\d+)\.", name) for name in tensors)
    return {
        "vocabulary": evidence.length("token_embedding.weight"),
        "context": evidence.length(*positions),
        "text_width": evidence.length(*positions, "token_embedding.weight", axis=1),
        "text_layers": 1 + max((int(match[1]) for match in found if match), default=0),
        "final_norm": evidence.has("final_ln."),
        "padding": evidence.has("padding_embedding"),
    }


def _image_settings(seen: int, made: int, channels: int | None) -> dict[str, Any]:
    """Which images are beside x, from the channels that the first and last layer have.

    The output is an image's with a learned variance if that can be, or an image's alone.
    """
    if channels is not None:
        positive_int("in_channels", channels)
    halves = [made // 2] if made % 2 == 0 else []
    tried = [*halves, made] if channels is None else [channels]
    for count in tried:
        layouts = {
            count: (False, False),
            2 * count: (True, False),
            2 * count + 1: (False, True),
            3 * count + 1: (True, True),
        }
        if seen in layouts:
            low_res, inpaint = layouts[seen]
            return {
                "in_channels": count,
                "out_channels": None if made in (count, 2 * count) else made,
                "learned_variance": made == 2 * count,
                "low_res": low_res,
                "inpaint": inpaint,
            }
    raise PilotageError(
        f"weights have {seen} input channels and {made} output channels: for images of "
        f"{' or '.join(map(str, tried))} channels (in_channels), the input must have C, 2C, 2C + 1 "
        "or 3C + 1."
    )


def text_unet_pairs(network: TextUNet) -> Iterator[Pair]:
    """Every parameter of ``network``, which may lie on the meta device, under both names."""
    shared = list(pairs(network, new_attention_order=False))
    yield from shared
    for pair in shared:
        ours, _, name = pair.ours.rpartition(".qkv.")
        if ours:
            layer, adm = network.get_submodule(ours), pair.adm.rpartition(".qkv.")[0]
            yield _text_kv(f"{ours}.text_kv.{name}", f"{adm}.encoder_kv.{name}", layer)
    for ours, theirs, module in _text_modules(network):
        for name, _ in module.named_parameters(recurse=False):
            heads = network.plan.text_heads if theirs.endswith("c_qkv") else 1
            yield Pair(
                f"{ours}.{name}",
                f"{theirs}.{name}",
                partial(_by_part, heads=heads, parts=3) if heads > 1 else _same,
                partial(_by_head, heads=heads, parts=3) if heads > 1 else _same,
            )
    yield Pair("text.position", "positional_embedding", _same, _same)
    if network.text.padding is not None:
        yield Pair("text.padding", "padding_embedding", _same, _same)


_BLOCK = {
    "norm_in": "ln_1",
    "qkv": "attn.c_qkv",
    "proj": "attn.c_proj",
    "norm_out": "ln_2",
    "hidden": "mlp.c_fc",
    "out": "mlp.c_proj",
}


def _text_modules(network: TextUNet) -> Iterator[tuple[str, str, torch.nn.Module]]:
    text = network.text
    yield "text.token", "token_embedding", text.token
    for index, block in enumerate(text.blocks):
        for ours, theirs in _BLOCK.items():
            name = f"transformer.resblocks.{index}.{theirs}"
            yield f"text.blocks.{index}.{ours}", name, block.get_submodule(ours)
    yield "text.norm", "final_ln", text.norm
    yield "text.proj", "transformer_proj", text.proj


def _text_kv(ours: str, theirs: str, layer: Attention) -> Pair:
    """GLIDE projects the text by a 1x1 convolution, whose rows are [k v] by head."""

    def load(tensor: Tensor) -> Tensor:
        return _by_part(tensor.squeeze(-1) if tensor.ndim == 3 else tensor, layer.heads, 2)

    def export(tensor: Tensor) -> Tensor:
        rows = _by_head(tensor, layer.heads, 2)
        return rows.unsqueeze(-1) if rows.ndim == 2 else rows

    return Pair(ours, theirs, load, export)


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _by_part(tensor: Tensor, heads: int, parts: int) -> Tensor:
    """Rows by (head, part, channel) to rows by (part, head, channel)."""
    return tensor.unflatten(0, (heads, parts, -1)).transpose(0, 1).flatten(0, 2)


def _by_head(tensor: Tensor, heads: int, parts: int) -> Tensor:
    """Rows by (part, head, channel) to rows by (head, part, channel)."""
    return tensor.unflatten(0, (parts, heads, -1)).transpose(0, 1).flatten(0, 2)
