"""Named presets: recipes that were run, each with the score that it reached."""

from pilotage.recipes.presets import (
    ADVERSARIAL_PRESETS,
    CLASSIFIER_PRESETS,
    PRESETS,
    PRESETS_OF,
    TEXT_PRESETS,
    Preset,
    compared_denoiser,
)

__all__ = [
    "ADVERSARIAL_PRESETS",
    "CLASSIFIER_PRESETS",
    "PRESETS",
    "PRESETS_OF",
    "TEXT_PRESETS",
    "Preset",
    "compared_denoiser",
]
