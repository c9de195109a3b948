"""The run folder: where each file is, the card that says what the run is, and its weights.

recipe.yaml         the card: format, recipe, data facts
model.safetensors   the latest weights           ema.safetensors   their average
                    (discriminator.safetensors   of a GAN)
state/step-N/       all that an exact resume needs
metrics.jsonl       samples/
conditions/         the condition space, unless it is that of labels
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import yaml
from pydantic import Field
from torch import Tensor, nn

from pilotage.errors import PilotageError
from pilotage.settings import Settings, TrainingRecipe
from pilotage.utils.files import file_hash, read_metadata, read_tensors, write_text
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


def read_card(folder: Path, name: str = "run") -> Card:
    """The card of a run folder.

    Raises:
        PilotageError: if the folder or its card is missing or damaged, or was written by a newer
            version.
    """
    path = folder / "recipe.yaml"
    if not folder.is_dir():
        raise PilotageError(f"{name} is {folder}: there is no such folder.")
    if not path.is_file():
        raise PilotageError(
            f"{name} is {folder}: it has no recipe.yaml, so it is not a run folder."
        )
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


def read_recipe(path: Path) -> TrainingRecipe:
    """The recipe of a file, YAML or JSON, of a run's card or alone.

    Raises:
        PilotageError: if there is no such file, a setting does not exist or its value is not
            allowed.
    """
    if not path.is_file():
        raise PilotageError(f"config is {path}: it must be a file of settings.")
    content = _parse(path)
    try:
        return TrainingRecipe.from_file(content.get("recipe", content))
    except (TypeError, AttributeError):
        raise PilotageError(f"config is {path}: its recipe must be settings by name.") from None
    except PilotageError as error:
        raise PilotageError(f"config is {path}: {error}") from None


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of the encoding too
        raise PilotageError(f"{path} is not readable as YAML settings ({error}).") from error
    if not isinstance(content, dict):
        raise PilotageError(f"{path} is not readable as YAML settings.")
    return content


def trained(folder: Path) -> bool:
    """Whether a run folder has weights."""
    return bool(checkpoints(folder)) or (folder / "model.safetensors").exists()


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


# --- weights -------------------------------------------------------------------------------------


def stored_step(folder: Path, weights: str) -> int:
    """The training step of a run's weights; a damaged run is refused whichever are wanted.

    Raises:
        PilotageError: if either weight file is missing or damaged.
    """
    steps = {name: _step(folder / f"{name}.safetensors") for name in ("model", "ema")}
    return steps[weights]


def _step(path: Path) -> int:
    step = str(read_metadata(path).get("step"))
    if not step.isdecimal():
        raise PilotageError(f"{path} is damaged: it does not say its training step.")
    return int(step)


def weights_hash(folder: Path, weights: str = "ema") -> str:
    """SHA-256 (hex) of a run's weight file."""
    return file_hash(folder / f"{weights}.safetensors")


def read_finite(path: Path) -> dict[str, Tensor]:
    """The tensors of a weight file.

    Raises:
        PilotageError: if the file is missing or damaged, or a number in it is NaN or infinite.
    """
    tensors = read_tensors(path)
    wrong = not_finite(tensors)
    if wrong is not None:
        raise PilotageError(f"{path} is damaged: {wrong} has numbers that are not finite.")
    return tensors


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that has NaN or infinity, or None."""
    return next((name for name, x in tensors.items() if not bool(torch.isfinite(x).all())), None)


def fill(network: nn.Module, path: Path) -> None:
    """Put a file's tensors into a network.

    Raises:
        PilotageError: if they are not exactly the network's, or not finite.
    """
    tensors, own = read_finite(path), network.state_dict()
    wrong = [n for n in own.keys() | tensors.keys() if _shape(own, n) != _shape(tensors, n)]
    if wrong:
        raise PilotageError(
            f"{path} does not hold this run's weights: {', '.join(sorted(wrong)[:3])} "
            f"({len(wrong)} in all) are missing, unknown or of another shape."
        )
    network.load_state_dict(tensors)


def fill_from(network: nn.Module, path: Path, kept: dict[int, int]) -> None:
    """Start a network from another run's weights.

    Args:
        network: any; its labels may be others than that run's.
        path: a weight file of the run.
        kept: labels of the network that the run has too, and their number there; the other rows
            of the table of labels stay as they are.

    Raises:
        PilotageError: if any other tensor is missing, unknown or of another shape.
    """
    tensors, own = read_finite(path), network.state_dict()
    tables = {name for name in own.keys() | tensors.keys() if name.endswith("label.weight")}
    for name in tables:
        old, new = tensors.pop(name, None), own.get(name)
        if new is not None:
            tensors[name] = table = new.clone()
            if old is not None and old.shape[1:] == new.shape[1:]:
                table[list(kept)] = old[list(kept.values())]
    wrong = [n for n in own.keys() | tensors.keys() if _shape(own, n) != _shape(tensors, n)]
    if wrong:
        raise PilotageError(
            f"start_from is {path.parent}: {', '.join(sorted(wrong)[:3])} ({len(wrong)} in all) of "
            "its weights do not fit the recipe's network."
        )
    network.load_state_dict(tensors)


def _shape(tensors: dict[str, Tensor], name: str) -> torch.Size | None:
    return tensors[name].shape if name in tensors else None
