"""The one table between our parameters of ADM's networks and guided-diffusion's."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from pilotage.networks import UNet, UNetEncoder
from pilotage.networks.attention import Attention
from pilotage.networks.blocks import Downsample, ResBlock, Upsample


class Pair(NamedTuple):
    """One parameter under both names, and its tensor's way from the one layout to the other."""

    ours: str
    adm: str
    load: Callable[[Tensor], Tensor]
    export: Callable[[Tensor], Tensor]


def pairs(network: UNet | UNetEncoder, new_attention_order: bool) -> Iterator[Pair]:
    """Every parameter of ``network``, which may lie on the meta device.

    Args:
        network: any `UNet` or `UNetEncoder`; only its structure is read.
        new_attention_order: rows of ADM's qkv are [all q | all k | all v], as ours are; otherwise
            they are [q k v] of the first head, then of the second, and so on. The qkv of an
            attention pool always has the former order.
    """
    for ours, adm in _modules(network):
        module = network.get_submodule(ours)
        load, export = _same, _same
        if adm.endswith(_ROWS_OF_PIXELS):
            load, export = _to_linear, _to_conv
        if adm.endswith(".qkv") and not new_attention_order:
            heads = network.get_submodule(ours.removesuffix(".qkv")).heads
            load, export = partial(_from_heads, heads=heads), partial(_to_heads, heads=heads)
        for name, _ in module.named_parameters(recurse=False):
            yield Pair(f"{ours}.{name}", f"{adm}.{name}", load, export)


def _modules(network: UNet | UNetEncoder) -> Iterator[tuple[str, str]]:
    """Names, ours and ADM's, of the modules that hold the parameters."""
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

# ADM projects these with 1x1 convolutions over a row of pixels, and we with linear maps
_ROWS_OF_PIXELS = (".qkv", ".proj_out", ".qkv_proj", ".c_proj")

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


def _stage(stage: nn.Module, ours: str, adm: str) -> Iterator[tuple[str, str]]:
    for index, (name, layer) in enumerate(stage.named_children()):
        present = dict(layer.named_children())
        for inner, theirs in _INSIDE[type(layer)].items():
            if inner in present:
                yield f"{ours}.{name}.{inner}", f"{adm}.{index}.{theirs}"


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _to_linear(tensor: Tensor) -> Tensor:
    return tensor.squeeze(-1) if tensor.ndim == 3 else tensor


def _to_conv(tensor: Tensor) -> Tensor:
    return tensor.unsqueeze(-1) if tensor.ndim == 2 else tensor


def _from_heads(tensor: Tensor, heads: int) -> Tensor:
    """Rows by (head, q/k/v, channel) to rows by (q/k/v, head, channel)."""
    return _to_linear(tensor).unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2)


def _to_heads(tensor: Tensor, heads: int) -> Tensor:
    """Rows by (q/k/v, head, channel) to rows by (head, q/k/v, channel)."""
    return _to_conv(tensor.unflatten(0, (3, heads, -1)).transpose(0, 1).flatten(0, 2))
