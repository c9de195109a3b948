"""`load_data`: from what the user names to a training and a held-out set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, no_type_check

import numpy as np

from pilotage.data.captions import (
    LOOKED_FOR,
    CaptionRequest,
    add_captions,
    check_captions,
    find_caption_column,
    known_caption_column,
    say_gaps,
)
from pilotage.data.classes import as_one_class, check_train, match_classes
from pilotage.data.columns import (
    UNLABELLED,
    Table,
    find_image_column,
    find_label_column,
    read_table,
)
from pilotage.data.images import Captions, EncodedImages, ImageData
from pilotage.data.points import PointData, is_mixture, load_points
from pilotage.data.shape import check_one_size, check_size, choose_shape
from pilotage.data.shapes import load_shapes
from pilotage.data.sources import open_source
from pilotage.data.split import check_split, hold_out
from pilotage.data.stacked import PREFIX, is_stacked, stack
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
    caption_column: str | None = None,
    captions: bool = False,
) -> tuple[ImageData, ImageData] | tuple[PointData, PointData]:
    """Load a training and a held-out set of labelled images, with captions if wanted, or of points.

    Args:
        source: One of

            - `"digits"`: scikit-learn's 8x8 digits (`./digits` names a folder of that name);
            - a folder of class folders; a folder with the folders `train` and `test` or
              `validation` (or their common other names), each of class folders; a folder of images,
              all of one class;
            - a `.parquet` file, or a folder of them, where `train*.parquet` with `test*.parquet`
              or `validation*.parquet` are splits and any other set of names is training data;
            - a Hugging Face hub id `name`, `owner/name` or `owner/name:config`, if no such path
              exists;
            - `"stacked:SOURCE"`: three random grey images of any of these as the channels of one,
              see `StackedData`; all other settings are those of SOURCE;
            - `"25-gaussians"`: points in the plane around a grid of 5x5 means, see `PointData`.
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
        caption_column: Column of captions in Parquet files, a hub data set or the metadata of an
            image folder, found by its name or type if None. Strings, or lists of strings, of which
            the first counts. Naming one asks for captions.
        captions: Whether captions are wanted. In an image folder they are in `metadata.csv` or
            `metadata.jsonl` (column `file_name`, relative to that file) or in a text file beside
            each image; folders named like splits are then splits even without class folders.

    Returns:
        The training and the held-out set, of the same classes and shape. Grey images have one
        channel, all others three; alpha is dropped, EXIF orientation applied. Classes are those
        that have training images. A missing caption is told and becomes the empty one.

    Raises:
        PilotageError: A setting is not allowed, the source, a label, a caption or an image is not
            usable, or captions are wanted and no image has one.
    """
    size = check_size(size)
    check_split(held_out, seed)
    say = once(say)
    wanted = CaptionRequest(caption_column) if captions or caption_column is not None else None
    if source == "shapes":
        return load_shapes(size, seed=seed)
    if wanted is not None and (is_mixture(source) or is_stacked(source)):
        raise PilotageError(f"data: {source!r} has no captions; {LOOKED_FOR}")
    if is_mixture(source):
        asked = {"size": size, "image_column": image_column, "label_column": label_column}
        return load_points(source, float(held_out), seed, say, **asked)
    if is_stacked(source):
        base = source.removeprefix(PREFIX)
        planes = load_data(base, size, held_out, seed, image_column, label_column, say, mixed_sizes)
        return stack(*planes, seed, say)
    splits = open_source(source, say, wanted)
    train, others = label_splits(splits, image_column, label_column, say, wanted)
    own = own_held_out(train, others, say)
    if wanted is not None:
        say_gaps([train] if own is None else [train, own], say)
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
    splits: Mapping[str, Dataset],
    image_column: str | None,
    label_column: str | None,
    say: Say,
    wanted: CaptionRequest | None,
) -> tuple[Table, list[Table]]:
    """The labelled training split, and the others that may serve as held-out, best first."""
    name = training_split(splits, say)
    features = splits[name].features
    image = find_image_column(features, image_column)
    caption = None if wanted is None else known_caption_column(features, wanted.column)
    label = find_label_column(features, label_column, (image, caption))
    names = [name, *(other for other in HELD_OUT_SPLITS if other in splits and other != name)]
    tables = [read_table(split, splits[split], image, label) for split in names]
    if label is None:
        say("data: no label column; all images are of class 'all'")
        tables = [as_one_class(table) for table in tables]
    if wanted is not None:
        caption = caption or find_caption_column(features, (image, label), say)
        tables = [add_captions(table, splits[table.split], caption, say) for table in tables]
        check_captions(tables[0])
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


def own_held_out(train: Table, others: list[Table], say: Say) -> Table | None:
    """The first of the source's own held-out splits that is labelled, by the training classes."""
    for table in others:
        if len(table.codes) and UNLABELLED not in table.codes:
            return match_classes(table, train.classes)
        say(f"data: split {table.split!r} is empty or has images without a label and is not used")
    return None


class Part(NamedTuple):
    """Images of a split, with their labels and captions."""

    images: EncodedImages
    codes: np.ndarray
    captions: Captions

    def select(self, rows: np.ndarray) -> Part:
        """Some of them."""
        captions = None if self.captions is None else tuple(self.captions[row] for row in rows)
        return Part(self.images.select(rows), self.codes[rows], captions)


def use_own(train: Table, own: Table, held_out: float, say: Say) -> tuple[Part, Part]:
    """All of the training split, and all of the source's own held-out split."""
    say(f"data: split {own.split!r} is the held-out set; held_out={held_out:g} is not used")
    return all_of(train), all_of(own)


def carve(train: Table, held_out: float, seed: int, say: Say) -> tuple[Part, Part]:
    """A part of the training split for training, the rest held out."""
    part = all_of(train)
    kept, held = hold_out(part.codes, held_out, seed, say)
    return part.select(kept), part.select(held)


def all_of(table: Table) -> Part:
    """Every image of a split; what has no caption gets the empty one."""
    images = EncodedImages(table.images, np.arange(len(table.codes)), table.split)
    captions = None if table.captions is None else tuple(text or "" for text in table.captions)
    return Part(images, table.codes, captions)


def decode_parts(
    parts: tuple[Part, Part],
    classes: tuple[str, ...],
    size: tuple[int, int] | None,
    say: Say,
    mixed_sizes: bool,
) -> tuple[ImageData, ImageData]:
    """Bring the images of both parts to one shape."""
    headers = parts[0].images.headers() + parts[1].images.headers()
    if size is None and not mixed_sizes:
        check_one_size(headers)
    shape = choose_shape(headers, size, say)
    train, held = (
        part.images.load(part.codes, classes, shape, captions=part.captions) for part in parts
    )
    return train, held
