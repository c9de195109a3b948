"""The data of a run: what its recipe names, or a data set given in Python; and a few facts."""

import hashlib
import json
from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property
from operator import index
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pilotage.conditions import CaptionSpace, Space
from pilotage.data import LabelledData, load_data
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
    recipe: TrainingRecipe, say: Callable[[str], None] = lambda _: None
) -> tuple[LabelledData, LabelledData]:
    """The training and the held-out images of a recipe.

    Raises:
        PilotageError: if there are none, or they cannot be read.
    """
    if recipe.data in _ABSENT:
        raise PilotageError(
            f"data is {recipe.data!r}: the run was {_ABSENT[recipe.data]}; give data a folder."
        )
    found: tuple[LabelledData, LabelledData] = load_data(
        recipe.data,
        size=recipe.size,
        held_out=recipe.held_out,
        seed=recipe.seed,
        image_column=recipe.image_column,
        label_column=recipe.label_column,
        say=say,
        **recipe.caption_settings,
    )
    return found


def facts(train: "Examples", held_out: "Examples", space: Space | None = None) -> DataFacts:
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
    """A map-style data set of pairs (image, condition), read as :class:`LabelledData` is.

    Args:
        dataset: its images are tensors or arrays (C, H, W) of one shape, uint8 or floating-point in
            [−1, 1]. An image that is drawn with torch's random numbers is another at each step, and
            the same again when a run goes on.
        classes: names of the labels that the conditions are. If None, those of the data set's
            attribute ``classes``, or else every number up to the largest label.

    Raises:
        PilotageError: if the data set has no length, or what is in it is none of this.
    """

    def __init__(self, dataset: Any, classes: Sequence[str] | None = None) -> None:
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise PilotageError(
                f"data is {type(dataset).__name__}: it must be a data set with a length and "
                "numbered pairs (image, condition)."
            )
        if not len(dataset):
            raise PilotageError("data is empty: at least one pair (image, condition) is needed.")
        self._dataset = dataset
        self._first = self._pair(0)[0]
        self.shape: tuple[int, ...] = tuple(self._first.shape)
        named = getattr(dataset, "classes", None) if classes is None else classes
        self.classes = self._numbered() if named is None else tuple(map(str, named))

    def __len__(self) -> int:
        return len(self._dataset)

    def batch(self, indices: np.ndarray) -> Tensor:
        """Images by number, (B, C, H, W), uint8 or float32."""
        return self.pairs(indices)[0]

    def pairs(self, indices: np.ndarray) -> tuple[Tensor, list[Any]]:
        """Images by number, (B, C, H, W), and the condition of each.

        Raises:
            PilotageError: if one of them is no such pair, or its image of another shape or kind.
        """
        images, conditions = zip(*(self._pair(int(k)) for k in indices), strict=True)
        for k, image in zip(indices, images, strict=True):
            if (image.shape, image.dtype) != (self._first.shape, self._first.dtype):
                raise PilotageError(
                    f"data has {_kind(image)} at {k} and {_kind(self._first)} at 0: all images "
                    "must have one shape and kind."
                )
        return torch.stack(images), list(conditions)

    def emptied(self) -> "OwnData":
        """None of the images, in place of those that others hold out."""
        nothing = copy(self)
        nothing._dataset = ()
        return nothing

    @cached_property
    def captions(self) -> tuple[str, ...]:
        """The conditions, all of which must be texts; PilotageError if one is not."""
        found = [self._pair(k)[1] for k in range(len(self))]
        for caption in found:
            if not isinstance(caption, str):
                raise PilotageError(f"data has the condition {caption!r}: captions are needed.")
        return tuple(found)

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

    def _pair(self, number: int) -> tuple[Tensor, Any]:
        pair = self._dataset[number]
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise PilotageError(
                f"data has {_kind(pair)} at {number}: pairs (image, condition) are needed."
            )
        image = torch.from_numpy(pair[0]) if isinstance(pair[0], np.ndarray) else pair[0]
        if not isinstance(image, Tensor) or image.ndim != 3:
            raise PilotageError(
                f"data has {_kind(image)} at {number}: an image must be a tensor or an array of "
                "three dimensions (C, H, W)."
            )
        if image.dtype == torch.uint8:
            return image, pair[1]
        if not image.abs().max() <= 1:
            raise PilotageError(
                f"data has values from {image.min():g} to {image.max():g} at {number}: they must "
                "lie in [-1, 1], or be uint8."
            )
        return image.float(), pair[1]

    def _numbered(self) -> tuple[str, ...]:
        """Names of the labels that all conditions must be."""
        most = -1
        for k in range(len(self)):
            label = self._pair(k)[1]
            if not hasattr(label, "__index__") or index(label) < 0:
                raise PilotageError(
                    f"data has the condition {label!r} at {k}: without a space it must be a label, "
                    "0, 1, and so on."
                )
            most = max(most, index(label))
        return tuple(map(str, range(most + 1)))


def own_data(data: Datasets, classes: Sequence[str] | None) -> tuple[OwnData, OwnData]:
    """A data set, or one to train on and one held out, as a recipe's data.

    Raises:
        PilotageError: as :class:`OwnData`, or if the two differ in their images' shape.
    """
    if not isinstance(data, tuple):
        train = OwnData(data, classes)
        return train, train.emptied()
    if len(data) != 2:
        raise PilotageError(f"data has {len(data)} parts: give one data set, or two as a pair.")
    train = OwnData(data[0], classes)
    held_out = OwnData(data[1], train.classes)
    if held_out.shape != train.shape:
        raise PilotageError(
            f"data has images of {shape_text(train.shape)}, and of {shape_text(held_out.shape)} "
            "held out: all must have one shape."
        )
    return train, held_out


def _kind(image: Any) -> str:
    """What an image is, in a message."""
    if not isinstance(image, Tensor):
        return f"a {type(image).__name__}"
    return f"{shape_text(image.shape)} of {str(image.dtype).removeprefix('torch.')}"


def _plain(condition: Any) -> Any:
    """What stands for a condition, or a part of one, that JSON does not know."""
    return condition.tolist() if hasattr(condition, "tolist") else type(condition).__qualname__


Examples = LabelledData | OwnData


def captions_of(data: Examples) -> tuple[str, ...]:
    """The captions of a data set.

    Raises:
        PilotageError: it has none.
    """
    captions: tuple[str, ...] | None = getattr(data, "captions", None)
    if captions is None:
        raise PilotageError("data has no captions, which the recipe needs.")
    return captions


def first_conditions(data: Examples, count: int) -> list[Any]:
    """The first conditions of a data set, one by one."""
    numbers = np.arange(min(count, len(data)))
    if isinstance(data, OwnData):
        return data.pairs(numbers)[1]
    return list(data.labels[numbers])
