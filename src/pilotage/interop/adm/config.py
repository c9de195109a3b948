"""Settings of guided-diffusion's networks against those of ours.

Its ``UNetModel`` is our `UNet`, and its ``EncoderUNetModel`` our `UNetEncoder`.
"""

from collections.abc import Mapping
from typing import Any

from pilotage.errors import PilotageError
from pilotage.networks import UNet, UNetEncoder

_REQUIRED = (
    "in_channels",
    "model_channels",
    "out_channels",
    "num_res_blocks",
    "attention_resolutions",
)
_SHARED = {
    "image_size": None,  # only the attention pool depends on it
    "dropout": 0,
    "channel_mult": (1, 2, 4, 8),
    "conv_resample": True,
    "dims": 2,
    "use_checkpoint": False,  # how it was run; the weights are the same
    "use_fp16": False,
    "num_heads": 1,
    "num_head_channels": -1,
    "num_heads_upsample": -1,
    "use_scale_shift_norm": False,
    "resblock_updown": False,
    "use_new_attention_order": False,
}
_UNET = {**_SHARED, "num_classes": None}
_ENCODER = {**_SHARED, "pool": "adaptive"}


def unet_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the `UNet` that computes what ``UNetModel(**config)`` does.

    As in ADM, an output of twice the input's channels is a prediction with a learned variance, a
    rate that no level has asks for nothing, and ``num_head_channels`` wins over ``num_heads``.

    Raises:
        PilotageError: if a keyword is unknown or a required one is absent, or if ``dims`` is not 2.
    """
    full = _complete(config, _UNET)
    variance = full["out_channels"] == 2 * full["in_channels"]
    return {
        "out_channels": None if variance else full["out_channels"],
        "learned_variance": variance,
        "num_classes": full["num_classes"],
        **_trunk(full),
        **_heads(full),
    }


def classifier_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the `UNetEncoder` that computes what ``EncoderUNetModel(**config)`` does.

    ``image_size`` may also be a pair (H, W) here; pools other than "attention" do without it.

    Raises:
        PilotageError: as for `unet_settings`, or if the attention pool has no
            ``num_head_channels``, as guided-diffusion asks.
    """
    full = _complete(config, _ENCODER)
    if full["pool"] == "attention" and full["num_head_channels"] == -1:
        raise PilotageError(
            "num_head_channels is -1 but pool is 'attention': it must be given for that pool."
        )
    heads = _heads(full)
    heads.pop("heads_up", None)  # there is no way up
    return {
        "size": _pair(full["image_size"]),
        "classes": full["out_channels"],
        "pool": full["pool"],
        **_trunk(full),
        **heads,
    }


def export_config(
    network: UNet | UNetEncoder, *, new_attention_order: bool = False
) -> dict[str, Any]:
    """Keywords of the network of guided-diffusion that the exported tensors fit.

    A null label becomes one more class. For a `UNet`, ``image_size`` is left out; for a
    `UNetEncoder` that is not square, it is a pair, which guided-diffusion does not know.
    """
    ours = network.settings
    if ours.get("fourier"):
        raise PilotageError(
            f"fourier is {ours['fourier']}: guided-diffusion has no Fourier features of the input."
        )
    shared = {
        "in_channels": ours["in_channels"],
        "model_channels": ours["channels"],
        "num_res_blocks": ours["num_res_blocks"],
        "attention_resolutions": ours["attention_resolutions"],
        "dropout": ours["dropout"],
        "channel_mult": ours["channel_mult"],
        "conv_resample": ours["conv_resample"],
        "use_scale_shift_norm": ours["scale_shift_norm"],
        "resblock_updown": ours["resblock_updown"],
        "use_new_attention_order": new_attention_order,
    }
    if isinstance(network, UNetEncoder):
        return {**shared, **_classifier_keywords(ours)}
    return {**shared, **_unet_keywords(network)}


def _complete(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Add guided-diffusion's own defaults for the keywords that are absent."""
    unknown = sorted(str(key) for key in config if key not in _REQUIRED and key not in defaults)
    if unknown:
        raise PilotageError(
            f"config has {', '.join(unknown)}: allowed are {', '.join((*_REQUIRED, *defaults))}."
        )
    absent = [key for key in _REQUIRED if key not in config]
    if absent:
        raise PilotageError(f"config lacks {', '.join(absent)}, needed to build the network.")
    full = {**defaults, **config}
    if full["dims"] != 2:
        raise PilotageError(f"dims is {full['dims']!r}: it must be 2, for images.")
    return full


def _trunk(full: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "in_channels": full["in_channels"],
        "channels": full["model_channels"],
        "channel_mult": full["channel_mult"],
        "num_res_blocks": full["num_res_blocks"],
        "attention_resolutions": _reached(full["attention_resolutions"], full["channel_mult"]),
        "scale_shift_norm": bool(full["use_scale_shift_norm"]),
        "resblock_updown": bool(full["resblock_updown"]),
        "conv_resample": bool(full["conv_resample"]),
        "dropout": full["dropout"],
    }


def _heads(full: Mapping[str, Any]) -> dict[str, int | None]:
    if full["num_head_channels"] != -1:
        return {"head_channels": full["num_head_channels"]}
    up = full["num_heads_upsample"]
    return {"heads": full["num_heads"], "heads_up": None if up == -1 else up}


def _reached(rates: Any, channel_mult: Any) -> list[int]:
    for name, value in (("attention_resolutions", rates), ("channel_mult", channel_mult)):
        if not isinstance(value, list | tuple | set | frozenset):
            raise PilotageError(f"{name} is {value!r}: it must be a sequence of numbers.")
    return [2**level for level in range(len(channel_mult)) if 2**level in rates]


def _pair(image_size: Any) -> Any:
    """(H, W) of a square's side; a pair, None and mistakes as they are."""
    return (image_size, image_size) if isinstance(image_size, int) else image_size


def _unet_keywords(unet: UNet) -> dict[str, Any]:
    ours, label = unet.settings, unet.condition.label
    return {
        "out_channels": unet.out.out_channels,
        "num_classes": None if label is None else label.num_embeddings,
        "num_heads": 1 if ours["heads"] is None else ours["heads"],
        "num_head_channels": ours["head_channels"] or (32 if ours["heads"] is None else -1),
        "num_heads_upsample": -1 if ours["heads_up"] is None else ours["heads_up"],
    }


def _classifier_keywords(ours: Mapping[str, Any]) -> dict[str, Any]:
    size = ours["size"]
    square = size is not None and size[0] == size[1]
    return {
        "image_size": size[0] if square else size,
        "out_channels": ours["classes"],
        "pool": ours["pool"],
        "num_heads": 1 if ours["heads"] is None else ours["heads"],
        "num_head_channels": _classifier_head_channels(ours),
    }


def _classifier_head_channels(ours: Mapping[str, Any]) -> int:
    """As many channels as the heads have, -1 if only ``num_heads`` can say it."""
    heads = ours["heads"]
    if heads is None or ours["pool"] != "attention":
        return ours["head_channels"] or (32 if heads is None else -1)
    levels = enumerate(ours["channel_mult"])
    mults = {mult for level, mult in levels if 2**level in ours["attention_resolutions"]}
    if mults - {ours["channel_mult"][-1]}:
        raise PilotageError(
            f"heads is {heads}: with pool 'attention', guided-diffusion knows head_channels only, "
            "which are not the same at all levels with attention."
        )
    return int(ours["channels"] * ours["channel_mult"][-1]) // heads
