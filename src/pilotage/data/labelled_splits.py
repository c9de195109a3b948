"""From a source's splits to the one for training and its own held-out one, of the same classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pilotage.data.captions import (
    CAPTION_OF_FILE,
    CaptionRequest,
    add_captions,
    check_captions,
    find_caption_column,
    known_caption_column,
)
from pilotage.data.classes import as_one_class, check_train, match_classes
from pilotage.data.columns import (
    UNLABELLED,
    LabelError,
    Table,
    add_labels,
    find_image_column,
    find_label_column,
    read_table,
)
from pilotage.errors import PilotageError

if TYPE_CHECKING:
    from datasets import Dataset, Features

Say = Callable[[str], None]

HELD_OUT_SPLITS = ("test", "validation", "val", "valid")


class Asked(NamedTuple):
    """The columns that were asked for, each None if it is to be found.

    Attributes:
        image: The one of images.
        label: The one of labels.
        captions: The request for captions; None where they are not wanted.
    """

    image: str | None
    label: str | None
    captions: CaptionRequest | None

    @property
    def needs_labels(self) -> bool:
        """Whether labels matter: beside captions they do so only by their column."""
        return self.captions is None or self.label is not None


def label_splits(
    splits: Mapping[str, Dataset], asked: Asked, say: Say
) -> tuple[Table, Table | None]:
    """The training split, and the source's own held-out split or None.

    Where labels are not needed and cannot be used, all images are of one class, which is said.

    Raises:
        PilotageError: A column, an image or a caption is missing, or a label that is needed.
    """
    names = split_names(splits, say)
    features = splits[names[0]].features
    image = find_image_column(features, asked.image)
    tables = [read_table(name, splits[name], image) for name in names]
    caption = caption_column(features, image, asked, say)
    if caption is not None:
        tables = [add_captions(table, splits[table.split], caption, say) for table in tables]
        check_captions(tables[0])
    label = None
    notes: list[str] = []
    try:
        label = find_label_column(features, asked.label, (image, caption))
        if label is None:
            notes.append("data: no label column; all images are of class 'all'")
        found = label_tables(tables, splits, label, notes.append)
    except LabelError as error:
        if asked.needs_labels:
            raise
        column = None if caption == CAPTION_OF_FILE else label  # folders have no such column
        notes = [note_unused(column, error.why)]
        found = label_tables(tables, splits, None, notes.append)
    for note in notes:
        say(note)
    return found


def note_unused(column: str | None, why: str) -> str:
    """The note that labels, of a column if it is known, count as none."""
    of = "" if column is None else f" of column {column!r}"
    return f"data: the labels{of} are not used, as {why}; all images are of class 'all'"


def caption_column(features: Features, image: str, asked: Asked, say: Say) -> str | None:
    """The column with captions; None where they are not wanted."""
    if asked.captions is None:
        return None
    known = known_caption_column(features, asked.captions.column)
    return known or find_caption_column(features, image, asked.label, say)


def split_names(splits: Mapping[str, Dataset], say: Say) -> list[str]:
    """The split for training, then those that may serve as held-out, best first."""
    train = training_split(splits, say)
    return [train, *(name for name in HELD_OUT_SPLITS if name in splits and name != train)]


def training_split(splits: Mapping[str, Dataset], say: Say) -> str:
    """`train`, or the only split there is."""
    if "train" in splits:
        return "train"
    if len(splits) == 1:
        (name,) = splits
        say(f"data: the only split {name!r} is used for training")
        return name
    raise PilotageError(f"data: no split 'train' among {', '.join(map(repr, splits))}")


def label_tables(
    tables: Sequence[Table], splits: Mapping[str, Dataset], label: str | None, say: Say
) -> tuple[Table, Table | None]:
    """The first table, labelled by a column or all of one class, and a held-out one by its classes.

    Raises:
        LabelError: The labels of a table cannot be used.
    """
    if label is None:
        tables = [as_one_class(table) for table in tables]
    else:
        tables = [add_labels(table, splits[table.split], label) for table in tables]
    train = check_train(tables[0], say)
    return train, own_held_out(train, tables[1:], say)


def own_held_out(train: Table, others: Sequence[Table], say: Say) -> Table | None:
    """The first of the source's own held-out splits that is labelled, by the training classes."""
    for table in others:
        if len(table.codes) and UNLABELLED not in table.codes:
            return match_classes(table, train.classes)
        say(f"data: split {table.split!r} is empty or has images without a label and is not used")
    return None
