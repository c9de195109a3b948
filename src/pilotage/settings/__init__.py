"""Every setting, as validated pydantic models: the command line, files and Python read this list.

``base`` is what all share, ``networks``, ``recipe``, ``adversarial`` and ``text`` say how a run is
trained, ``sampling`` and ``measuring`` what is asked of it then, and ``importing`` what a foreign
checkpoint does not tell.
"""

from pilotage.settings.architectures import EncoderSettings, UNetSettings
from pilotage.settings.base import Positive, Settings
from pilotage.settings.gan_recipe import (
    AdversarialRecipe,
    DiscriminatorSettings,
    GeneratorSettings,
    NCSNppOptions,
    NCSNppSettings,
)
from pilotage.settings.importing import (
    ImportDdganSettings,
    ImportGlideSettings,
    ImportSettings,
)
from pilotage.settings.measuring import (
    EvaluateSettings,
    GridSettings,
    LikelihoodSettings,
    MeasureSettings,
    SeriesSettings,
    SpeedSettings,
    SweepSettings,
)
from pilotage.settings.recipe import ClassifierRecipe, Recipe, TrainingRecipe, conflict
from pilotage.settings.sampling import (
    InpaintSettings,
    PromptSettings,
    SampleSettings,
    SamplingOptions,
    SamplingSpec,
)
from pilotage.settings.text_recipe import TextRecipe, TextUNetSettings

__all__ = [
    "AdversarialRecipe",
    "ClassifierRecipe",
    "DiscriminatorSettings",
    "EncoderSettings",
    "EvaluateSettings",
    "GeneratorSettings",
    "GridSettings",
    "ImportDdganSettings",
    "ImportGlideSettings",
    "ImportSettings",
    "InpaintSettings",
    "LikelihoodSettings",
    "MeasureSettings",
    "NCSNppOptions",
    "NCSNppSettings",
    "Positive",
    "PromptSettings",
    "Recipe",
    "SampleSettings",
    "SamplingOptions",
    "SamplingSpec",
    "SeriesSettings",
    "Settings",
    "SpeedSettings",
    "SweepSettings",
    "TextRecipe",
    "TextUNetSettings",
    "TrainingRecipe",
    "UNetSettings",
    "conflict",
]
