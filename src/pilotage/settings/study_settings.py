"""What studies train and measure: a recipe, and what is varied about it."""

from typing import Annotated

from pydantic import Field

from pilotage.settings.base import UNNAMED, DeviceSettings, Folder, Fraction, Positive
from pilotage.settings.gan_recipe import AdversarialRecipe
from pilotage.settings.measuring import GridSettings, SeriesSettings, SpeedSettings
from pilotage.settings.recipe import ClassifierRecipe, Recipe


class StudySettings(DeviceSettings):
    """Where a study goes."""

    out: Folder = Field(description="For the runs and the report.")


class PUncondStudy(StudySettings):
    """Models of several dropping rates."""

    rates: tuple[Fraction, ...] = Field(
        (0.1, 0.2, 0.5), min_length=1, description="The dropping rates."
    )
    recipe: Annotated[Recipe, UNNAMED]
    sweep: GridSettings = GridSettings()


class ClassifierStudy(StudySettings):
    """Models, of which the conditional one drops labels at its p_uncond, and a classifier."""

    classifier_w: tuple[float, ...] = Field(
        (0.0, 1.0, 10.0), min_length=1, description="The classifier's strengths; 0 is no guidance."
    )
    recipe: Annotated[Recipe, UNNAMED]
    classifier: ClassifierRecipe = Field(
        ClassifierRecipe(),
        description="The classifier's recipe; its data and noise levels are the models'.",
    )
    sweep: GridSettings = GridSettings()


class TrilemmaStudy(StudySettings):
    """GANs of several numbers of steps, and a denoiser."""

    T: tuple[Positive, ...] = Field(
        (1, 2, 4, 8), min_length=1, description="Steps of the GANs, one each, for steps_T."
    )
    ancestral_steps: tuple[Positive, ...] = Field(
        (1000, 250), min_length=1, description="Numbers of ancestral steps of the denoiser."
    )
    ddim_steps: tuple[Positive, ...] = Field(
        (50, 10), description="Numbers of DDIM steps of the denoiser."
    )
    recipe: Annotated[AdversarialRecipe, UNNAMED]
    denoiser: Recipe = Field(
        Recipe(),
        description="The denoiser's recipe; its data, held_out, flip, seed and p_uncond are the "
        "GANs'.",
    )
    sweep: SeriesSettings = SeriesSettings()
    speed: SpeedSettings = SpeedSettings()


class AblationsStudy(StudySettings):
    """A GAN whole, and without each of its parts."""

    recipe: Annotated[AdversarialRecipe, UNNAMED]
    sweep: SeriesSettings = SeriesSettings()
