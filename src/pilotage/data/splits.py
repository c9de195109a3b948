"""From a source's splits to a training and a held-out set of images, alike in classes and shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pilotage.data.captions import (
    CAPTION_OF_FILE,
    add_captions,
    check_captions,
    find_caption_column,
    say_gaps,
)
from pilotage.data.columns import (
    UNLABELLED,
    LabelError,
    Table,
    add_labels,
    find_image_column,
    find_label_column,
    read_table,
)
from pilotage.data.decode import BadImageError, Row, Shape
from pilotage.data.image_data import ImageData, as_it_is
from pilotage.data.request import Request, Say
from pilotage.data.surveys import choose_form, keep_readable, raise_all
from pilotage.errors import PilotageError

if TYPE_CHECKING:
    from datasets import Dataset

HELD_OUT_SPLITS = ("test", "validation", "val", "valid")


def load_splits(
    splits: Mapping[str, Dataset], request: Request, fetch: Callable[[Row], Row] = as_it_is
) -> tuple[ImageData, ImageData]:
    """A training and a held-out set of images, of the splits of a `datasets` source.

    Args:
        splits: Split name to a `datasets.Dataset` whose images are encoded; any other columns.
        request: What is wanted of them.
        fetch: Turns a row into one that can be read, by what the source knows of its paths.

    Raises:
        PilotageError: A column, an image or a caption is missing or cannot be read, or a label that
            is needed.
    """
    return load_tables(*label_splits(splits, request, fetch), request)


def load_tables(train: Table, own: Table | None, request: Request) -> tuple[ImageData, ImageData]:
    """A training and a held-out set of images, of labelled tables.

    Args:
        train: The training split.
        own: The source's own held-out split, by the same classes, or None.
        request: What is wanted of them.

    Raises:
        PilotageError: An image cannot be read, or no image is left.
    """
    tables, surveys = keep_readable([train] if own is None else [train, own], request)
    train = check_train(tables[0], request.say)  # of a class, no image may be left
    if request.captions:
        say_gaps(tables, request.say)
    if own is None:
        parts = carve(train, request)
    else:
        parts = train, match_classes(tables[1], train.classes)
        request.say(
            f"data: split {own.split!r} is the held-out set; held_out={request.held_out:g} is not "
            "used"
        )
    shape, top = choose_form(tables, surveys, request)
    try:
        return decode_table(parts[0], shape, top), decode_table(parts[1], shape, top)
    except BadImageError as error:
        raise_all(tables, [error])


def label_splits(
    splits: Mapping[str, Dataset], request: Request, fetch: Callable[[Row], Row] = as_it_is
) -> tuple[Table, Table | None]:
    """The training split, and the source's own held-out split or None.

    Where labels are not needed and cannot be used, all images are of one class, which is said.

    Raises:
        PilotageError: A column, an image or a caption is missing, or a label that is needed.
    """
    say = request.say
    names = split_names(splits, say)
    features = splits[names[0]].features
    image = find_image_column(features, request.image_column)
    tables = [read_table(name, splits[name], image, fetch) for name in names]
    caption = find_caption_column(features, image, request)
    if caption is not None:
        tables = [add_captions(table, splits[table.split], caption, say) for table in tables]
        check_captions(tables[0])
    label = None
    notes: list[str] = []
    try:
        label = find_label_column(features, request.label_column, (image, caption))
        if label is None:
            notes.append("data: no label column; all images are of class 'all'")
        found = label_tables(tables, splits, label, notes.append)
    except LabelError as error:
        if request.needs_labels:
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


def as_one_class(table: Table) -> Table:
    """The same images, all of class "all"."""
    return replace(table, classes=("all",), codes=np.zeros_like(table.codes))


def check_train(table: Table, say: Say) -> Table:
    """The training split with the classes that it has images of.

    Raises:
        PilotageError: It is empty.
        LabelError: A row has no label.
    """
    if not len(table.codes):
        raise PilotageError(f"data: split {table.split!r} has no images")
    unlabelled = np.flatnonzero(table.codes == UNLABELLED)
    if len(unlabelled):
        why = f"row {unlabelled[0]} of split {table.split!r} has no label (none or negative)"
        raise LabelError(f"data: {why}; every training image needs one", why)
    present, codes = np.unique(table.codes, return_inverse=True)
    absent = sorted(set(range(len(table.classes))) - set(present.tolist()))
    if absent:
        names = ", ".join(repr(table.classes[code]) for code in absent)
        say(f"data: classes without training images are left out: {names}")
    classes = tuple(table.classes[code] for code in present)
    if len(classes) == 1 and table.captions is None:
        say(f"data: only one class ({classes[0]!r}); guidance has nothing to choose between")
    return replace(table, classes=classes, codes=codes.astype(np.int64))


def match_classes(table: Table, classes: tuple[str, ...]) -> Table:
    """The same images, labelled by `classes`.

    Raises:
        LabelError: An image is of another class.
    """
    index = {name: code for code, name in enumerate(classes)}
    codes = np.array([index.get(name, UNLABELLED) for name in table.classes])[table.codes]
    if UNLABELLED in codes:
        name = table.classes[table.codes[np.argmin(codes)]]
        why = f"class {name!r} of split {table.split!r} is unknown in the training split"
        raise LabelError(f"data: {why}", why)
    return replace(table, classes=classes, codes=codes)


def hold_out(
    labels: np.ndarray, fraction: float, seed: int, say: Say = print
) -> tuple[np.ndarray, np.ndarray]:
    """Split indices class by class.

    Args:
        labels: int64 (N,).
        fraction: Of each class, rounded to whole images; at least one image stays for training.
        seed: Draws which images; no other random state is read or changed.
        say: Told if classes are too small to hold anything out.

    Returns:
        Training and held-out indices, each rising and int64, together `range(N)`.
    """
    held = np.zeros(len(labels), bool)
    too_small = 0
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(int(len(members) * fraction + 0.5), len(members) - 1)
        order = np.random.default_rng([seed, int(label)]).permutation(members)
        held[order[:count]] = True
        too_small += count == 0
    if fraction > 0 and too_small:
        say(f"data: {too_small} classes are too small to hold out {fraction:g} of their images")
    return np.flatnonzero(~held), np.flatnonzero(held)


def carve(train: Table, request: Request) -> tuple[Table, Table]:
    """A part of the training split for training, the rest held out.

    Where every class is too small to give any, and labels are not needed, it is drawn over all.
    """
    how = float(request.held_out), request.seed
    kept, held = hold_out(train.codes, *how, request.say)
    if not len(held) and not request.needs_labels:
        kept, held = hold_out(np.zeros_like(train.codes), *how, lambda _: None)
        if len(held):
            request.say("data: the held-out images are drawn over all classes together")
    return train.select(kept), train.select(held)


def decode_table(table: Table, shape: Shape, top: int) -> ImageData:
    """Bring the images of a table to one shape; what has no caption gets the empty one."""
    captions = None if table.captions is None else tuple(text or "" for text in table.captions)
    images = replace(table.images, top=top)
    return images.load(table.codes, table.classes, shape, captions)
