"""Inference of the settings of GLIDE's networks from names and shapes of tensors."""

from collections.abc import Mapping
from itertools import product
from typing import Any

from torch import Tensor

from pilotage.errors import PilotageError
from pilotage.interop.adm.infer import Evidence, infer_config, is_classifier
from pilotage.interop.adm.published import unet_settings
from pilotage.interop.foreign_weights import check_known
from pilotage.networks.plan import positive_int

_UNET_FLAGS = ("heads", "head_channels", "heads_up", "dropout", "num_res_blocks")
_TEXT_FLAGS = ("text_heads", "in_channels")
_TEXT = (
    *("transformer.", "transformer_proj.", "token_embedding.", "final_ln."),
    *("positional_embedding", "padding_embedding"),
)


def text_unet_settings(tensors: Mapping[str, Tensor], **flags: Any) -> dict[str, Any]:
    """Infer the settings of the `TextUNet` of these tensors, from names and shapes only.

    Raises:
        PilotageError: if a flag is unknown, missing, out of range or at odds with the tensors, or
            the tensors are not those of such a network.
    """
    check_known("flags have", sorted(flags), (*_UNET_FLAGS, *_TEXT_FLAGS))
    if flags.get("text_heads") is None:
        raise PilotageError(
            "text_heads is None: it must be given, since tensors do not determine it."
        )
    if not any(name.startswith(_TEXT) for name in tensors) or is_classifier(tensors):
        raise PilotageError(
            "weights have no text transformer or no output_blocks: they must be those of a GLIDE "
            "network (load_unet and load_classifier read networks without text)."
        )
    image = {name: tensor for name, tensor in tensors.items() if not name.startswith(_TEXT)}
    config = infer_config(image, **{n: v for n, v in flags.items() if n in _UNET_FLAGS})
    settings = unet_settings({**config, "num_classes": None})
    del settings["num_classes"]
    seen, made = config["in_channels"], config["out_channels"]
    return {
        **settings,
        **_text_settings(tensors),
        **_image_settings(seen, made, flags.get("in_channels")),
        "text_heads": flags["text_heads"],
    }


def _text_settings(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    evidence = Evidence(tensors)
    positions = ("positional_embedding", "padding_embedding")
    for names in (("token_embedding.weight",), positions):
        if not any(name in tensors for name in names):
            raise PilotageError(f"weights lack {' and '.join(names)}, which a GLIDE network has.")
    layers = evidence.numbers(r"transformer\.resblocks\.(\d+)\.")
    return {
        "vocabulary": evidence.length("token_embedding.weight"),
        "context": evidence.length(*positions),
        "text_width": evidence.length(*positions, "token_embedding.weight", axis=1),
        "text_layers": 1 + max(layers, default=0),
        "final_norm": evidence.has("final_ln."),
        "padding": evidence.has("padding_embedding"),
    }


def _image_settings(seen: int, made: int, channels: int | None) -> dict[str, Any]:
    """Infer the conditioning images from the channels of the first and last layer.

    The output has a learned variance if possible, else it is an image alone.
    """
    if channels is not None:
        positive_int("in_channels", channels)
    halves = [made // 2] if made % 2 == 0 else []
    tried = [*halves, made] if channels is None else [channels]
    for count in tried:
        for low_res, inpaint in product((False, True), repeat=2):
            if seen == count * (1 + low_res + inpaint) + inpaint:  # known pixels come with a mask
                return {
                    "in_channels": count,
                    "out_channels": None if made in (count, 2 * count) else made,
                    "learned_variance": made == 2 * count,
                    "low_res": low_res,
                    "inpaint": inpaint,
                }
    raise PilotageError(
        f"weights have {seen} input channels and {made} output channels: for images of "
        f"{' or '.join(map(str, tried))} channels (in_channels), the input must have C, 2C, 2C + 1 "
        "or 3C + 1."
    )
