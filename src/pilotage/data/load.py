"""`load_data`: from what the user names to a training and a held-out set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, no_type_check

import numpy as np

from pilotage.data.columns import (
    UNLABELLED,
    Table,
    find_image_column,
    find_label_column,
    read_table,
)
from pilotage.data.images import EncodedImages, ImageData
from pilotage.data.shape import check_one_size, check_size, choose_shape
from pilotage.data.sources import open_source
from pilotage.data.split import check_split, hold_out
from pilotage.errors import PilotageError

if TYPE_CHECKING:
    from datasets import Dataset

Say = Callable[[str], None]

HELD_OUT_SPLITS = ("test", "validation", "val", "valid")


@no_type_check  # settings are judged here, in a sentence
def load_data(
    source: str | Path,
    size: int | Sequence[int] | None = None,
    held_out: float = 0.1,
    seed: int = 0,
    image_column: str | None = None,
    label_column: str | None = None,
    say: Say = print,
    mixed_sizes: bool = True,
) -> tuple[ImageData, ImageData]:
    """Load a training and a held-out set of labelled images.

    Args:
        source: One of

            - `"digits"`: scikit-learn's 8x8 digits (`./digits` names a folder of that name);
            - a folder of class folders; a folder with the folders `train` and `test` or
              `validation` (or their common other names), each of class folders; a folder of images,
              all of one class;
            - a `.parquet` file, or a folder of them, where `train*.parquet` with `test*.parquet`
              or `validation*.parquet` are splits and any other set of names is training data;
            - a Hugging Face hub id `name`, `owner/name` or `owner/name:config`, if no such path
              exists.
        size: Height and width in pixels, or one number for a square. None keeps the size that all
            images share, and takes the smallest height and the smallest width of mixed ones.
            Images of another size are resized to cover it and centre-cropped.
        held_out: Fraction of each class to hold out, from 0 up to, but not including, 1. Not used
            where the source has a labelled test or validation split.
        seed: Draws the held-out images.
        image_column: Column of encoded images, found by its type if None.
        label_column: Column of labels, found by its type or name if None. Whole numbers or
            strings; without any, all images are of class "all".
        say: Receives each one-line note once.
        mixed_sizes: Whether images of several sizes may be brought to one where size is None.

    Returns:
        The training and the held-out set, of the same classes and shape. Grey images have one
        channel, all others three; alpha is dropped, EXIF orientation applied. Classes are those
        that have training images.

    Raises:
        PilotageError: A setting is not allowed, or the source, a label or an image is not usable.
    """
    size = check_size(size)
    check_split(held_out, seed)
    say = once(say)
    splits = open_source(source, say)
    train, others = label_splits(splits, image_column, label_column, say)
    own = own_held_out(train, others, say)
    held_out = float(held_out)
    parts = carve(train, held_out, seed, say) if own is None else use_own(train, own, held_out, say)
    return decode_parts(parts, train.classes, size, say, mixed_sizes)


def once(say: Say) -> Say:
    """`say` without repetitions."""
    said: set[str] = set()

    def say_once(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    return say_once


def label_splits(
    splits: Mapping[str, Dataset], image_column: str | None, label_column: str | None, say: Say
) -> tuple[Table, list[Table]]:
    """The labelled training split, and the others that may serve as held-out, best first."""
    name = training_split(splits, say)
    features = splits[name].features
    image = find_image_column(features, image_column)
    label = find_label_column(features, label_column, image)
    names = [name, *(other for other in HELD_OUT_SPLITS if other in splits and other != name)]
    tables = [read_table(split, splits[split], image, label) for split in names]
    if label is None:
        say("data: no label column; all images are of class 'all'")
        tables = [as_one_class(table) for table in tables]
    return check_train(tables[0], say), tables[1:]


def training_split(splits: Mapping[str, Dataset], say: Say) -> str:
    """`train`, or the only split there is."""
    if "train" in splits:
        return "train"
    if len(splits) == 1:
        (name,) = splits
        say(f"data: the only split {name!r} is used for training")
        return name
    raise PilotageError(f"data: no split 'train' among {', '.join(map(repr, splits))}")


def as_one_class(table: Table) -> Table:
    """The same images, all of class "all"."""
    return Table(table.split, table.images, ("all",), np.zeros_like(table.codes))


def check_train(table: Table, say: Say) -> Table:
    """The training split with the classes that it has images of.

    Raises:
        PilotageError: It is empty, or a row has no label.
    """
    if not len(table.codes):
        raise PilotageError(f"data: split {table.split!r} has no images")
    unlabelled = np.flatnonzero(table.codes == UNLABELLED)
    if len(unlabelled):
        raise PilotageError(
            f"data: row {unlabelled[0]} of split {table.split!r} has no label (none or negative); "
            "every training image needs one"
        )
    present, codes = np.unique(table.codes, return_inverse=True)
    if absent := [repr(table.classes[code]) for code in absent_codes(table, present)]:
        say(f"data: classes without training images are left out: {', '.join(absent)}")
    classes = tuple(table.classes[code] for code in present)
    if len(classes) == 1:
        say(f"data: only one class ({classes[0]!r}); guidance has nothing to choose between")
    return Table(table.split, table.images, classes, codes.astype(np.int64))


def absent_codes(table: Table, present: np.ndarray) -> list[int]:
    """The codes of the classes that are named but not present."""
    return sorted(set(range(len(table.classes))) - set(present.tolist()))


def own_held_out(train: Table, others: list[Table], say: Say) -> Table | None:
    """The first of the source's own held-out splits that is labelled, by the training classes."""
    for table in others:
        if len(table.codes) and UNLABELLED not in table.codes:
            return match_classes(table, train.classes)
        say(f"data: split {table.split!r} is empty or has images without a label and is not used")
    return None


def match_classes(table: Table, classes: tuple[str, ...]) -> Table:
    """The same images, labelled by `classes`.

    Raises:
        PilotageError: An image is of another class.
    """
    index = {name: code for code, name in enumerate(classes)}
    codes = np.array([index.get(name, UNLABELLED) for name in table.classes])[table.codes]
    if UNLABELLED in codes:
        name = table.classes[table.codes[np.argmin(codes)]]
        raise PilotageError(
            f"data: class {name!r} of split {table.split!r} is unknown in the training split"
        )
    return Table(table.split, table.images, classes, codes)


Part = tuple[EncodedImages, np.ndarray]


def use_own(train: Table, own: Table, held_out: float, say: Say) -> tuple[Part, Part]:
    """All of the training split, and all of the source's own held-out split."""
    say(f"data: split {own.split!r} is the held-out set; held_out={held_out:g} is not used")
    return all_of(train), all_of(own)


def carve(train: Table, held_out: float, seed: int, say: Say) -> tuple[Part, Part]:
    """A part of the training split for training, the rest held out."""
    images, codes = all_of(train)
    kept, held = hold_out(codes, held_out, seed, say)
    return (images.select(kept), codes[kept]), (images.select(held), codes[held])


def all_of(table: Table) -> Part:
    """Every image of a split, with labels."""
    rows = np.arange(len(table.codes))
    return EncodedImages(table.images, rows, table.split), table.codes


def decode_parts(
    parts: tuple[Part, Part],
    classes: tuple[str, ...],
    size: tuple[int, int] | None,
    say: Say,
    mixed_sizes: bool,
) -> tuple[ImageData, ImageData]:
    """Bring the images of both parts to one shape."""
    headers = parts[0][0].headers() + parts[1][0].headers()
    if size is None and not mixed_sizes:
        check_one_size(headers)
    shape = choose_shape(headers, size, say)
    train, held = (images.load(labels, classes, shape) for images, labels in parts)
    return train, held
