"""The data of a run: what its recipe names, or a data set given in Python; and a few facts."""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from operator import index
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pilotage.conditions import CaptionSpace, Space
from pilotage.data import LabelledData, absolute, load_data, options_of
from pilotage.errors import PilotageError
from pilotage.models.run_folder import IMPORTED, OWN_DATA, DataFacts
from pilotage.settings import TrainingRecipe
from pilotage.utils.images import shape_text
from pilotage.utils.seeding import seeded

# why there are no images where a recipe's data has one of these names
_ABSENT = {
    IMPORTED: "imported without any images",
    OWN_DATA: "trained on a data set that was given in Python",
}
SAMPLED = 256

Datasets = Dataset[Any] | tuple[Dataset[Any], Dataset[Any]]


def load_recipe_data(
    recipe: TrainingRecipe,
    say: Callable[[str], None] = lambda _: None,
    trained_on: DataFacts | None = None,
) -> tuple[LabelledData, LabelledData]:
    """The training and the held-out images of a recipe.

    Args:
        recipe: what names them.
        say: receives one-line notes.
        trained_on: what a run's card says of its data, where they must be those.

    Raises:
        PilotageError: if there are none, or they cannot be read, or are not those.
    """
    if recipe.data in _ABSENT:
        raise PilotageError(
            f"data is {recipe.data!r}: the run was {_ABSENT[recipe.data]}; give data a folder."
        )
    found: tuple[LabelledData, LabelledData] = load_data(
        recipe.data, say=say, **options_of(recipe), **recipe.caption_settings
    )
    if trained_on is not None and found[0].fingerprint != trained_on.fingerprint:
        raise PilotageError(
            f"data is {recipe.data}: its images, classes or captions are not those that the run "
            "was trained on; give data the folder that has them."
        )
    return found


def placed(recipe: TrainingRecipe) -> TrainingRecipe:
    """The recipe with a path to its data that means the same from every folder."""
    return recipe.replace(data=absolute(recipe.data))


def facts(train: LabelledData, held_out: LabelledData, space: Space | None = None) -> DataFacts:
    """What a run's card says of its data, and of the vocabulary of its captions."""
    words = space if isinstance(space, CaptionSpace) else None
    return DataFacts(
        shape=train.shape,
        classes=train.classes,
        train=len(train),
        held_out=len(held_out),
        fingerprint=train.fingerprint,
        tokenizer=words and words.hash,
        vocabulary=words and words.size,
    )


class OwnData:
    """A map-style data set of pairs (image, condition), read as other data are.

    Args:
        dataset: its images are tensors or arrays (C, H, W) of one shape, uint8 or floating-point in
            [−1, 1]. An image that is drawn with torch's random numbers is another at each step, and
            the same again when a run goes on.
        classes: names of the labels that the conditions are. If None, those of the data set's
            attribute ``classes``, or else every number up to the largest label.
        like: other data, of whose shape the images must be; then there may be none.

    Raises:
        PilotageError: if the data set has no length, or what is in it is none of this.
    """

    in_memory = False

    def __init__(
        self, dataset: Any, classes: Sequence[str] | None = None, like: "OwnData | None" = None
    ) -> None:
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise PilotageError(
                f"data is {type(dataset).__name__}: it must be a data set with a length and "
                "numbered pairs (image, condition)."
            )
        self._dataset = dataset
        if not len(dataset) and like is None:
            raise PilotageError("data is empty: at least one pair (image, condition) is needed.")
        self._first: Tensor = self._pair(0)[0] if like is None else like._first
        self.batch(range(min(1, len(self))))  # is it of that shape?
        self.shape: tuple[int, ...] = tuple(self._first.shape)
        named = getattr(dataset, "classes", None) if classes is None else classes
        self.classes: tuple[str, ...] = tuple(
            map(str, range(int(self.labels.max()) + 1) if named is None else named)
        )

    def __len__(self) -> int:
        return len(self._dataset)

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> Tensor:
        """Images by number, (B, C, H, W), uint8 or float32."""
        return self.pairs(indices)[0]

    def pairs(self, indices: Sequence[int] | np.ndarray | Tensor) -> tuple[Tensor, list[Any]]:
        """Images by number, (B, C, H, W), and the condition of each.

        Raises:
            PilotageError: if one of them is no such pair, or its image of another shape or kind.
        """
        images, conditions = self._first.new_empty((len(indices), *self._first.shape)), []
        for row, number in enumerate(map(int, indices)):
            image, condition = self._pair(number)
            if _kind(image) != _kind(self._first):
                raise PilotageError(
                    f"data has {_kind(image)} at {number}, and {_kind(self._first)} first: all "
                    "images must have one shape and kind."
                )
            images[row] = image
            conditions.append(condition)
        return images, conditions

    @property
    def labels(self) -> np.ndarray:
        """The conditions of all, int64 (N,); PilotageError if one is no label."""
        wanted = "a label, 0, 1 and so on, unless a space is given"
        return np.array([index(label) for label in self._conditions(_is_label, wanted)])

    @cached_property
    def captions(self) -> tuple[str, ...]:
        """The conditions of all; PilotageError if one is no text."""
        return tuple(self._conditions(lambda condition: isinstance(condition, str), "a text"))

    @property
    def sample(self) -> np.ndarray:
        """The numbers of `SAMPLED` pairs, evenly spaced, that stand for all."""
        return np.linspace(0, len(self) - 1, min(len(self), SAMPLED)).astype(int)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of classes, shape and count, and of the sample."""
        with seeded(0, "fingerprint"):
            images, conditions = self.pairs(self.sample)
        told = [self.classes, self.shape, len(self), conditions]
        digest = hashlib.sha256(json.dumps(told, default=_plain).encode())
        digest.update(images.numpy().tobytes())
        return digest.hexdigest()

    def _conditions(self, fits: Callable[[Any], bool], wanted: str) -> list[Any]:
        found = [self._pair(k)[1] for k in range(len(self))]
        for k, condition in enumerate(found):
            if not fits(condition):
                raise PilotageError(
                    f"data has the condition {condition!r} at {k}: it must be {wanted}."
                )
        return found

    def _pair(self, number: int) -> tuple[Tensor, Any]:
        pair = self._dataset[number]
        image = pair[0] if isinstance(pair, tuple | list) and len(pair) == 2 else pair
        image = torch.from_numpy(image) if isinstance(image, np.ndarray) else image
        if not isinstance(image, Tensor) or image.ndim != 3 or not _in_range(image):
            raise PilotageError(
                f"data has {_kind(image)} at {number}: it must be a pair (image, condition), the "
                "image (C, H, W), uint8 or in [-1, 1]."
            )
        return image if image.dtype == torch.uint8 else image.float(), pair[1]


def own_data(data: Datasets, classes: Sequence[str] | None) -> tuple[OwnData, OwnData]:
    """A data set, or one to train on and one held out, as a recipe's data.

    Raises:
        PilotageError: as :class:`OwnData`, or if there are more of them.
    """
    parts = data if isinstance(data, tuple) else (data, ())
    if len(parts) != 2:
        raise PilotageError(f"data has {len(parts)} parts: give one data set, or two as a pair.")
    train = OwnData(parts[0], classes)
    return train, OwnData(parts[1], train.classes, like=train)


def _in_range(image: Tensor) -> bool:
    return image.dtype == torch.uint8 or bool(image.abs().max() <= 1)


def _kind(image: Any) -> str:
    """What an image is, in a message."""
    if not isinstance(image, Tensor):
        return f"a {type(image).__name__}"
    kind = f"{shape_text(image.shape)} of {str(image.dtype).removeprefix('torch.')}"
    return kind if _in_range(image) else f"{kind} from {image.min():g} to {image.max():g}"


def _is_label(condition: Any) -> bool:
    try:
        return index(condition) >= 0
    except TypeError:
        return False


def _plain(condition: Any) -> Any:
    """What stands for a condition, or a part of one, that JSON does not know."""
    return condition.tolist() if hasattr(condition, "tolist") else type(condition).__qualname__
