"""When two sets of settings give one network, and the flags that a config's tensors cannot tell."""

from typing import Any


def effective(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, those that make no difference set to one value."""
    plain = {name: list(v) if isinstance(v, tuple) else v for name, v in settings.items()}
    if len(plain["channel_mult"]) == 1:
        plain["resblock_updown"] = False
    if plain["resblock_updown"] or len(plain["channel_mult"]) == 1:
        plain["conv_resample"] = True
    return plain


def flags_of(config: dict[str, Any]) -> dict[str, Any]:
    """Flags of `infer_config` for guided-diffusion's keywords."""
    flags = {
        "image_size": config.get("image_size"),
        "attention_order": "new" if config.get("use_new_attention_order") else "legacy",
        "dropout": config.get("dropout", 0),
    }
    if config.get("num_head_channels", -1) != -1:
        return {**flags, "head_channels": config["num_head_channels"]}
    up = config.get("num_heads_upsample", -1)
    return {**flags, "heads": config.get("num_heads", 1), "heads_up": None if up == -1 else up}
