"""Named presets: recipes that were run, each with the score that it reached."""

from pilotage.recipes.adversarial import ADVERSARIAL_PRESETS, denoiser_beside
from pilotage.recipes.captioned import TEXT_PRESETS
from pilotage.recipes.labelled import PRESETS
from pilotage.recipes.preset import Preset

__all__ = ["ADVERSARIAL_PRESETS", "PRESETS", "TEXT_PRESETS", "Preset", "denoiser_beside"]
