"""Which column holds the images, which the labels, and what the labels say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pilotage.data.decode import Row
from pilotage.data.image_data import EncodedImages
from pilotage.errors import PilotageError

if TYPE_CHECKING:
    from datasets import Dataset, Features

LABEL_NAMES = ("label", "labels", "class", "class_label", "category", "fine_label", "target")
UNLABELLED = -1
NAMED_AT_MOST, NAME_AT_MOST = 30, 60


class LabelError(PilotageError):
    """Labels that cannot be used, which matters only where labels are wanted.

    Attributes:
        why: The reason, as a clause.
    """

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


@dataclass(frozen=True)
class Table:
    """Images of one split, still encoded, with their labels.

    Attributes:
        images: N of them.
        classes: Class names.
        codes: int64 (N,), indices into `classes`, or `UNLABELLED`.
        captions: (N,), each text or None, where captions are wanted.
    """

    images: EncodedImages
    classes: tuple[str, ...]
    codes: np.ndarray
    captions: tuple[str | None, ...] | None = None

    @property
    def split(self) -> str:
        """The split's name."""
        return self.images.split

    def select(self, rows: np.ndarray) -> Table:
        """Some of the images."""
        captions = None if self.captions is None else tuple(self.captions[row] for row in rows)
        return Table(self.images.select(rows), self.classes, self.codes[rows], captions)


def read_table(split: str, dataset: Dataset, column: str, fetch: Callable[[Row], Row]) -> Table:
    """The images of one split, still encoded and unlabelled.

    Args:
        split: Its name.
        dataset: The split.
        column: Its column of images.
        fetch: Turns a row into one that can be read.

    Raises:
        PilotageError: There is no such column.
    """
    from datasets import Image

    if column not in dataset.column_names:
        raise PilotageError(
            f"data: split {split!r} has no image column {column!r}; "
            f"its columns are {some_of(dataset.column_names)}"
        )
    images = dataset.with_format(None).select_columns([column])
    if isinstance(images.features[column], Image):
        images = images.cast_column(column, Image(decode=False))
    if column != "image":
        images = images.rename_column(column, "image")
    rows = np.arange(len(dataset))
    return Table(EncodedImages(images, rows, split, fetch), (), np.full_like(rows, UNLABELLED))


def add_labels(table: Table, dataset: Dataset, column: str) -> Table:
    """`table` with the labels of the split that it was read from; none without the column.

    Raises:
        LabelError: The column does not hold labels.
    """
    if column not in dataset.column_names:
        return table
    classes, codes = read_labels(dataset, column)
    return replace(table, classes=classes, codes=codes)


def find_image_column(features: Features, asked: str | None) -> str:
    """The column with images: of `Image` feature, else bytes and path, else binary.

    Raises:
        PilotageError: There is none, or there are several and none is asked for.
    """
    from datasets import Image

    if asked is not None:
        return check_asked("image_column", asked, features)
    tests: list[Callable[[Any], bool]] = [
        lambda feature: isinstance(feature, Image),
        is_bytes_and_path,
        is_binary,
    ]
    for test in tests:
        found = [name for name, feature in features.items() if test(feature)]
        if found:
            return only_one("image_column", found)
    raise PilotageError(
        f"data: no image column among {some_of(features)}; set image_column to a column of "
        "encoded images"
    )


def find_label_column(
    features: Features, asked: str | None, taken: Collection[str | None]
) -> str | None:
    """The column with labels: of `ClassLabel` feature, else one of `LABEL_NAMES`, else None.

    Columns that are `taken`, for images or captions, are not found by name.

    Raises:
        PilotageError: The one asked for is none.
        LabelError: There are several and none is asked for.
    """
    from datasets import ClassLabel

    if asked is not None:
        return check_asked("label_column", asked, features)
    found = [name for name, feature in features.items() if isinstance(feature, ClassLabel)]
    found = found or [name for name in features if name in LABEL_NAMES and name not in taken]
    if len(found) > 1:
        why = f"the columns {some_of(found)} may all hold them"
        raise LabelError(several_fit("label_column", found), why)
    return found[0] if found else None


def is_bytes_and_path(feature: Any) -> bool:
    """Whether a feature is a struct as `Image` stores it."""
    return isinstance(feature, dict) and {"bytes", "path"} <= feature.keys()


def is_binary(feature: Any) -> bool:
    """Whether a feature is plain bytes."""
    return getattr(feature, "dtype", None) in ("binary", "large_binary")


def check_asked(setting: str, asked: str, features: Mapping[str, Any]) -> str:
    """`asked`, if it is a column."""
    if asked not in features:
        raise PilotageError(
            f"data: {setting}={asked!r} is no column; the columns are {some_of(features)}"
        )
    return asked


def only_one(setting: str, found: list[str]) -> str:
    """The one candidate."""
    if len(found) > 1:
        raise PilotageError(several_fit(setting, found))
    return found[0]


def some_of(names: Iterable[str]) -> str:
    """Names of columns, which may be many and long, in one short line."""
    found = [name if len(name) <= NAME_AT_MOST else f"{name[:NAME_AT_MOST]}..." for name in names]
    more = len(found) - NAMED_AT_MOST
    shown = ", ".join(" ".join(name.split()) for name in found[:NAMED_AT_MOST])
    return f"{shown} and {more} more" if more > 0 else shown or "none"


def several_fit(setting: str, found: list[str]) -> str:
    """What to do where there are several candidates."""
    return f"data: set {setting} to one of the columns {some_of(found)}"


def read_labels(dataset: Dataset, column: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Class names and, per row, the index of its class or `UNLABELLED`.

    Names come from `ClassLabel` where there is one; otherwise they are the distinct values in
    order, whole numbers by size and strings by letter. None and negative numbers are unlabelled.

    Raises:
        LabelError: The column holds neither whole numbers nor strings, or a number without a name.
    """
    from datasets import Value

    feature = dataset.features[column]
    values = dataset.select_columns([column]).with_format("arrow")[:].column(column)
    if hasattr(feature, "names"):
        codes = np.asarray(values.fill_null(UNLABELLED).to_numpy(), np.int64)
        if len(codes) and codes.max() >= len(feature.names):
            raise LabelError(
                f"data: label_column={column!r} holds {codes.max()}; allowed are 0 to "
                f"{len(feature.names) - 1}, the numbers of its class names",
                why=f"{codes.max()} is beyond the numbers of its class names",
            )
        return tuple(feature.names), np.maximum(codes, UNLABELLED)
    dtype = feature.dtype if isinstance(feature, Value) else ""
    if not (dtype.startswith(("int", "uint", "bool")) or dtype in ("string", "large_string")):
        raise LabelError(
            f"data: label_column={column!r} holds {feature}; allowed are whole numbers and strings",
            why=f"they are {feature}, neither whole numbers nor strings",
        )
    return number_values(values.to_pylist())


def number_values(values: list[Any]) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the distinct values in order, and each value's index."""
    known = sorted({value for value in values if is_label(value)})
    index = {value: i for i, value in enumerate(known)}
    codes = [index[value] if is_label(value) else UNLABELLED for value in values]
    return tuple(map(str, known)), np.array(codes, np.int64)


def is_label(value: Any) -> bool:
    """Whether a value names a class."""
    return value is not None and (isinstance(value, str) or value >= 0)
