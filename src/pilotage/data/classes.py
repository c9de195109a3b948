"""The classes of a split's images: those that training has, and another split's by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pilotage.data.columns import UNLABELLED, LabelError, Table
from pilotage.errors import PilotageError

Say = Callable[[str], None]


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
    if absent := [repr(table.classes[code]) for code in absent_codes(table, present)]:
        say(f"data: classes without training images are left out: {', '.join(absent)}")
    classes = tuple(table.classes[code] for code in present)
    if len(classes) == 1 and table.captions is None:
        say(f"data: only one class ({classes[0]!r}); guidance has nothing to choose between")
    return replace(table, classes=classes, codes=codes.astype(np.int64))


def absent_codes(table: Table, present: np.ndarray) -> list[int]:
    """The codes of the classes that are named but not present."""
    return sorted(set(range(len(table.classes))) - set(present.tolist()))


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
