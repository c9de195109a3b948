"""Settings of guided-diffusion's networks, converted to ours, and OpenAI's published checkpoints.

Its ``UNetModel`` is our `UNet`, and its ``EncoderUNetModel`` our `UNetEncoder`.

The facts of the checkpoints are those of guided-diffusion's README (flags for sampling from each
file) and of ``create_model`` and ``create_classifier`` in its ``script_util.py`` (widths by image
size, and the classifiers' 64 channels per head).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from pilotage.errors import PilotageError
from pilotage.interop.foreign_weights import check_known
from pilotage.networks import UNet, UNetEncoder
from pilotage.settings import Settings

# keywords of both of its networks that equal a setting of ours
_TRUNK = {
    "in_channels": "in_channels",
    "model_channels": "channels",
    "channel_mult": "channel_mult",
    "num_res_blocks": "num_res_blocks",
    "attention_resolutions": "attention_resolutions",
    "use_scale_shift_norm": "scale_shift_norm",
    "resblock_updown": "resblock_updown",
    "conv_resample": "conv_resample",
    "dropout": "dropout",
}
_REQUIRED = (
    "in_channels",
    "model_channels",
    "out_channels",
    "num_res_blocks",
    "attention_resolutions",
)
_DEFAULTS = {
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


def unet_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the `UNet` equivalent to ``UNetModel(**config)``.

    As in ADM, an output of twice the input's channels is a prediction with a learned variance, a
    rate that no level has gives no attention, and ``num_head_channels`` wins over ``num_heads``.

    Raises:
        PilotageError: if a keyword is unknown or a required one is absent, or if ``dims`` is not 2.
    """
    full = _complete(config, num_classes=None)
    variance = full["out_channels"] == 2 * full["in_channels"]
    heads_up = full["num_heads_upsample"] if full["num_head_channels"] == -1 else -1
    return {
        **_shared_settings(full),
        "heads_up": None if heads_up == -1 else heads_up,
        "out_channels": None if variance else full["out_channels"],
        "learned_variance": variance,
        "num_classes": full["num_classes"],
    }


def classifier_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the `UNetEncoder` equivalent to ``EncoderUNetModel(**config)``.

    ``image_size`` may also be a pair (H, W); pools other than "attention" do not need it.

    Raises:
        PilotageError: as for `unet_settings`, or if the attention pool has no
            ``num_head_channels``, which guided-diffusion needs there.
    """
    full = _complete(config, pool="adaptive")
    if full["pool"] == "attention" and full["num_head_channels"] == -1:
        raise PilotageError(
            "num_head_channels is -1 but pool is 'attention': it must be given for that pool."
        )
    size = full["image_size"]
    return {
        **_shared_settings(full),
        "size": (size, size) if isinstance(size, int) else size,
        "classes": full["out_channels"],
        "pool": full["pool"],
    }


def export_config(
    network: UNet | UNetEncoder, *, new_attention_order: bool = False
) -> dict[str, Any]:
    """Return the keywords of guided-diffusion's network for exported tensors.

    A null label becomes an additional class. For a `UNet`, ``image_size`` is left out; for a
    non-square `UNetEncoder`, it is a pair, which guided-diffusion does not support.
    """
    ours = network.settings
    if ours.get("fourier"):
        raise PilotageError(
            f"fourier is {ours['fourier']}: it must be None, since guided-diffusion has no Fourier "
            "features."
        )
    shared = {
        **{keyword: ours[name] for keyword, name in _TRUNK.items()},
        "use_new_attention_order": new_attention_order,
        "num_heads": 1 if ours["heads"] is None else ours["heads"],
        "num_head_channels": ours["head_channels"] or (32 if ours["heads"] is None else -1),
    }
    if isinstance(network, UNet):
        classes = ours["num_classes"]
        return {
            **shared,
            "out_channels": network.out.out_channels,
            "num_classes": None if classes is None else classes + ours["null_class"],
            "num_heads_upsample": -1 if ours["heads_up"] is None else ours["heads_up"],
        }
    if ours["pool"] == "attention" and ours["heads"] is not None:
        shared["num_head_channels"] = _head_channels(ours)
    return {
        **shared,
        "image_size": image_size(ours["size"]),
        "out_channels": ours["classes"],
        "pool": ours["pool"],
    }


def image_size(size: Sequence[int] | None) -> int | Sequence[int] | None:
    """Return the side of a square (H, W); other sizes unchanged."""
    return size[0] if size is not None and size[0] == size[1] else size


def _complete(config: Mapping[str, Any], **own: Any) -> dict[str, Any]:
    """Complete keywords by guided-diffusion's defaults, including ``own``."""
    defaults = {**_DEFAULTS, **own}
    check_known("config has", sorted(map(str, config)), (*_REQUIRED, *defaults))
    absent = [key for key in _REQUIRED if key not in config]
    if absent:
        raise PilotageError(f"config lacks {', '.join(absent)}: they must be given.")
    full = {**defaults, **config}
    if full["dims"] != 2:
        raise PilotageError(f"dims is {full['dims']!r}: it must be 2, for images.")
    return full


def _shared_settings(full: Mapping[str, Any]) -> dict[str, Any]:
    settings = {name: full[keyword] for keyword, name in _TRUNK.items()}
    for name in ("scale_shift_norm", "resblock_updown", "conv_resample"):
        settings[name] = bool(settings[name])
    rates, mults = full["attention_resolutions"], full["channel_mult"]
    for name, value in (("attention_resolutions", rates), ("channel_mult", mults)):
        if not isinstance(value, list | tuple | set | frozenset):
            raise PilotageError(f"{name} is {value!r}: it must be a sequence of numbers.")
    levels = range(len(mults))
    settings["attention_resolutions"] = [2**level for level in levels if 2**level in rates]
    by_width = full["num_head_channels"] != -1
    return {
        **settings,
        "head_channels": full["num_head_channels"] if by_width else None,
        "heads": None if by_width else full["num_heads"],
    }


def _head_channels(ours: Mapping[str, Any]) -> int:
    """Return the channels per head of a classifier with a given number of heads."""
    heads: int = ours["heads"]
    levels = enumerate(ours["channel_mult"])
    mults = {mult for level, mult in levels if 2**level in ours["attention_resolutions"]}
    if mults - {ours["channel_mult"][-1]}:
        raise PilotageError(
            f"heads is {heads}: it must give the same head_channels at all levels with attention, "
            "for guided-diffusion's pool 'attention'."
        )
    return int(ours["channels"] * ours["channel_mult"][-1]) // heads


# what tensors do not determine


StrictPositive = Annotated[int, Field(ge=1, strict=True)]


class Flags(Settings):
    """The flags of `infer_config`; a side stands for the pair (H, W)."""

    heads: StrictPositive | None = None
    head_channels: StrictPositive | None = None
    heads_up: StrictPositive | None = None
    attention_order: Literal["legacy", "new"] = "legacy"
    dropout: float = 0.0
    image_size: tuple[StrictPositive, StrictPositive] | None = None
    num_res_blocks: StrictPositive | None = None

    @field_validator("image_size", mode="before")
    @classmethod
    def _pair(cls, given: object) -> object:
        return (given, given) if isinstance(given, int) else given

    @model_validator(mode="after")
    def _one_kind_of_heads(self) -> Self:
        if self.heads is None and self.head_channels is None:
            raise ValueError(
                "heads and head_channels are both None: one must be given, since tensors do not "
                "determine how attention is split."
            )
        if self.heads is not None and self.head_channels is not None:
            raise ValueError(
                f"heads is {self.heads} and head_channels is {self.head_channels}: "
                "only one of the two may be given."
            )
        if self.heads_up is not None and self.heads is None:
            raise ValueError(
                f"heads_up is {self.heads_up} but heads is None: it may be given only with heads."
            )
        return self


# published checkpoints, by the names of their files

_LEVELS = {
    64: (1, 2, 3, 4),
    128: (1, 1, 2, 3, 4),
    256: (1, 1, 2, 2, 4, 4),
    512: (0.5, 1, 1, 2, 2, 4, 4),
}


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published checkpoint.

    Attributes:
        config: all keywords of its ``UNetModel`` or ``EncoderUNetModel``.
        schedule: noise schedule it was trained with. A classifier has that of the diffusion model
            that its README pairs it with.
        timesteps: steps of that schedule.
    """

    config: dict[str, Any]
    schedule: Literal["linear", "cosine"]
    timesteps: int = 1000

    @property
    def classifier(self) -> bool:
        """Whether `load_classifier` reads it, rather than `load_unet`."""
        return "pool" in self.config

    @property
    def flags(self) -> dict[str, Any]:
        """What its tensors do not determine: the flags of `infer_config`."""
        config = self.config
        heads = "num_heads" if "num_heads" in config else "num_head_channels"
        return {
            "image_size": config["image_size"],
            heads.removeprefix("num_"): config[heads],
            "attention_order": "new" if config["use_new_attention_order"] else "legacy",
            "dropout": config["dropout"],
        }


def _config(size: int, channels: int, blocks: int, **more: Any) -> dict[str, Any]:
    """Return keywords with attention at 32, 16 and 8 pixels, and resampling residual blocks."""
    heads = {} if "num_heads" in more else {"num_head_channels": 64}
    return {
        "image_size": size,
        "in_channels": 3,
        "model_channels": channels,
        "num_res_blocks": blocks,
        "attention_resolutions": [size // pixels for pixels in (32, 16, 8)],
        "channel_mult": list(_LEVELS[size]),
        "dropout": 0.0,
        "use_scale_shift_norm": True,
        "resblock_updown": True,
        "use_new_attention_order": False,
        **heads,
        **more,
    }


def _unet(size: int, channels: int, blocks: int = 2, **more: Any) -> dict[str, Any]:
    """Describe a U-Net with learned variance, by default of ImageNet's classes."""
    return _config(size, channels, blocks, **{"out_channels": 6, "num_classes": 1000, **more})


def _classifier(size: int, blocks: int = 2) -> dict[str, Any]:
    return _config(size, 128, blocks, out_channels=1000, pool="attention")


_LSUN = Published(config=_unet(256, 256, num_classes=None, dropout=0.1), schedule="linear")

PUBLISHED: dict[str, Published] = {
    "64x64_diffusion": Published(
        config=_unet(64, 192, 3, dropout=0.1, use_new_attention_order=True), schedule="cosine"
    ),
    "128x128_diffusion": Published(config=_unet(128, 256, num_heads=4), schedule="linear"),
    "256x256_diffusion": Published(config=_unet(256, 256), schedule="linear"),
    "256x256_diffusion_uncond": Published(
        config=_unet(256, 256, num_classes=None), schedule="linear"
    ),
    "512x512_diffusion": Published(config=_unet(512, 256), schedule="linear"),
    "lsun_bedroom": _LSUN,
    "lsun_cat": _LSUN,
    "lsun_horse": _LSUN,
    "64x64_classifier": Published(config=_classifier(64, 4), schedule="cosine"),
    "128x128_classifier": Published(config=_classifier(128), schedule="linear"),
    "256x256_classifier": Published(config=_classifier(256), schedule="linear"),
    "512x512_classifier": Published(config=_classifier(512), schedule="linear"),
}
