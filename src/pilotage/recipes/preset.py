"""A recipe under a name."""

from typing import NamedTuple

from pilotage.settings import ClassifierRecipe, TrainingRecipe


class Preset(NamedTuple):
    """A recipe under a name.

    Attributes:
        recipe: all settings.
        about: what it trains, in a line.
        score: what was measured with it, and by which command; empty until it was.
        classifier: all settings of the classifier that guides it, where there is one.
    """

    recipe: TrainingRecipe
    about: str
    score: str = ""
    classifier: ClassifierRecipe | None = None
