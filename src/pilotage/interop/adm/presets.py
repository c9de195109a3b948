"""OpenAI's published checkpoints of guided-diffusion, by the names of their files.

The facts are those of guided-diffusion's README (flags for sampling from each file) and of
``create_model`` and ``create_classifier`` in its ``script_util.py`` (widths by image size, and the
classifiers' 64 channels per head).
"""

from dataclasses import dataclass
from typing import Any, Literal

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
        """What its tensors cannot tell: the flags of `infer_config`."""
        config = self.config
        heads = "num_heads" if "num_heads" in config else "num_head_channels"
        return {
            "image_size": config["image_size"],
            heads.removeprefix("num_"): config[heads],
            "attention_order": "new" if config["use_new_attention_order"] else "legacy",
            "dropout": config["dropout"],
        }


def _config(size: int, channels: int, blocks: int, **more: Any) -> dict[str, Any]:
    """Keywords with attention at 32, 16 and 8 pixels, and residual blocks that resample."""
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
    """A U-Net that learns its variance; of ImageNet's classes, unless told otherwise."""
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
