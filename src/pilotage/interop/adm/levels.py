"""The levels of a network of guided-diffusion, found in its blocks."""

from collections.abc import Callable
from dataclasses import dataclass

from pilotage.errors import PilotageError
from pilotage.interop.adm.evidence import Block, Evidence, most


@dataclass(frozen=True)
class Levels:
    """How the blocks on the way down are laid out.

    Attributes:
        widths: channels of each level, from the full size down.
        attended: whether each level has attention.
        num_res_blocks: residual blocks per level.
        resblock_updown: residual blocks resample; False where there is but one level.
        conv_resample: layers that resample have a convolution; True where none do.
    """

    widths: list[int]
    attended: list[bool]
    num_res_blocks: int
    resblock_updown: bool
    conv_resample: bool


def unet_levels(evidence: Evidence, num_res_blocks: int | None) -> Levels:
    """The levels of a U-Net: one more than the layers that double the size on its way up.

    Raises:
        PilotageError: if the blocks do not divide into levels, or into others than
            ``num_res_blocks`` asks for.
    """
    blocks, total = evidence.blocks_down(), evidence.blocks_up()
    ups = evidence.ups("in_layers")
    count = 1 + (ups or _layers_down(blocks))
    per_level = total // count - 1
    if total % count or per_level < 1 or len(blocks) != total - 1:
        raise PilotageError(
            f"weights have {len(blocks)} input_blocks after the first, {total} output_blocks and "
            f"{count} levels: no num_res_blocks fits them."
        )
    _chosen([per_level], num_res_blocks)
    return _levels(blocks, per_level, bool(ups))


def classifier_levels(
    evidence: Evidence, num_res_blocks: int | None, fits: Callable[[int], bool]
) -> Levels:
    """The levels of a classifier.

    Residual blocks that resample have the tensors of any other block, so every number of blocks per
    level is tried: a level has one width, attention in all of its blocks or in none, and ends in a
    block without attention.

    Args:
        evidence: what the tensors say.
        num_res_blocks: the blocks per level, or None; it may leave one of several layouts.
        fits: whether a number of levels goes with the size of the images, as far as it is known.

    Raises:
        PilotageError: unless exactly one number of blocks per level fits.
    """
    blocks = evidence.blocks_down()
    layers = _layers_down(blocks)
    allowed = [1 + layers] if layers else range(1, len(blocks) + 1)
    counts = [n for n in allowed if (len(blocks) + 1) % n == 0]
    sizes = [(len(blocks) + 1) // n - 1 for n in counts if fits(n)]
    found = [size for size in sizes if size and (layers or _uniform(blocks, size))]
    if not found:
        raise PilotageError(
            f"weights have {len(blocks)} input_blocks after the first: no num_res_blocks fits "
            "their number, widths and attention."
        )
    per_level = _chosen(found, num_res_blocks)
    return _levels(blocks, per_level, not layers and len(blocks) > per_level)


def _layers_down(blocks: list[Block]) -> int:
    """How many blocks only halve the size, with a convolution or without any tensors."""
    return sum(block.kind != "block" for block in blocks)


def _chosen(found: list[int], asked: int | None) -> int:
    listed = " or ".join(str(size) for size in sorted(found))
    if asked is None and len(found) > 1:
        raise PilotageError(
            f"num_res_blocks is None: it must be given, as {listed}, since the tensors fit each."
        )
    if asked is not None and asked not in found:
        raise PilotageError(f"num_res_blocks is {asked}: it must be {listed} to fit the tensors.")
    return found[0] if asked is None else asked


def _uniform(blocks: list[Block], per_level: int) -> bool:
    for start in range(0, len(blocks), per_level + 1):
        level, down = blocks[start : start + per_level], blocks[start + per_level :][:1]
        if len({(block.width, block.attention) for block in level}) > 1:
            return False
        if any(block.attention or block.width != level[0].width for block in down):
            return False
    return True


def _levels(blocks: list[Block], per_level: int, resblock_updown: bool) -> Levels:
    starts = range(0, len(blocks), per_level + 1)
    levels = [blocks[start : start + per_level] for start in starts]
    for start, level in zip(starts, levels, strict=True):
        if not any(block.width for block in level):
            raise PilotageError(f"weights lack input_blocks.{start + 1}: it must be there.")
    layers = {block.kind for block in blocks} - {"block"}
    return Levels(
        widths=[most(block.width for block in level if block.width) for level in levels],
        attended=[bool(most(block.attention for block in level)) for level in levels],
        num_res_blocks=per_level,
        resblock_updown=resblock_updown,
        conv_resample=resblock_updown or layers != {"none"},
    )
