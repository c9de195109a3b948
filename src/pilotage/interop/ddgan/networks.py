"""Networks of denoising diffusion GANs (Xiao, Kreis & Vahdat, 2112.07804), read."""

import re
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from pilotage.errors import PilotageError
from pilotage.interop.ddgan.names import discriminator_pairs, generator_pairs
from pilotage.interop.filling import filled
from pilotage.interop.foreign_weights import Weights, listing, read_weights
from pilotage.networks.discriminator import Discriminator, DiscriminatorPlan
from pilotage.networks.ncsnpp import NCSNpp
from pilotage.networks.ncsnpp_plan import NCSNppPlan

# keywords of the published network, ours, and that code's defaults
_KEYWORDS: dict[str, tuple[str, Any]] = {
    "num_res_blocks": ("num_res_blocks", 2),
    "dropout": ("dropout", 0.0),
    "resamp_with_conv": ("resample_conv", True),
    "fir": ("fir", True),
    "fir_kernel": ("fir_kernel", (1, 3, 3, 1)),
    "skip_rescale": ("skip_rescale", True),
    "progressive_combine": ("progressive_combine", "sum"),
    "progressive": ("progressive", "none"),
    "progressive_input": ("progressive_input", "residual"),
    "fourier_scale": ("fourier_scale", 16.0),
    "centered": ("centered", True),
}
_BLOCKS = {"biggan": "biggan", "biggan_oneadagn": "biggan_one", "ddpm": "ddpm"}
_TOLD = {"num_channels_dae", "num_channels", "nz", "z_emb_dim", "n_mlp", "conditional"}
_GENERATOR = {
    *_KEYWORDS,
    *_TOLD,
    *("ch_mult", "image_size", "attn_resolutions", "resblock_type"),
    *("embedding_type", "not_use_tanh"),
}
_DISCRIMINATOR = {"cls", "nc", "ngf", "t_emb_dim", "act"}
# what else the published training script takes, for whoever hands its arguments over whole
_TRAINING = {
    *("seed", "resume", "exp", "dataset", "batch_size", "num_epoch", "lr_g", "lr_d", "no_lr_decay"),
    *("use_geometric", "beta_min", "beta_max", "num_timesteps", "t_emb_dim", "ngf"),
    *("beta1", "beta2", "use_ema", "ema_decay", "r1_gamma", "lazy_reg"),
    *("save_content", "save_content_every", "save_ckpt_every"),
    *("num_proc_node", "num_process_per_node", "node_rank", "local_rank", "master_address"),
    *("world_size", "global_rank", "global_size"),
}


def load_generator(weights: Weights, config: Mapping[str, Any]) -> NCSNpp:
    """Build the `NCSNpp` that computes what the published generator does with these weights.

    A file ``netG_….pth`` of a run with EMA holds the averaged weights already. ``content.pth``
    holds the weights of the last step under ``netG_dict`` (their average lies in the optimiser's
    state) together with objects that are not tensors, so it cannot be read as it is.

    Args:
        weights: a ``.safetensors``, ``.pt`` or ``.pth`` file (only tensors are unpickled), or a
            state dict, with the published parameter names, with or without ``module.`` in front.
        config: arguments of the published script by their own names. ``ch_mult`` is needed; absent
            ones have that script's defaults. Tensors tell the channels, the latent and its
            mapping, and whether and how the time is told, which need not be given.

    Returns:
        The network in evaluation mode, with tensors of its own, on the device and in the type of
        the given ones. Its times are 0..T − 1 (`FewSteps.time`).

    Raises:
        PilotageError: if the file cannot be read, an argument is unknown or out of range, or
            tensors are missing, left over or of another shape.
    """
    tensors = stripped(weights)
    settings = generator_settings(tensors, config)
    if settings["time_features"] == "none":  # the published blocks keep layers that they never use
        tensors = {name: tensor for name, tensor in tensors.items() if ".Dense_0." not in name}
    with torch.device("meta"):
        network = NCSNpp(NCSNppPlan(**settings))
    return filled(network, tensors, list(generator_pairs(network)))


def load_discriminator(
    weights: Weights,
    config: Mapping[str, Any] | None = None,
    size: Literal["small", "large"] | None = None,
) -> Discriminator:
    """Build the `Discriminator` that computes what the published one does with these weights.

    Args:
        weights: as for `load_generator`; ``netD_dict`` of ``content.pth``.
        config: keywords of the published class, ``nc``, ``ngf``, ``t_emb_dim``, all of which the
            tensors tell too, and ``act`` ("LeakyReLU(0.2)" if absent).
        size: which of the two; the tensors tell if None.

    Returns:
        The network as `load_generator` returns it; logits are (B,), not (B, 1).

    Raises:
        PilotageError: as for `load_generator`.
    """
    tensors, config = stripped(weights), dict(config or {})
    _check_keywords(config, _DISCRIMINATOR | _GENERATOR)
    if size is None:
        size = "large" if any(name.startswith("conv5.") for name in tensors) else "small"
    stem = needed(tensors, "start_conv.weight", 4)
    embedding = needed(tensors, "t_embed.main.0.weight", 2)
    nc, ngf = config.get("nc", stem.shape[1]), config.get("ngf", stem.shape[0] // 2)
    if nc % 2:
        raise PilotageError(f"nc is {nc}: it must be even, the channels of two images.")
    with torch.device("meta"):
        plan = DiscriminatorPlan(
            in_channels=nc // 2,
            channels=ngf,
            size=size,
            time_width=config.get("t_emb_dim", embedding.shape[1]),
            slope=_slope(config.get("act", "LeakyReLU(0.2)")),
        )
        network = Discriminator(plan)
    return filled(network, tensors, list(discriminator_pairs(network)))


def generator_settings(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `NCSNppPlan` for published tensors and the published script's arguments.

    Raises:
        PilotageError: if an argument is unknown or missing, or tensors that tell others are absent.
    """
    _check_keywords(config, _GENERATOR)
    if config.get("ch_mult") is None:
        raise PilotageError("ch_mult is missing in config: it must be a sequence of whole numbers.")
    told = {**_told(tensors), **{name: config[name] for name in _TOLD & config.keys()}}
    features = str(config.get("embedding_type", _features(tensors))).lower()
    kind = str(config.get("resblock_type", "biggan")).lower()
    for name, value, allowed in (
        ("embedding_type", features, ("positional", "fourier")),
        ("resblock_type", kind, tuple(_BLOCKS)),
    ):
        if value not in allowed:
            raise PilotageError(f"{name} is {value!r}: it must be one of {', '.join(allowed)}.")
    timed = {"positional": "sinusoidal", "fourier": "fourier"}[features]
    return {
        **{ours: config.get(name, default) for name, (ours, default) in _KEYWORDS.items()},
        "in_channels": told["num_channels"],
        "channels": told["num_channels_dae"],
        "channel_mult": list(config["ch_mult"]),
        "attention_resolutions": _rates(config),
        "latent_dim": told["nz"],
        "latent_width": told["z_emb_dim"],
        "latent_layers": told["n_mlp"],
        "block": _BLOCKS[kind],
        "time_features": timed if told["conditional"] else "none",
        "tanh": not config.get("not_use_tanh", False),
    }


def _told(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments that tensors tell."""
    mapping = [name for name in tensors if re.fullmatch(r"z_transform\.\d+\.weight", name)]
    first = needed(tensors, "z_transform.1.weight", 2)
    number = stem_number(tensors)
    stem = tensors[f"all_modules.{number}.weight"]
    return {
        "nz": first.shape[1],
        "z_emb_dim": first.shape[0],
        "n_mlp": len(mapping) - 1,
        "num_channels_dae": stem.shape[0],
        "num_channels": stem.shape[1],
        "conditional": number >= 2,
    }


def stem_number(tensors: Mapping[str, Tensor]) -> int:
    """Number of the first convolution, which follows the layers of the time."""
    for number in range(4):
        weight = tensors.get(f"all_modules.{number}.weight")
        if weight is not None and weight.ndim == 4:
            return number
    raise PilotageError(
        "weights have no first convolution: all_modules.2.weight or a neighbour must be (C', C, 3, "
        "3)."
    )


def _features(tensors: Mapping[str, Tensor]) -> str:
    return "fourier" if "all_modules.0.W" in tensors else "positional"


def _rates(config: Mapping[str, Any]) -> list[int]:
    """Down-sampling rates with attention; the published argument has their image sizes."""
    size, wanted = config.get("image_size", 32), config.get("attn_resolutions", (16,))
    levels = range(len(config["ch_mult"]))
    return [2**level for level in levels if size // 2**level in wanted]


def _slope(act: Any) -> float:
    found = re.fullmatch(r"LeakyReLU\((?:negative_slope=)?([0-9.e-]+)\)", str(act))
    if not found:
        raise PilotageError(f"act is {act!r}: it must be 'LeakyReLU(…)' with a number inside.")
    return float(found[1])


def _check_keywords(config: Mapping[str, Any], known: set[str]) -> None:
    unknown = [str(name) for name in config if name not in known | _TRAINING]
    if unknown:
        raise PilotageError(
            f"config has {listing(unknown)}: allowed are {', '.join(sorted(known))}."
        )


def stripped(weights: Weights) -> dict[str, Tensor]:
    """Name every tensor, without the ``module.`` that several processes put in front."""
    named = read_weights(weights)
    if all(name.startswith("module.") for name in named):
        return {name.removeprefix("module."): tensor for name, tensor in named.items()}
    return named


def needed(tensors: Mapping[str, Tensor], name: str, dims: int) -> Tensor:
    """A tensor that must be there, with so many dimensions."""
    if name not in tensors or tensors[name].ndim != dims:
        raise PilotageError(f"weights have no {name} of {dims} dimensions: it must be there.")
    return tensors[name]
