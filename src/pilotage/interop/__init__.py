"""Published checkpoints and other libraries, converted at the edge."""

from pilotage.interop.adm.infer import infer_config
from pilotage.interop.adm.published import (
    PUBLISHED,
    Published,
    classifier_settings,
    export_config,
    unet_settings,
)
from pilotage.interop.adm.tensors import export_classifier, export_unet, load_classifier, load_unet

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
