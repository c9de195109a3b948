"""Captions of a table's images: which column holds them, and what is said of their gaps."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pilotage.data.columns import LABEL_NAMES, Table, check_asked, only_one, some_of
from pilotage.data.decode import Row, bytes_and_path
from pilotage.data.request import Request, Say
from pilotage.errors import PilotageError

if TYPE_CHECKING:
    from datasets import Dataset, Features

Kind = Literal["string", "strings"] | None

CAPTION_NAMES = ("text", "caption", "captions", "prompt", "description")
CAPTION_OF_FILE = "caption_of_file"  # the column of captions that came from files beside the images
LOOKED_FOR = (
    "captions are looked for in a text file beside each image (cat.txt for cat.jpg), in "
    "metadata.jsonl or metadata.csv beside the images, and in a column of strings (caption_column)"
)
NAMED_AT_MOST = 3


def one_line(text: str) -> str:
    """`text` with its lines stripped and joined by spaces; blank ones are left out."""
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def first_captions(
    values: Iterable[str | list[str] | None], where: str, say: Say
) -> tuple[str | None, ...]:
    """One caption of each value: the first of several, None where there is none."""
    captions = []
    several = 0
    for value in values:
        if isinstance(value, list):
            several += len(value) > 1
            value = value[0] if value else None
        captions.append(None if value is None else one_line(value))
    if several:
        say_several(several, where, say)
    return tuple(captions)


def say_several(count: int, where: str, say: Say) -> None:
    """The note that only one caption of each image is used."""
    say(f"data: {count} images have several captions in {where}; the first of each is used")


def find_caption_column(features: Features, image: str, request: Request) -> str | None:
    """The column with captions, None where they are not wanted.

    It is the image folder's own, or the one asked for, or else one of strings or lists of strings,
    which is said if its name does not speak for it.

    Args:
        features: The columns.
        image: The one that holds images.
        request: What is asked for.

    Raises:
        PilotageError: There is none beside the columns of images and labels, or there are several.
    """
    if not request.captions:
        return None
    if CAPTION_OF_FILE in features:
        return CAPTION_OF_FILE
    if request.caption_column is not None:
        return check_asked("caption_column", request.caption_column, features)
    label = request.label_column
    kinds = {name: feature_kind(features[name]) for name in features if name != image}
    kind_of_label = None if label is None else kinds.pop(label, None)
    if (found := choose_column(kinds, request.say)) is not None:
        return found
    if label is not None and choose_column({label: kind_of_label}, lambda _: None) is not None:
        raise PilotageError(
            f"data: label_column={label!r} is the only column that caption_column could be; set "
            "label_column to another, or leave it out"
        )
    raise PilotageError(f"data: no caption column among {some_of(features)}; {LOOKED_FOR}")


def choose_column(kinds: Mapping[str, Kind], say: Say) -> str | None:
    """The column called as one of `CAPTION_NAMES`, else the only one of strings, else of lists."""
    named = [name for name in CAPTION_NAMES if kinds.get(name)]
    if named:
        return only_one("caption_column", named)
    for kind in ("string", "strings"):
        left = [name for name in kinds if kinds[name] == kind and name not in LABEL_NAMES]
        if left:
            found = only_one("caption_column", left)
            say(f"data: captions are read from column {found!r}")
            return found
    return None


def feature_kind(feature: Any) -> Kind:
    """Whether a column's values are strings, or lists of them."""
    if is_string(feature):
        return "string"
    return "strings" if is_string(getattr(feature, "feature", None)) else None


def is_string(feature: Any) -> bool:
    """Whether a feature is a string."""
    return getattr(feature, "dtype", None) in ("string", "large_string")


def add_captions(table: Table, dataset: Dataset, column: str, say: Say) -> Table:
    """`table` with the captions of the split that it was read from; all None without the column.

    Raises:
        PilotageError: The column does not hold strings.
    """
    if column not in dataset.column_names:
        return replace(table, captions=(None,) * len(dataset))
    feature = dataset.features[column]
    if feature_kind(feature) is None:
        raise PilotageError(
            f"data: caption_column={column!r} holds {feature}; allowed are strings and lists of "
            "strings"
        )
    values = dataset.select_columns([column]).with_format("arrow")[:].column(column).to_pylist()
    return replace(table, captions=first_captions(values, f"column {column!r}", say))


def check_captions(table: Table) -> None:
    """Raise PilotageError unless an image has a caption, which may be empty."""
    if all(caption is None for caption in table.captions or ()):
        raise PilotageError(f"data: no image of split {table.split!r} has a caption; {LOOKED_FOR}")


def say_gaps(tables: Sequence[Table], say: Say) -> None:
    """Notes on missing and on empty captions, of all tables together."""
    every = [
        (table, row, caption)
        for table in tables
        for row, caption in enumerate(table.captions or ())
    ]
    gaps = [(table, row) for table, row, caption in every if caption is None]
    if gaps:
        names = ", ".join(image_names(tables, gaps[:NAMED_AT_MOST]))
        if len(gaps) > 1:
            names = f"{len(gaps)} images ({names}{', ...' if len(gaps) > NAMED_AT_MOST else ''})"
        say(f"data: no caption for {names}; the empty caption is used")
    empty = sum(caption == "" for _, _, caption in every)
    if empty:
        verb = "is" if empty == 1 else "are"
        say(f"data: {empty} of {len(every) - len(gaps)} captions {verb} empty")


def image_names(tables: Sequence[Table], rows: Sequence[tuple[Table, int]]) -> list[str]:
    """Names for rows: a file's path below the folder that holds all files, or row and split."""
    files = [file_of(image) for table, row in rows for image in table.images.raw([row])]
    names = [f"row {table.images.rows[row]} of split {table.split!r}" for table, row in rows]
    if not any(files):
        return names
    every = (file_of(row) for table in tables for row in table.images.raw())
    root = os.path.commonpath([Path(file).parent for file in every if file])
    pairs = zip(files, names, strict=True)
    return [os.path.relpath(file, root) if file else name for file, name in pairs]


def file_of(row: Row) -> str | None:
    """The absolute path of an image that is read from its file."""
    content, path = bytes_and_path(row)
    return path if content is None and path is not None and Path(path).is_absolute() else None
