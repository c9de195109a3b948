"""Every setting, as validated pydantic models: the command line, files and Python read this list.

``base`` is what all share, ``networks`` and ``recipe`` say how a run is trained, ``sampling`` what
is asked of it then, and ``importing`` what a foreign checkpoint does not tell.
"""

from pilotage.settings.base import Positive, Settings
from pilotage.settings.importing import ImportSettings
from pilotage.settings.networks import EncoderSettings, UNetSettings
from pilotage.settings.recipe import ClassifierRecipe, Recipe, TrainingRecipe, conflict
from pilotage.settings.sampling import (
    EvaluateSettings,
    GridSettings,
    LikelihoodSettings,
    MeasureSettings,
    SamplerSettings,
    SampleSettings,
    SweepSettings,
)

__all__ = [
    "ClassifierRecipe",
    "EncoderSettings",
    "EvaluateSettings",
    "GridSettings",
    "ImportSettings",
    "LikelihoodSettings",
    "MeasureSettings",
    "Positive",
    "Recipe",
    "SampleSettings",
    "SamplerSettings",
    "Settings",
    "SweepSettings",
    "TrainingRecipe",
    "UNetSettings",
    "conflict",
]
