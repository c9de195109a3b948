"""The run folder: where each file is, and the card that says what the run is.

recipe.yaml         the card: format, recipe, data facts
model.safetensors   the latest weights           ema.safetensors   their average
                    (discriminator.safetensors   of a GAN)
state/step-N/       all that an exact resume needs
metrics.jsonl       samples/
conditions/         the condition space, unless it is that of labels
"""

import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import Field

from pilotage.errors import PilotageError
from pilotage.settings import Settings, TrainingRecipe
from pilotage.utils.files import write_text
from pilotage.utils.parsing import parse_yaml
from pilotage.version import __version__

FORMAT = 2
CONDITIONS = "conditions"  # the folder of the condition space
IMPORTED = "imported"  # in place of the data of weights that came without any
OWN_DATA = "own"  # in place of data that was given in Python


class DataFacts(Settings):
    """What the data turned out to be.

    Attributes:
        shape: of an image, (C, H, W), or of a point, (D,).
        classes: their names; label k is classes[k]. Empty for imported unconditional weights.
        train: number of training images; 0 for imported weights, whose data is not there.
        held_out: number of images kept aside.
        fingerprint: of the training images, labels and captions.
        tokenizer: SHA-256 of the tokenizer or frozen encoder that captions were told by, and
        vocabulary: number of its ids, or width of its features; None without captions.
    """

    shape: tuple[int, ...]
    classes: tuple[str, ...]
    train: Annotated[int, Field(ge=0)]
    held_out: Annotated[int, Field(ge=0)]
    fingerprint: str
    tokenizer: str | None = None
    vocabulary: int | None = None

    @property
    def points(self) -> bool:
        """Whether the data are points instead of images."""
        return len(self.shape) == 1


class Card(NamedTuple):
    """All that is needed to rebuild a run's model, beside its weights.

    Attributes:
        recipe: a :class:`~pilotage.settings.recipe.TrainingRecipe` of the class that was trained.
        data: what its data turned out to be.
        network: the class of a network that was given in Python, which is not rebuilt from here.
    """

    recipe: Any
    data: DataFacts
    network: str | None = None


def write_card(folder: Path, card: Card) -> None:
    """Write ``recipe.yaml``."""
    content = {
        "version": FORMAT,
        "written_by": f"pilotage {__version__}",
        "recipe": card.recipe.model_dump(mode="json"),
        "data": card.data.model_dump(mode="json"),
        **({} if card.network is None else {"network": card.network}),
    }
    write_text(folder / "recipe.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def read_card(folder: Path) -> Card:
    """The card of a run folder.

    Raises:
        PilotageError: if the folder or its card is missing or damaged, or was written by a newer
            version.
    """
    path = folder / "recipe.yaml"
    if not folder.is_dir():
        raise PilotageError(f"run is {folder}: there is no such folder.")
    if not path.is_file():
        raise PilotageError(f"run is {folder}: it has no recipe.yaml, so it is not a run folder.")
    content = _parse(path)
    version = content.get("version")
    if not isinstance(version, int):
        raise PilotageError(f"{path} has version {version!r}: a whole number is needed.")
    if version > FORMAT:
        raise PilotageError(
            f"{path} has version {version}: this Pilotage {__version__} reads versions up "
            f"to {FORMAT}, so a newer Pilotage is needed."
        )
    try:
        recipe = TrainingRecipe.from_file(content["recipe"])
        return Card(recipe, DataFacts(**content["data"]), content.get("network"))
    except (KeyError, TypeError, AttributeError) as error:
        raise PilotageError(f"{path} is incomplete: {error} is missing or malformed.") from None
    except PilotageError as error:
        raise PilotageError(f"{path}: {error}") from None


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of the encoding too
        raise PilotageError(f"{path} is not readable as YAML settings ({error}).") from error
    if not isinstance(content, dict):
        raise PilotageError(f"{path} is not readable as YAML settings.")
    return content


def state_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return folder / "state" / f"step-{step:09d}"


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(step, folder) of every complete checkpoint, oldest first."""
    found = []
    for path in (folder / "state").glob("step-*"):
        match = re.fullmatch(r"step-(\d+)", path.name)
        if match:
            found.append((int(match[1]), path))
    return sorted(found)
