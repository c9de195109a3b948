"""Images in `.npz` files: ours, and the sample and reference batches of guided-diffusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pilotage.data.captions import check_captions, one_line
from pilotage.data.columns import Table, number_values
from pilotage.data.decode import Row
from pilotage.data.image_data import EncodedImages, ImageData
from pilotage.data.request import Request
from pilotage.data.splits import check_train, load_tables
from pilotage.errors import PilotageError
from pilotage.utils.npz import read_npz

IMAGES = ("images", "arr_0")
LABELS = ("labels", "arr_1")


@dataclass(frozen=True)
class ArrayRows:
    """Images of one shape as the rows of a table.

    Attributes:
        images: uint8 (N, H, W, C), C being 1 or 3.
    """

    images: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, numbers: Sequence[int] | np.ndarray) -> dict[str, Sequence[Row]]:
        return {"image": list(self.images[numbers])}


def load_arrays(path: Path, request: Request) -> tuple[ImageData, ImageData]:
    """The images in an `.npz` file, with labels and captions where they are there.

    Images are the array `images` or `arr_0`, uint8 (N, H, W, C) or (N, H, W); labels `labels` or
    `arr_1`, whole numbers or texts (N,); captions `captions`, texts (N,).

    Raises:
        PilotageError: The file is none of this, or an image or label is missing.
    """
    request.refuse(
        "which has arrays instead of columns and files",
        image_column=request.image_column,
        label_column=request.label_column,
        caption_column=request.caption_column,
        label_from=request.label_from,
    )
    arrays = read_npz(path, "data")
    images = check_images(arrays, path)
    rows = np.arange(len(images))
    found = next((arrays[name] for name in LABELS if name in arrays), None)
    if found is None:
        request.say("data: no label column; all images are of class 'all'")
    classes, codes = (("all",), rows * 0) if found is None else number_labels(found, rows, path)
    table = Table(EncodedImages(ArrayRows(images), rows, "train"), classes, codes)
    if request.captions:
        table = with_captions(table, arrays.get("captions"), path)
    return load_tables(check_train(table, request.say), None, request)


def check_images(arrays: dict[str, np.ndarray], path: Path) -> NDArray[np.uint8]:
    """The array of images, uint8 (N, H, W, C)."""
    images = next((arrays[name] for name in IMAGES if name in arrays), None)
    if images is not None and images.ndim == 3:
        images = images[..., None]
    if images is None or images.dtype != np.uint8 or images.ndim != 4 or not images.size:
        has = ", ".join(f"{name} {a.dtype} {a.shape}" for name, a in arrays.items()) or "nothing"
        raise PilotageError(
            f"data: {str(path)!r} has {has}; it must have an array 'images' (or 'arr_0') of uint8 "
            "(N, H, W, C)"
        )
    if images.shape[-1] not in (1, 3):
        raise PilotageError(
            f"data: {str(path)!r} has images of {images.shape[-1]} channels; allowed are 1 and 3"
        )
    return images


def number_labels(
    labels: np.ndarray, rows: np.ndarray, path: Path
) -> tuple[tuple[str, ...], np.ndarray]:
    """Class names and, per image, the number of its class."""
    if labels.shape != rows.shape or labels.dtype.kind not in "biuU":
        raise PilotageError(
            f"data: {str(path)!r} has labels of {labels.dtype} {labels.shape}; they must be whole "
            f"numbers or texts {rows.shape}"
        )
    return number_values(labels.tolist())


def with_captions(table: Table, captions: np.ndarray | None, path: Path) -> Table:
    """The table with its captions.

    Raises:
        PilotageError: There are none, or not one text for each image.
    """
    if captions is None or captions.shape != table.codes.shape or captions.dtype.kind != "U":
        raise PilotageError(
            f"data: {str(path)!r} has no array 'captions' of one text for each image"
        )
    table = replace(table, captions=tuple(map(one_line, captions.tolist())))
    check_captions(table)
    return table
