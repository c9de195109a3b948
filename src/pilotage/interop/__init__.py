"""Published checkpoints and other libraries, converted at the edge."""

from pilotage.interop.adm.networks import (
    classifier_settings,
    export_classifier,
    export_config,
    export_unet,
    infer_config,
    load_classifier,
    load_unet,
    unet_settings,
)
from pilotage.interop.adm.presets import PUBLISHED, Published

__all__ = [
    "PUBLISHED",
    "Published",
    "classifier_settings",
    "export_classifier",
    "export_config",
    "export_unet",
    "infer_config",
    "load_classifier",
    "load_unet",
    "unet_settings",
]
