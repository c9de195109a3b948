"""Every setting, as validated pydantic models: the command line, files and Python read this list.

``base`` is what all share, ``architectures`` and the recipes say how a run is trained, ``sampling``
and ``measuring`` are requests to it, ``studies`` put these together, and ``importing`` is
what foreign checkpoints leave open.
"""

from pilotage.settings.architectures import (
    DiscriminatorSettings,
    EncoderSettings,
    GeneratorSettings,
    NCSNppOptions,
    NCSNppSettings,
    TextUNetSettings,
    UNetSettings,
)
from pilotage.settings.base import Settings
from pilotage.settings.gan_recipe import AdversarialRecipe
from pilotage.settings.importing import (
    ImportDdganSettings,
    ImportGlideSettings,
    ImportSettings,
)
from pilotage.settings.measuring import (
    EvaluateSettings,
    GridSettings,
    LikelihoodSettings,
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
from pilotage.settings.study_settings import (
    AblationsStudy,
    ClassifierStudy,
    PUncondStudy,
    StudySettings,
    TrilemmaStudy,
)
from pilotage.settings.text_recipe import TextRecipe

__all__ = [
    "AblationsStudy",
    "AdversarialRecipe",
    "ClassifierRecipe",
    "ClassifierStudy",
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
    "NCSNppOptions",
    "NCSNppSettings",
    "PUncondStudy",
    "PromptSettings",
    "Recipe",
    "SampleSettings",
    "SamplingOptions",
    "SamplingSpec",
    "SeriesSettings",
    "Settings",
    "SpeedSettings",
    "StudySettings",
    "SweepSettings",
    "TextRecipe",
    "TextUNetSettings",
    "TrainingRecipe",
    "TrilemmaStudy",
    "UNetSettings",
    "conflict",
]
