"""`load_data`: from what the user names to a training and a held-out set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, no_type_check

import numpy as np

from pilotage.data.captions import (
    LOOKED_FOR,
    CaptionRequest,
    check_columns_differ,
    say_gaps,
)
from pilotage.data.columns import Table
from pilotage.data.common_shape import check_one_size, check_size, choose_shape
from pilotage.data.image_data import Captions, EncodedImages, ImageData
from pilotage.data.labelled_splits import Asked, label_splits
from pilotage.data.points import PointData, is_mixture, load_points
from pilotage.data.shapes import load_shapes
from pilotage.data.sources import open_source
from pilotage.data.split import check_split, hold_out
from pilotage.data.stacked import PREFIX, is_stacked, stack
from pilotage.errors import PilotageError

Say = Callable[[str], None]

HELD_OUT = 0.1


@no_type_check  # settings are judged here, in a sentence
def load_data(
    source: str | Path,
    size: int | Sequence[int] | None = None,
    held_out: float = HELD_OUT,
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
            - `"shapes"`: captioned shapes, see `load_shapes`, with no other settings than size and
              seed;
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
            where the source has a labelled test or validation split. Of captioned images whose
            classes are all too small, and were not asked for, it is the fraction of all.
        seed: Draws the held-out images.
        image_column: Column of encoded images, found by its type if None.
        label_column: Column of labels, found by its type or name if None. Whole numbers or
            strings; without any, all images are of class "all". Where captions are wanted and no
            column is named, labels that cannot be used count as none.
        say: Receives each one-line note once.
        mixed_sizes: Whether images of several sizes may be brought to one where size is None.
        caption_column: Column of captions in Parquet files, a hub data set or the metadata of an
            image folder, found by its name or type if None. Strings, or lists of strings, of which
            the first counts. Naming one asks for captions.
        captions: Whether captions are wanted. In an image folder they are in `metadata.csv` or
            `metadata.jsonl` (column `file_name`, relative to that file) or in a text file beside
            each image; folders named like splits are then splits even without class folders, and
            images beside folders are taken with those in them, all of one class.

    Returns:
        The training and the held-out set, of the same classes and shape. Grey images have one
        channel, all others three; alpha is dropped, EXIF orientation applied. Classes are those
        that the source's training split has images of. A missing caption is told and becomes the
        empty one.

    Raises:
        PilotageError: A setting is not allowed, the source, a label, a caption or an image is not
            usable, or captions are wanted and no image has one.
    """
    size = check_size(size)
    check_split(held_out, seed)
    say = once(say)
    check_columns_differ(caption_column, label_column)
    wanted = CaptionRequest(caption_column) if captions or caption_column is not None else None
    columns = {"image_column": image_column, "label_column": label_column}
    if source == "shapes":
        changed = None if held_out == HELD_OUT else held_out
        refuse_for_shapes(held_out=changed, caption_column=caption_column, **columns)
        return load_shapes(size, seed=seed)
    if wanted is not None and (is_mixture(source) or is_stacked(source)):
        raise PilotageError(f"data: {source!r} has no captions; {LOOKED_FOR}")
    if is_mixture(source):
        return load_points(source, float(held_out), seed, say, size=size, **columns)
    if is_stacked(source):
        base = source.removeprefix(PREFIX)
        planes = load_data(base, size, held_out, seed, image_column, label_column, say, mixed_sizes)
        return stack(*planes, seed, say)
    splits = open_source(source, say, wanted)
    asked = Asked(image_column, label_column, wanted)
    train, own = label_splits(splits, asked, say)
    if wanted is not None:
        say_gaps([train] if own is None else [train, own], say)
    if own is None:
        parts = carve(train, float(held_out), seed, say, by_class=asked.needs_labels)
    else:
        parts = use_own(train, own, float(held_out), say)
    return decode_parts(parts, train.classes, size, say, mixed_sizes)


def refuse_for_shapes(**settings: Any) -> None:
    """Raise PilotageError unless all `settings` are None: shapes are drawn, not read."""
    for setting, value in settings.items():
        if value is not None:
            raise PilotageError(
                f"data: {setting}={value!r} is not allowed with 'shapes', whose images, captions, "
                "classes and held-out images are drawn; leave it out"
            )


def once(say: Say) -> Say:
    """`say` without repetitions."""
    said: set[str] = set()

    def say_once(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    return say_once


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


def carve(train: Table, held_out: float, seed: int, say: Say, by_class: bool) -> tuple[Part, Part]:
    """A part of the training split for training, the rest held out.

    Unless `by_class`, it is drawn over all images where every class is too small to give any.
    """
    part = all_of(train)
    kept, held = hold_out(part.codes, held_out, seed, say)
    if not len(held) and not by_class:
        kept, held = hold_out(np.zeros_like(part.codes), held_out, seed, lambda _: None)
        if len(held):
            say("data: the held-out images are drawn over all classes together")
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
