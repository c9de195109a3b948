"""`LabelledData`, what all sources give, and `ImageData`, in memory or decoded when asked for."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from typing import Protocol, TypeVar

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from pilotage.data.decode import (
    TOP,
    BadImageError,
    Header,
    Row,
    Shape,
    check_whole,
    name_of,
    read_header,
    read_pixels,
)
from pilotage.errors import PilotageError

MAX_BYTES_IN_MEMORY = 2 * 1024**3
WORKERS = min(8, os.cpu_count() or 1)
ROWS_PER_TASK = 128
FINGERPRINT_SAMPLE = 256

T = TypeVar("T")
Captions = tuple[str, ...] | None


class LabelledData(Protocol):
    """What training and measuring need of data: images, points, or what is drawn when asked for."""

    def __len__(self) -> int: ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; label i stands for `classes[i]`."""

    @property
    def labels(self) -> Int64[np.ndarray, " N"]:
        """int64 (N,), read-only."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image, (C, H, W), or of a point, (D,)."""

    @property
    def captions(self) -> Captions:
        """(N,), each of one line and maybe empty; None where there are none."""

    @property
    def in_memory(self) -> bool:
        """Whether nothing has to be decoded any more."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of what makes these data others than others."""

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> Tensor:
        """Images (B, C, H, W) as uint8, or points (B, D) as float32, by index, as a new tensor."""


class Pixels(Protocol):
    """Where the images of an `ImageData` come from, if they are no array."""

    @property
    def in_memory(self) -> bool:
        """Whether the images are decoded already."""

    def take(self, indices: np.ndarray, shape: Shape) -> NDArray[np.uint8]:
        """Images of a shape by index, uint8 (B, C, H, W)."""


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images of one shape with their classes.

    Attributes:
        classes: Class names; label i stands for `classes[i]`.
        labels: int64 (N,), read-only.
        shape: (C, H, W) in pixels; C is 1 for grey and 3 for RGB.
        captions: (N,), each of one line and maybe empty; None where captions are not wanted.
    """

    classes: tuple[str, ...]
    labels: Int64[np.ndarray, " N"]
    shape: Shape
    _pixels: NDArray[np.uint8] | Pixels = field(repr=False)
    captions: Captions = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.labels.setflags(write=False)

    @classmethod
    def from_arrays(
        cls,
        images: np.ndarray,
        labels: Sequence[int] | np.ndarray,
        classes: Sequence[str],
        captions: Sequence[str] | None = None,
    ) -> ImageData:
        """Wrap images that are in memory already.

        Args:
            images: uint8 (N, C, H, W); kept, not copied.
            labels: (N,), each from 0 to `len(classes) - 1`.
            classes: Class names.
            captions: (N,), one text per image; "" for an empty caption.

        Raises:
            PilotageError: The arrays do not fit each other.
        """
        labels = np.array(labels, np.int64)
        if images.dtype != np.uint8 or images.ndim != 4 or labels.shape != images.shape[:1]:
            raise PilotageError(
                f"data: images of {images.dtype} {images.shape} with labels {labels.shape} are not "
                "allowed; give uint8 (N, C, H, W) and (N,)"
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
            raise PilotageError(
                f"data: labels from {labels.min()} to {labels.max()} are not allowed; "
                f"with {len(classes)} classes they go from 0 to {len(classes) - 1}"
            )
        if captions is not None and len(captions) != len(labels):
            raise PilotageError(
                f"data: {len(captions)} captions for {len(labels)} images are not allowed; give "
                "one per image"
            )
        C, H, W = images.shape[1:]
        texts = None if captions is None else tuple(captions)
        return cls(tuple(classes), labels, (C, H, W), images, texts)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def in_memory(self) -> bool:
        """Whether the images are decoded already."""
        return isinstance(self._pixels, np.ndarray) or self._pixels.in_memory

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> UInt8[Tensor, "B C H W"]:
        """Images by index, as a new uint8 tensor (B, C, H, W) with values 0..255.

        Raises:
            PilotageError: An image of a set that is not in memory cannot be decoded.
        """
        return torch.from_numpy(self._take(np.atleast_1d(np.asarray(indices))))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of classes, labels, shape, pixels and, where there are any, captions.

        In memory all pixels count. Otherwise `FINGERPRINT_SAMPLE` images, evenly spaced from first
        to last, stand for all: a change to another image's pixels goes unseen.
        """
        if isinstance(self._pixels, np.ndarray):
            pixels = self._pixels
        else:
            sample = np.linspace(0, len(self) - 1, min(len(self), FINGERPRINT_SAMPLE))
            pixels = self._take(sample.astype(np.int64))
        texts = () if self.captions is None else (json.dumps(self.captions).encode(),)
        facts = [self.classes, self.shape, len(self), self.in_memory]
        return hash_of(facts, self.labels.astype("<i8"), pixels, *texts)

    def _take(self, indices: np.ndarray) -> NDArray[np.uint8]:
        if not indices.size:
            return np.empty((0, *self.shape), np.uint8)
        if isinstance(self._pixels, np.ndarray):
            images: NDArray[np.uint8] = self._pixels[indices]
            return images
        return self._pixels.take(indices, self.shape)


class Rows(Protocol):
    """A table with the one column `image`, as `datasets.Dataset` is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, numbers: Sequence[int] | np.ndarray) -> dict[str, Sequence[Row]]:
        """The images in rows by their numbers."""


def as_it_is(row: Row) -> Row:
    """The same row."""
    return row


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """Rows of a split's images, still encoded.

    Attributes:
        dataset: Dataset with the one column `image`.
        rows: int64 (N,), row numbers in `dataset`.
        split: The split's name, for messages.
        fetch: Turns a row into one that can be read, by what the source knows of its paths.
        top: What is white in whole numbers of more than 8 bits.
    """

    dataset: Rows
    rows: np.ndarray
    split: str
    fetch: Callable[[Row], Row] = as_it_is
    top: int = TOP
    in_memory = False

    def take(self, indices: np.ndarray, shape: Shape) -> NDArray[np.uint8]:
        """Images decoded to a shape by index, uint8 (B, C, H, W)."""
        return self.select(indices).decode(shape)

    def select(self, indices: np.ndarray) -> EncodedImages:
        """A part of these rows, or the same in another order."""
        return replace(self, rows=self.rows[indices])

    def name(self, index: int) -> str:
        """What an image is called in messages."""
        (row,) = self.raw([index])
        return name_of(row, int(self.rows[index]), self.split)

    def raw(self, indices: Sequence[int] | np.ndarray | None = None) -> Sequence[Row]:
        """Some of these rows as the table has them, or all."""
        return self.dataset[self.rows if indices is None else self.rows[indices]]["image"]

    def survey(self, whole: bool = False) -> list[Header | BadImageError]:
        """The header of every image, or why it cannot be read.

        Args:
            whole: Whether all pixels are decoded as well, which shows all damage.
        """
        known: dict[Header, Header] = {}

        def look(task: slice) -> list[Header | BadImageError]:
            found = self._read(task, check_whole if whole else read_header)
            return [x if isinstance(x, BadImageError) else known.setdefault(x, x) for x in found]

        return list(chain.from_iterable(in_threads(look, self._tasks())))

    def decode(self, shape: Shape) -> NDArray[np.uint8]:
        """All images, uint8 (N, C, H, W).

        Raises:
            BadImageError: One cannot be decoded.
        """
        pixels = np.empty((len(self.rows), *shape), np.uint8)

        def fill(task: slice) -> None:
            target = pixels[task]
            read = partial(read_pixels, shape=shape, top=self.top)
            for i, image in enumerate(self._read(task, read)):
                if isinstance(image, BadImageError):
                    raise image
                target[i] = image

        in_threads(fill, self._tasks())
        return pixels

    def load(
        self,
        labels: np.ndarray,
        classes: tuple[str, ...],
        shape: Shape,
        captions: Captions = None,
    ) -> ImageData:
        """`ImageData` of these rows, decoded now if it takes at most `MAX_BYTES_IN_MEMORY`."""
        fits = len(self.rows) * int(np.prod(shape)) <= MAX_BYTES_IN_MEMORY
        return ImageData(classes, labels, shape, self.decode(shape) if fits else self, captions)

    def _tasks(self) -> list[slice]:
        starts = range(0, len(self.rows), ROWS_PER_TASK)
        return [slice(start, start + ROWS_PER_TASK) for start in starts]

    def _read(self, task: slice, reader: Callable[[Row], T]) -> Iterator[T | BadImageError]:
        numbers = self.rows[task]
        for number, row in zip(numbers, self.dataset[numbers]["image"], strict=True):
            try:
                yield reader(self.fetch(row))
            except Exception as error:  # Pillow has many, for each format its own
                found = BadImageError(name_of(row, int(number), self.split), error)
                found.__cause__ = error
                yield found


def hash_of(facts: object, *parts: np.ndarray | bytes) -> str:
    """SHA-256 (hex) of facts that JSON can tell, and of bytes or an array's bytes."""
    digest = hashlib.sha256(json.dumps(facts).encode())
    for part in parts:
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).data)
    return digest.hexdigest()


def in_threads(work: Callable[[slice], T], tasks: Sequence[slice]) -> list[T]:
    """`work` on every task, results in order; the first failure is raised."""
    if len(tasks) <= 1:
        return [work(task) for task in tasks]
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(work, tasks))
