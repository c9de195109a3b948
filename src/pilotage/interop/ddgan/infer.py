"""Inference of the settings of denoising diffusion GANs from their tensors."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pilotage.errors import PilotageError
from pilotage.interop.ddgan.published import (
    BLOCKS,
    DISCRIMINATOR,
    GENERATOR,
    KEYWORDS,
    READ_OFF,
    TRAINING,
)
from pilotage.interop.foreign_weights import check_known


def generator_settings(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `NCSNpp` for published tensors and the script's arguments.

    Raises:
        PilotageError: if an argument is unknown or missing, or tensors needed for
            inference are absent.
    """
    _check_keywords(config, GENERATOR)
    if config.get("ch_mult") is None:
        raise PilotageError("ch_mult is None: it must be a sequence of whole numbers.")
    own = {**_read_off(tensors), **{name: config[name] for name in READ_OFF & config.keys()}}
    found = "fourier" if "all_modules.0.W" in tensors else "positional"
    features = str(config.get("embedding_type", found)).lower()
    kind = str(config.get("resblock_type", "biggan")).lower()
    for name, value, allowed in (
        ("embedding_type", features, ("positional", "fourier")),
        ("resblock_type", kind, tuple(BLOCKS)),
    ):
        if value not in allowed:
            raise PilotageError(f"{name} is {value!r}: it must be one of {', '.join(allowed)}.")
    kinds = {"positional": "sinusoidal", "fourier": "fourier"}
    return {
        **{ours: config.get(name, default) for name, (ours, default) in KEYWORDS.items()},
        "in_channels": own["num_channels"],
        "channels": own["num_channels_dae"],
        "channel_mult": list(config["ch_mult"]),
        "attention_resolutions": _rates(config),
        "latent_dim": own["nz"],
        "latent_width": own["z_emb_dim"],
        "latent_layers": own["n_mlp"],
        "block": BLOCKS[kind],
        "time_features": kinds[features] if own["conditional"] else "none",
        "tanh": not config.get("not_use_tanh", False),
    }


def _read_off(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    mapping = [name for name in tensors if re.fullmatch(r"z_transform\.\d+\.weight", name)]
    first = _needed(tensors, "z_transform.1.weight", 2)
    number = _stem_number(tensors)
    stem = tensors[f"all_modules.{number}.weight"]
    return {
        "nz": first.shape[1],
        "z_emb_dim": first.shape[0],
        "n_mlp": len(mapping) - 1,
        "num_channels_dae": stem.shape[0],
        "num_channels": stem.shape[1],
        "conditional": number >= 2,
    }


def discriminator_settings(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], size: str | None
) -> dict[str, Any]:
    """Return the arguments of `Discriminator` for published tensors and keywords.

    Raises:
        PilotageError: as `generator_settings` does.
    """
    _check_keywords(config, DISCRIMINATOR | GENERATOR)
    if size is None:
        size = "large" if any(name.startswith("conv5.") for name in tensors) else "small"
    stem = _needed(tensors, "start_conv.weight", 4)
    embedding = _needed(tensors, "t_embed.main.0.weight", 2)
    nc = config.get("nc", stem.shape[1])
    if nc % 2:
        raise PilotageError(f"nc is {nc}: it must be even, the channels of two images.")
    return {
        "in_channels": nc // 2,
        "channels": config.get("ngf", stem.shape[0] // 2),
        "size": size,
        "time_width": config.get("t_emb_dim", embedding.shape[1]),
        "slope": _slope(config.get("act", "LeakyReLU(0.2)")),
    }


def infer_levels(tensors: Mapping[str, Tensor], resampling_blocks: bool) -> dict[str, Any]:
    """Infer the levels from a generator's tensors, as arguments of the published script.

    Only names and shapes are used, so tensors may be on the meta device.

    Args:
        tensors: a state dict of the published generator, without ``module.`` in front.
        resampling_blocks: whether residual blocks change the size between levels, as all do but
            those of DDPM.

    Returns:
        ``ch_mult``, ``num_res_blocks`` and ``attn_resolutions``, with the ``image_size`` that
        these refer to: attention belongs to levels, whatever the size of images.

    Raises:
        PilotageError: if the tensors are not those of such a network.
    """
    layers, stem = _layers(tensors), _stem_number(tensors)
    depth, levels = _depth(tensors, layers, stem, resampling_blocks)
    blocks = [number for number, is_block in sorted(layers.items()) if is_block]
    first = [blocks[level * (depth + resampling_blocks)] for level in range(levels)]
    base = _needed(tensors, f"all_modules.{stem}.weight", 4).shape[0]
    widths = [_needed(tensors, f"all_modules.{k}.Conv_0.weight", 4).shape[0] for k in first]
    size = 2 ** (levels - 1)
    attended = [level for level, k in enumerate(first) if layers.get(k + 1) is False]
    return {
        "ch_mult": [width // base for width in widths],
        "num_res_blocks": depth,
        "image_size": size,
        "attn_resolutions": [size >> level for level in attended],
    }


def _layers(tensors: Mapping[str, Tensor]) -> dict[int, bool]:
    """Return the numbers of residual blocks (True) and of attention layers (False)."""
    found = {}
    for name in tensors:
        match = re.fullmatch(r"all_modules\.(\d+)\.(GroupNorm_0\.style|NIN_3)\..+", name)
        if match:
            found[int(match[1])] = match[2] != "NIN_3"
    return found


def _depth(
    tensors: Mapping[str, Tensor], layers: Mapping[int, bool], stem: int, resampling_blocks: bool
) -> tuple[int, int]:
    """Return the residual blocks per level, and the number of levels."""
    depth, number, count = 0, stem + 1, sum(layers.values())
    while number in layers and not _resamples(tensors, number):
        depth += layers[number]
        number += 1
    if depth == count:  # a single level, whose decoder follows the middle directly
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
    shape = _needed(tensors, f"all_modules.{number}.Conv_0.weight", 4).shape
    return shape[0] == shape[1]


def _stem_number(tensors: Mapping[str, Tensor]) -> int:
    """Return the number of the first convolution, after the layers of the time."""
    for number in range(4):
        weight = tensors.get(f"all_modules.{number}.weight")
        if weight is not None and weight.ndim == 4:
            return number
    raise PilotageError(
        "weights have no first convolution: all_modules.2.weight or a neighbour must be (C', C, 3, "
        "3)."
    )


def _rates(config: Mapping[str, Any]) -> list[int]:
    """Return down-sampling rates with attention, from their image sizes."""
    size, sizes = config.get("image_size", 32), config.get("attn_resolutions", (16,))
    levels = range(len(config["ch_mult"]))
    return [2**level for level in levels if size // 2**level in sizes]


def _slope(act: Any) -> float:
    found = re.fullmatch(r"LeakyReLU\((?:negative_slope=)?([0-9.e-]+)\)", str(act))
    if not found:
        raise PilotageError(f"act is {act!r}: it must be 'LeakyReLU(…)' with a number inside.")
    return float(found[1])


def _check_keywords(config: Mapping[str, Any], known: set[str]) -> None:
    check_known("config has", (name for name in config if name not in TRAINING), sorted(known))


def _needed(tensors: Mapping[str, Tensor], name: str, dims: int) -> Tensor:
    """Return a required tensor with so many dimensions."""
    if name not in tensors or tensors[name].ndim != dims:
        raise PilotageError(f"weights have no {name} of {dims} dimensions: it must be there.")
    return tensors[name]
