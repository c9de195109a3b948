"""The settings of a network of guided-diffusion, read off its tensors."""

from collections.abc import Mapping
from math import isqrt, nextafter, prod
from typing import Any

from torch import Tensor

from pilotage.errors import PilotageError
from pilotage.interop.adm.evidence import Evidence, most
from pilotage.interop.adm.flags import Flags, read_flags
from pilotage.interop.adm.levels import Levels, classifier_levels, unet_levels
from pilotage.networks.encoder import halved


def is_classifier(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are the tensors of an ``EncoderUNetModel``: there is no way up."""
    return not any(name.startswith("output_blocks.") for name in tensors)


def infer_config(tensors: Mapping[str, Tensor], **flags: Any) -> dict[str, Any]:
    """Keywords of the ``UNetModel`` or ``EncoderUNetModel`` that these tensors belong to.

    Only names and shapes are read, so tensors may lie on the meta device. What makes no difference
    to the network (how a single level would resample) has guided-diffusion's default.

    Args:
        tensors: a state dict with guided-diffusion's parameter names.
        **flags: what the tensors cannot tell: ``heads`` or ``head_channels`` (one is needed),
            ``heads_up``, ``attention_order`` ("legacy" or "new"), ``dropout``, ``image_size``
            (a side or (H, W)), and ``num_res_blocks`` where a classifier leaves it open.

    Raises:
        PilotageError: if a flag is unknown, out of range or at odds with the tensors, if
            ``num_res_blocks`` is needed, or if the tensors are not those of such a network.
    """
    given, evidence = read_flags(flags), Evidence(tensors)
    if is_classifier(tensors):
        return _classifier(evidence, given)
    return _unet(evidence, given)


def _unet(evidence: Evidence, flags: Flags) -> dict[str, Any]:
    levels = unet_levels(evidence, flags.num_res_blocks)
    classes = evidence.length("label_emb.weight") if evidence.has("label_emb.") else None
    return {
        **_shared(evidence, levels, flags),
        "image_size": flags.image_size,
        "out_channels": evidence.length("out.2.weight", "out.2.bias"),
        "num_classes": classes,
    }


def _classifier(evidence: Evidence, flags: Flags) -> dict[str, Any]:
    pool = _pool(evidence)
    last = {"attention": "out.2.c_proj", "spatial": "out.2"}.get(pool, "out.3")
    if pool != "attention":
        levels = classifier_levels(evidence, flags.num_res_blocks, lambda count: True)
        size = flags.image_size
    else:
        levels, size = _with_positions(evidence, flags)
    return {
        **_shared(evidence, levels, flags),
        "image_size": size,
        "out_channels": evidence.length(f"{last}.weight", f"{last}.bias"),
        "pool": pool,
    }


def _shared(evidence: Evidence, levels: Levels, flags: Flags) -> dict[str, Any]:
    stages = (
        "time_embed.0.bias",
        "time_embed.2.bias",
        "time_embed.0.weight",
        "time_embed.2.weight",
    )
    base = evidence.length(*stages) // 4
    blocks = (block for block in evidence.blocks_down() if block.kind == "block")
    return {
        "in_channels": evidence.length("input_blocks.0.0.weight", axis=1),
        "model_channels": base,
        "channel_mult": [_mult(width, base) for width in levels.widths],
        "num_res_blocks": levels.num_res_blocks,
        "attention_resolutions": [2**level for level, on in enumerate(levels.attended) if on],
        "conv_resample": levels.conv_resample,
        "resblock_updown": levels.resblock_updown,
        "use_scale_shift_norm": bool(most(block.scale_shift for block in blocks)),
        "dropout": flags.dropout,
        "num_heads": flags.heads or 1,
        "num_head_channels": flags.head_channels or -1,
        "num_heads_upsample": flags.heads_up or -1,
        "use_new_attention_order": flags.attention_order == "new",
    }


def _pool(evidence: Evidence) -> str:
    if any(evidence.has(f"out.2.{part}") for part in ("positional", "qkv_proj", "c_proj")):
        return "attention"
    if evidence.has("out.1."):
        return "spatial_v2"
    if evidence.has("out.3."):
        return "adaptive"
    return "spatial"


def _with_positions(evidence: Evidence, flags: Flags) -> tuple[Levels, Any]:
    """The levels and the image size of a classifier with an attention pool."""
    if flags.head_channels is None:
        raise PilotageError(
            f"heads is {flags.heads} but the pool is 'attention': head_channels must be given "
            "instead, as in guided-diffusion."
        )
    pixels = evidence.length("out.2.positional_embedding", axis=1) - 1
    size = flags.size

    def fits(count: int) -> bool:
        return size is None or prod(halved(size, count - 1)) == pixels

    if size is not None and not any(map(fits, range(1, 1 + len(evidence.blocks_down())))):
        raise PilotageError(
            f"image_size is {flags.image_size!r}: it must have {pixels} pixels when halved to the "
            "lowest level, as many as the attention pool has positions."
        )
    levels = classifier_levels(evidence, flags.num_res_blocks, fits)
    return levels, _square(pixels, len(levels.widths)) if size is None else flags.image_size


def _square(pixels: int, levels: int) -> int:
    side = isqrt(pixels)
    if side**2 != pixels:
        raise PilotageError(
            f"image_size is None: it must be given as (H, W), since the {pixels} positions of the "
            "attention pool are not those of a square."
        )
    return side * 2 ** (levels - 1)


def _mult(width: int, base: int) -> float:
    """The number that gives exactly ``width`` channels, times ``base``; whole where it can be."""
    if base and width % base == 0:
        return width // base
    ratio = width / base if base else 0.0
    near = (ratio, nextafter(ratio, 0.0), nextafter(ratio, float("inf")))
    return next((mult for mult in near if mult * base == width), ratio)
