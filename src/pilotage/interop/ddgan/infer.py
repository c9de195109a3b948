"""Depth, widths and places of attention of a published generator, read off its tensors."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pilotage.errors import PilotageError
from pilotage.interop.ddgan.networks import needed, stem_number


def infer_levels(tensors: Mapping[str, Tensor], resampling_blocks: bool) -> dict[str, Any]:
    """Arguments of the published script that these tensors tell.

    Only names and shapes are read, so tensors may lie on the meta device.

    Args:
        tensors: a state dict of the published generator, without ``module.`` in front.
        resampling_blocks: whether residual blocks change the size between levels, as all do but
            those of DDPM.

    Returns:
        ``ch_mult``, ``num_res_blocks`` and ``attn_resolutions``, with the ``image_size`` that these
        are counted from: a network attends at levels, whatever size its images have.

    Raises:
        PilotageError: if the tensors are not those of such a network.
    """
    layers, stem = _layers(tensors), stem_number(tensors)
    depth, levels = _depth(tensors, layers, stem, resampling_blocks)
    blocks = [number for number, is_block in sorted(layers.items()) if is_block]
    first = [blocks[level * (depth + resampling_blocks)] for level in range(levels)]
    base = needed(tensors, f"all_modules.{stem}.weight", 4).shape[0]
    widths = [needed(tensors, f"all_modules.{k}.Conv_0.weight", 4).shape[0] for k in first]
    size = 2 ** (levels - 1)
    attended = [level for level, k in enumerate(first) if layers.get(k + 1) is False]
    return {
        "ch_mult": [width // base for width in widths],
        "num_res_blocks": depth,
        "image_size": size,
        "attn_resolutions": [size >> level for level in attended],
    }


def _layers(tensors: Mapping[str, Tensor]) -> dict[int, bool]:
    """Numbers of the residual blocks (True) and of the attention layers (False)."""
    found = {}
    for name in tensors:
        match = re.fullmatch(r"all_modules\.(\d+)\.(GroupNorm_0\.style|NIN_3)\..+", name)
        if match:
            found[int(match[1])] = match[2] != "NIN_3"
    return found


def _depth(
    tensors: Mapping[str, Tensor], layers: Mapping[int, bool], stem: int, resampling_blocks: bool
) -> tuple[int, int]:
    """Residual blocks per level, and how many levels there are."""
    depth, number, count = 0, stem + 1, sum(layers.values())
    while number in layers and not _resamples(tensors, number):
        depth += layers[number]
        number += 1
    if depth == count:  # a single level, whose way up follows the middle at once
        depth = (count - 3) // 2
    more = 2 * resampling_blocks
    levels = (count - 2 + more) // (2 * depth + 1 + more)
    if min(depth, levels) < 1 or levels * (2 * depth + 1 + more) != count - 2 + more:
        raise PilotageError(
            f"weights have {count} residual blocks, {depth} before the size first changes: they "
            "must be those of a published generator, with the block that is given."
        )
    return depth, levels


def _resamples(tensors: Mapping[str, Tensor], number: int) -> bool:
    """Whether a residual block has a skip convolution though its width does not change."""
    if f"all_modules.{number}.Conv_2.weight" not in tensors:
        return False
    shape = needed(tensors, f"all_modules.{number}.Conv_0.weight", 4).shape
    return shape[0] == shape[1]
