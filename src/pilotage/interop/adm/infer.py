"""Inference of the settings of guided-diffusion's networks from names and shapes of tensors.

Every number is decided by the majority of tensors, so that the check against the network can name
a damaged one.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isqrt, nextafter, prod
from typing import Any

from torch import Tensor

from pilotage.errors import PilotageError
from pilotage.interop.adm.published import Flags, image_size
from pilotage.interop.foreign_weights import check_known
from pilotage.networks.encoder import halved


def is_classifier(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are the tensors of an ``EncoderUNetModel``, which has no decoder."""
    return not any(name.startswith("output_blocks.") for name in tensors)


def infer_config(tensors: Mapping[str, Tensor], **flags: Any) -> dict[str, Any]:
    """Infer the keywords of the ``UNetModel`` or ``EncoderUNetModel`` of these tensors.

    Only names and shapes are used, so tensors may be on the meta device. Keywords without effect
    (how a single level would resample) have guided-diffusion's default.

    Args:
        tensors: a state dict with guided-diffusion's parameter names.
        **flags: what tensors do not determine: ``heads`` or ``head_channels`` (attention heads or
            channels of each; one is needed), ``heads_up`` (heads on the way up, if not ``heads``),
            ``attention_order`` (rows of the qkv: "legacy", [q k v] by head, or "new",
            [q | k | v]), ``dropout`` (no effect on a prediction), ``image_size`` (a side or (H, W);
            only an attention pool depends on it), and ``num_res_blocks`` (blocks per level) where
            the tensors of a classifier do not determine it.

    Raises:
        PilotageError: if a flag is unknown, out of range or at odds with the tensors, if
            ``num_res_blocks`` is needed, or if the tensors are not those of such a network.
    """
    check_known("flags have", sorted(flags), Flags.model_fields)
    given, evidence = Flags(**flags), Evidence(tensors)
    return (_classifier if is_classifier(tensors) else _unet)(evidence, given)


def _unet(evidence: "Evidence", flags: Flags) -> dict[str, Any]:
    classes = evidence.length("label_emb.weight") if evidence.has("label_emb.") else None
    return {
        **_shared(evidence, flags),
        **_levels(evidence, flags),
        "image_size": image_size(flags.image_size),
        "out_channels": evidence.length("out.2.weight", "out.2.bias"),
        "num_classes": classes,
    }


def _classifier(evidence: "Evidence", flags: Flags) -> dict[str, Any]:
    pool = _pool(evidence)
    last = {"attention": "out.2.c_proj", "spatial": "out.2"}.get(pool, "out.3")
    pixels = _pixels(evidence, flags) if pool == "attention" else None
    levels = _levels(evidence, flags, pixels)
    size = image_size(flags.image_size)
    if pixels is not None and size is None:
        size = _square(pixels, len(levels["channel_mult"]))
    return {
        **_shared(evidence, flags),
        **levels,
        "image_size": size,
        "out_channels": evidence.length(f"{last}.weight", f"{last}.bias"),
        "pool": pool,
    }


def _shared(evidence: "Evidence", flags: Flags) -> dict[str, Any]:
    blocks = (block for block in evidence.blocks_down() if block.kind == "block")
    return {
        "in_channels": evidence.length("input_blocks.0.0.weight", axis=1),
        "model_channels": evidence.model_channels(),
        "use_scale_shift_norm": bool(_most(block.scale_shift for block in blocks)),
        "dropout": flags.dropout,
        "num_heads": flags.heads or 1,
        "num_head_channels": flags.head_channels or -1,
        "num_heads_upsample": flags.heads_up or -1,
        "use_new_attention_order": flags.attention_order == "new",
    }


def _pool(evidence: "Evidence") -> str:
    if any(evidence.has(f"out.2.{part}") for part in ("positional", "qkv_proj", "c_proj")):
        return "attention"
    if evidence.has("out.1."):
        return "spatial_v2"
    return "adaptive" if evidence.has("out.3.") else "spatial"


def _pixels(evidence: "Evidence", flags: Flags) -> int:
    """Return the pixels of the lowest level: positions of an attention pool, minus one."""
    if flags.head_channels is None:
        raise PilotageError(
            f"heads is {flags.heads}: head_channels must be given instead for the pool "
            "'attention', as in guided-diffusion."
        )
    return evidence.length("out.2.positional_embedding", axis=1) - 1


def _square(pixels: int, levels: int) -> int:
    side = isqrt(pixels)
    if side**2 != pixels:
        raise PilotageError(
            f"image_size is None: it must be given as (H, W), since the {pixels} positions of the "
            "attention pool are not those of a square."
        )
    return side << levels - 1


# evidence of names and shapes, block by block


@dataclass(frozen=True)
class Block:
    """One of ADM's ``input_blocks`` after the stem.

    Attributes:
        kind: "block" (residual), "op" (a strided convolution) or "none" (no tensors at all).
        width: output channels of a residual block, 0 otherwise.
        attention: whether attention follows.
        scale_shift: whether the time gives it a scale and a shift.
    """

    kind: str
    width: int = 0
    attention: bool = False
    scale_shift: bool = False


class Evidence:
    """Names and shapes of a state dict, by block.

    Args:
        tensors: names to tensors, which may lie on the meta device.
    """

    def __init__(self, tensors: Mapping[str, Tensor]):
        self._shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}

    def length(self, *names: str, axis: int = 0) -> int:
        """Return the length along ``axis`` of most of the tensors present.

        Raises:
            PilotageError: if none of them is there, or has such an axis.
        """
        found = _most(self._lengths(names, axis))
        if not found:
            raise PilotageError(
                f"weights lack {' and '.join(names)}: they must be those of a network of "
                "guided-diffusion."
            )
        return found

    def has(self, prefix: str) -> bool:
        """Whether any tensor's name has this prefix."""
        return any(name.startswith(prefix) for name in self._shapes)

    def blocks_down(self) -> list[Block]:
        """``input_blocks`` after the stem, in order; gaps are blocks without tensors."""
        return [self._block(index) for index in range(1, self._count("input_blocks"))]

    def blocks_up(self) -> int:
        """The number of ``output_blocks``."""
        return self._count("output_blocks")

    def ups(self) -> int:
        """Number of ``output_blocks`` with a residual block after their first layer."""
        return len(self.numbers(r"output_blocks\.(\d+)\.[1-9]\d*\.in_layers\."))

    def model_channels(self) -> int:
        """The base width; raises as `length` does."""
        ends = [f"time_embed.{place}.{end}" for end in _ENDS[::-1] for place in (0, 2)]
        return self.length(*ends) // 4

    def _count(self, head: str) -> int:
        layers = "in_layers|emb_layers|out_layers|op"
        return 1 + max(self.numbers(rf"{head}\.(\d+)\.\d+\.({layers})\."), default=-1)

    def numbers(self, pattern: str) -> set[int]:
        """Return the first groups of a pattern in matching names, as numbers."""
        found = (re.match(pattern, name) for name in self._shapes)
        return {int(match[1]) for match in found if match}

    def _block(self, index: int) -> Block:
        start = f"input_blocks.{index}."
        if self.has(start + "0.op."):
            return Block("op")
        width = _most(self._lengths([start + "0." + name for name in _OUTPUTS], 0))
        if not width:
            return Block("none")
        rows = _most(self._lengths([f"{start}0.emb_layers.1.{end}" for end in _ENDS], 0))
        attention = self.has(start + "1.")
        return Block("block", width, attention=attention, scale_shift=rows == 2 * width)

    def _lengths(self, names: Iterable[str], axis: int) -> list[int]:
        shapes = (self._shapes.get(name, ()) for name in names)
        return [shape[axis] for shape in shapes if len(shape) > axis]


_ENDS = ("weight", "bias")
_OUTPUTS = [
    *(f"in_layers.2.{end}" for end in _ENDS),
    *(f"out_layers.{place}.{end}" for place in (0, 3) for end in _ENDS),
]


def _most(votes: Iterable[int]) -> int:
    """Return the most frequent number, the largest of ties; 0 without any."""
    counts = Counter(votes)
    return max(counts, key=lambda vote: (counts[vote], vote), default=0)


# the levels that the blocks make


def _levels(evidence: Evidence, flags: Flags, pixels: int | None = None) -> dict[str, Any]:
    """Infer the keywords of the encoder's levels.

    A U-Net has one more level than upsampling layers. In a classifier, residual blocks that
    resample have the tensors of any other block, so every number of blocks per level is tried: a
    level has one width, attention in all of its blocks or in none, and ends in a block without
    attention.

    Args:
        evidence: of the tensors.
        flags: what they do not determine; several numbers of blocks may fit.
        pixels: of a classifier's lowest level, if its pool has learned positions.

    Raises:
        PilotageError: unless exactly one number of blocks per level fits.
    """
    blocks, size, ups = evidence.blocks_down(), flags.image_size, evidence.ups()
    layers = sum(block.kind != "block" for block in blocks)  # downsampling layers
    total, unet = len(blocks) + 1, evidence.blocks_up() > 0
    counts = [1 + (ups or layers)] if unet or layers else list(range(1, total))
    if pixels is not None and size is not None:
        counts = [n for n in counts if prod(halved(size, n - 1)) == pixels]
        if not counts:
            raise PilotageError(
                f"image_size is {image_size(size)}: it must have {pixels} pixels when halved to "
                "the lowest level, as many as the attention pool has positions."
            )
    found = [total // n - 1 for n in counts if total % n == 0 and n < total]
    if not unet and not layers:
        found = [per_level for per_level in found if _uniform(blocks, per_level)]
    if not found or evidence.blocks_up() not in (0, total):
        raise PilotageError(
            f"weights have {len(blocks)} input_blocks after the first and {evidence.blocks_up()} "
            "output_blocks: no num_res_blocks fits their number, widths and attention."
        )
    per_level = _chosen(found, flags.num_res_blocks)
    updown = bool(ups) if unet else not layers and len(blocks) > per_level
    kinds = {block.kind for block in blocks} - {"block"}
    return {
        **_widths_and_attention(blocks, per_level, evidence.model_channels()),
        "num_res_blocks": per_level,
        "resblock_updown": updown,
        "conv_resample": updown or kinds != {"none"},
    }


def _uniform(blocks: list[Block], per_level: int) -> bool:
    for start in range(0, len(blocks), per_level + 1):
        level, down = blocks[start : start + per_level], blocks[start + per_level :][:1]
        if len({(block.width, block.attention) for block in level}) > 1:
            return False
        if any(block.attention or block.width != level[0].width for block in down):
            return False
    return True


def _chosen(found: list[int], given: int | None) -> int:
    listed = " or ".join(str(size) for size in sorted(found))
    if given is None and len(found) > 1:
        raise PilotageError(
            f"num_res_blocks is None: it must be given, as {listed}, since all fit the tensors."
        )
    if given is not None and given not in found:
        raise PilotageError(f"num_res_blocks is {given}: it must be {listed} to fit the tensors.")
    return found[0] if given is None else given


def _widths_and_attention(blocks: list[Block], per_level: int, base: int) -> dict[str, Any]:
    starts = range(0, len(blocks), per_level + 1)
    levels = [blocks[start : start + per_level] for start in starts]
    for start, level in zip(starts, levels, strict=True):
        if not any(block.width for block in level):
            raise PilotageError(f"weights lack input_blocks.{start + 1}: it must be there.")
    widths = [_most(block.width for block in level if block.width) for level in levels]
    attended = [_most(block.attention for block in level) for level in levels]
    return {
        "channel_mult": [_mult(width, base) for width in widths],
        "attention_resolutions": [2**level for level, on in enumerate(attended) if on],
    }


def _mult(width: int, base: int) -> float:
    """Return ``width / base`` exactly, as a whole number where possible."""
    if base and width % base == 0:
        return width // base
    ratio = width / base if base else 0.0
    near = (ratio, nextafter(ratio, 0.0), nextafter(ratio, float("inf")))
    return next((mult for mult in near if mult * base == width), ratio)
