"""What studies train and measure: a recipe, and what is varied about it."""

from pathlib import Path

from pydantic import Field

from pilotage.settings.base import Fraction, Positive, Settings
from pilotage.settings.gan_recipe import AdversarialRecipe
from pilotage.settings.measuring import GridSettings, SeriesSettings, SpeedSettings
from pilotage.settings.recipe import ClassifierRecipe, Recipe


class StudySettings(Settings):
    """Where a study goes."""

    out: Path = Field(description="The folder of the runs and the report.")


class PUncondStudy(StudySettings, Recipe):
    """Models of several dropping rates."""

    rates: tuple[Fraction, ...] = Field(
        (0.1, 0.2, 0.5), min_length=1, description="The dropping rates."
    )
    sweep: GridSettings = GridSettings()


class ClassifierStudy(StudySettings, Recipe):
    """Models, of which the conditional one drops labels at its p_uncond, and a classifier."""

    classifier: ClassifierRecipe = Field(
        ClassifierRecipe(),
        description="The classifier's recipe; its data and noise levels are the models'.",
    )
    classifier_w: tuple[float, ...] = Field(
        (0.0, 1.0, 10.0), min_length=1, description="The classifier's strengths; 0 is no guidance."
    )
    sweep: GridSettings = GridSettings()


class ComparisonSettings(StudySettings):
    """Where a study goes that compares its runs."""

    out: Path = Field(description="The folder of the runs, the comparison and the report.")


class TrilemmaStudy(ComparisonSettings, AdversarialRecipe):
    """GANs of several numbers of steps, and a denoiser."""

    T: tuple[Positive, ...] = Field(
        (1, 2, 4, 8), min_length=1, description="Steps of the GANs, one each, for steps_T."
    )
    denoiser: Recipe = Field(
        Recipe(),
        description="The denoiser's recipe; its data, held_out, flip, seed and p_uncond are the "
        "GANs'.",
    )
    ancestral_steps: tuple[Positive, ...] = Field(
        (1000, 250), min_length=1, description="Numbers of ancestral steps of the denoiser."
    )
    ddim_steps: tuple[Positive, ...] = Field(
        (50, 10), description="Numbers of DDIM steps of the denoiser."
    )
    sweep: SeriesSettings = SeriesSettings()
    speed: SpeedSettings = SpeedSettings()


class AblationsStudy(ComparisonSettings, AdversarialRecipe):
    """A GAN whole, and without each of its parts."""

    sweep: SeriesSettings = SeriesSettings()
