"""The data of a recipe: loaded, and in a few facts."""

from collections.abc import Callable

from pilotage.conditions import CaptionSpace
from pilotage.data import LabelledData, load_data
from pilotage.errors import PilotageError
from pilotage.models.run_folder import IMPORTED, DataFacts
from pilotage.settings import TrainingRecipe


def load_recipe_data(
    recipe: TrainingRecipe, say: Callable[[str], None] = lambda _: None
) -> tuple[LabelledData, LabelledData]:
    """The training and the held-out images of a recipe.

    Raises:
        PilotageError: if there are none, or they cannot be read.
    """
    if recipe.data == IMPORTED:
        raise PilotageError(
            f"data is {IMPORTED!r}: the run was imported without any images; give data a folder."
        )
    return load_data(
        recipe.data,
        size=recipe.size,
        held_out=recipe.held_out,
        seed=recipe.seed,
        image_column=recipe.image_column,
        label_column=recipe.label_column,
        say=say,
        **recipe.caption_settings,
    )


def facts(
    train_data: LabelledData, held_out: LabelledData, space: CaptionSpace | None = None
) -> DataFacts:
    """What a run's card says of its data, and of the vocabulary of its captions."""
    return DataFacts(
        shape=train_data.shape,
        classes=train_data.classes,
        train=len(train_data),
        held_out=len(held_out),
        fingerprint=train_data.fingerprint,
        tokenizer=space and space.hash,
        vocabulary=space and space.size,
    )
