"""Settings of guided-diffusion's ``UNetModel`` against those of `pilotage.networks.UNet`."""

from collections.abc import Mapping
from typing import Any

from pilotage.errors import PilotageError
from pilotage.networks import UNet

_REQUIRED = (
    "in_channels",
    "model_channels",
    "out_channels",
    "num_res_blocks",
    "attention_resolutions",
)
_DEFAULTS = {
    "image_size": None,  # no layer depends on it
    "dropout": 0,
    "channel_mult": (1, 2, 4, 8),
    "conv_resample": True,
    "dims": 2,
    "num_classes": None,
    "use_checkpoint": False,  # how it was run; the weights are the same
    "use_fp16": False,
    "num_heads": 1,
    "num_head_channels": -1,
    "num_heads_upsample": -1,
    "use_scale_shift_norm": False,
    "resblock_updown": False,
    "use_new_attention_order": False,
}


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """Add guided-diffusion's own defaults for the keywords that are absent.

    Raises:
        PilotageError: if a keyword is unknown or a required one is absent, or if ``dims`` is not 2.
    """
    unknown = sorted(str(key) for key in config if key not in _REQUIRED and key not in _DEFAULTS)
    if unknown:
        raise PilotageError(
            f"config has {', '.join(unknown)}: allowed are {', '.join((*_REQUIRED, *_DEFAULTS))}."
        )
    absent = [key for key in _REQUIRED if key not in config]
    if absent:
        raise PilotageError(f"config lacks {', '.join(absent)}, needed to build the network.")
    full = {**_DEFAULTS, **config}
    if full["dims"] != 2:
        raise PilotageError(f"dims is {full['dims']!r}: it must be 2, for images.")
    return full


def unet_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the `UNet` that computes what ``UNetModel(**config)`` does.

    As in ADM, an output of twice the input's channels is a prediction with a learned variance, a
    rate that no level has asks for nothing, and ``num_head_channels`` wins over ``num_heads``.

    Raises:
        PilotageError: as for `complete`.
    """
    full = complete(config)
    variance = full["out_channels"] == 2 * full["in_channels"]
    return {
        "in_channels": full["in_channels"],
        "out_channels": None if variance else full["out_channels"],
        "learned_variance": variance,
        "channels": full["model_channels"],
        "channel_mult": full["channel_mult"],
        "num_res_blocks": full["num_res_blocks"],
        "attention_resolutions": _reached(full["attention_resolutions"], full["channel_mult"]),
        "num_classes": full["num_classes"],
        "scale_shift_norm": bool(full["use_scale_shift_norm"]),
        "resblock_updown": bool(full["resblock_updown"]),
        "conv_resample": bool(full["conv_resample"]),
        "dropout": full["dropout"],
        **_heads(full),
    }


def export_config(unet: UNet, *, new_attention_order: bool = False) -> dict[str, Any]:
    """Keywords of the ``UNetModel`` that `export_unet`'s tensors fit, but for its ``image_size``.

    A null label becomes one more class.
    """
    ours, label = unet.settings, unet.condition.label
    heads = ours["heads"]
    return {
        "in_channels": ours["in_channels"],
        "model_channels": ours["channels"],
        "out_channels": unet.out.out_channels,
        "num_res_blocks": ours["num_res_blocks"],
        "attention_resolutions": ours["attention_resolutions"],
        "dropout": ours["dropout"],
        "channel_mult": ours["channel_mult"],
        "conv_resample": ours["conv_resample"],
        "num_classes": None if label is None else label.num_embeddings,
        "num_heads": 1 if heads is None else heads,
        "num_head_channels": ours["head_channels"] or (32 if heads is None else -1),
        "num_heads_upsample": -1 if ours["heads_up"] is None else ours["heads_up"],
        "use_scale_shift_norm": ours["scale_shift_norm"],
        "resblock_updown": ours["resblock_updown"],
        "use_new_attention_order": new_attention_order,
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
