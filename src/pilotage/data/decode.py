"""Encoded images: their headers, the one shape that all of a data set get, and their pixels.

A row is what `datasets` gives without decoding, bytes or a dict of `bytes` and `path`, or an array.
Whatever a file holds, it is opened only if it is a regular file of one of `FORMATS`, and decoded
only if its header claims at most `MAX_PIXELS`.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import Condition
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pilotage.data.request import Say, Size
from pilotage.errors import PilotageError
from pilotage.utils.regular_files import open_regular

Row = dict[str, Any] | bytes | NDArray[np.uint8] | None
Shape = tuple[int, int, int]

GREY_MODES = ("1", "L", "LA", "La", "I", "F")
ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
ORIENTATION = 0x0112  # EXIF tag; values 5 to 8 exchange height and width
# Pillow knows more, of which some start other programs.
FORMATS: tuple[str, ...] = (
    "PNG",
    "JPEG",
    "MPO",
    "BMP",
    "DIB",
    "GIF",
    "TIFF",
    "WEBP",
    "AVIF",
    "JPEG2000",
    "PPM",
)
FORMATS += ("TGA", "ICO", "PCX")
MAX_PIXELS = 2**26
LARGE = 2**22  # pixels beyond which images are not taken at their own size
DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras and scanners write into two bytes
TOP = 2**16 - 1
LINES = 256  # of an image that are scaled at once


class Header(NamedTuple):
    """What must be known of an image before all are decoded to one shape.

    Attributes:
        channels: 1 or 3.
        height: In pixels, as displayed.
        width: Also.
        alpha: Whether it has an alpha channel.
        deep: Whether its values have more than 8 bits.
        peak: The largest of deep whole numbers; 0 of other values.
    """

    channels: int
    height: int
    width: int
    alpha: bool
    deep: bool
    peak: int = 0


class Budget:
    """Pixels that all threads together may decode at once."""

    def __init__(self, total: int) -> None:
        self._left, self._changed = total, Condition()

    @contextmanager
    def take(self, image: Image.Image) -> Iterator[None]:
        """Wait until there is room for an image, which no more than the total may have."""
        pixels = image.width * image.height
        with self._changed:
            self._changed.wait_for(lambda: self._left >= pixels)
            self._left -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._left += pixels
                self._changed.notify_all()


AT_ONCE = Budget(MAX_PIXELS)


class BadImageError(PilotageError):
    """An image that cannot be read.

    Attributes:
        name: Its file or row.
        reason: Why, as a clause.
    """

    def __init__(self, name: str, error: Exception) -> None:
        self.name, self.reason = name, reason_of(error)
        super().__init__(f"data: cannot read image {name}: {self.reason}")


def read_header(row: Row) -> Header:
    """Read an image's header; pixels are decoded only of deep images and of turned TIFF files."""
    with open_image(row) as image:
        width, height = displayed_size(image)
        deep = image.mode[0] in "IF"
        alpha = image.mode in ALPHA_MODES or "transparency" in image.info
        channels = 1 if deep or image.mode in GREY_MODES else 3
        peak = 0
        if image.mode[0] == "I":
            with AT_ONCE.take(image):
                peak = int(np.asarray(image).max())
        return Header(channels, height, width, alpha, deep, peak)


def check_whole(row: Row) -> Header:
    """An image's header, once all of its pixels have been decoded."""
    header = read_header(row)
    read_pixels(row, (header.channels, header.height, header.width), choose_top([header]))
    return header


def choose_shape(headers: Counter[Header], size: Size | None, say: Say) -> Shape:
    """The shape (C, H, W) for images with these headers, said where it changes any of them.

    Args:
        headers: How many images have each header.
        size: (height, width) as asked for, or None: the common size, and for mixed sizes the
            smallest height and the smallest width.
        say: Receives one-line notes.
    """
    total = headers.total()
    if alpha := sum(n for header, n in headers.items() if header.alpha):
        say(f"data: the alpha channel of {alpha} of {total} images is dropped")
    if deep := sum(n for header, n in headers.items() if header.deep):
        whole = any(header.peak for header in headers)
        levels = f", white being {choose_top(headers)}" if whole else ""
        say(
            f"data: {deep} of {total} images have more than 8 bits and are scaled to 0..255{levels}"
        )
    return choose_channels(headers, say), *choose_size(headers, size, say)


def choose_top(headers: Iterable[Header]) -> int:
    """What is white in deep whole numbers: the least of the usual depths that has room for all."""
    peak = max((header.peak for header in headers), default=0)
    fitting = [2**bits - 1 for bits in DEPTHS if peak < 2**bits]
    return fitting[0] if peak and fitting else TOP


def choose_channels(headers: Counter[Header], say: Say) -> int:
    """1 if every image is grey, else 3."""
    grey = sum(n for header, n in headers.items() if header.channels == 1)
    if 0 < grey < headers.total():
        say(f"data: {grey} of {headers.total()} images are grey and become RGB like the others")
    return 1 if grey == headers.total() else 3


def check_one_size(headers: Counter[Header]) -> None:
    """Raise a `PilotageError` if images are of several sizes."""
    sizes = sorted({(header.height, header.width) for header in headers})
    if len(sizes) > 1:
        shown = ", ".join(f"{height}x{width}" for height, width in sizes[:3])
        raise PilotageError(
            f"images have {len(sizes)} sizes ({shown}{', ...' if len(sizes) > 3 else ''}): they "
            "must all have one, or give size to resize them."
        )


def choose_size(headers: Counter[Header], size: Size | None, say: Say) -> Size:
    """The size (height, width) as asked for, or the largest that no image has to grow for."""
    heights = [header.height for header in headers]
    widths = [header.width for header in headers]
    height, width = size or (min(heights), min(widths))
    others = sum(n for h, n in headers.items() if (h.height, h.width) != (height, width))
    if others:
        say(
            f"data: {others} of {headers.total()} images are resized and centre-cropped to "
            f"{height}x{width} (height x width); heights are {min(heights)} to {max(heights)}, "
            f"widths {min(widths)} to {max(widths)}"
        )
    return height, width


def read_pixels(row: Row, shape: Shape, top: int = TOP) -> NDArray[np.uint8]:
    """Decode an image to uint8 (C, H, W).

    EXIF orientation is applied, alpha is dropped, grey and colour become what C says, and an image
    of another size is resized with Lanczos' antialiased filter to cover (H, W) and centre-cropped.

    Args:
        row: The image.
        shape: (C, H, W).
        top: What is white in whole numbers of more than 8 bits.
    """
    channels, height, width = shape
    with open_image(row) as image, AT_ONCE.take(image):
        ImageOps.exif_transpose(image, in_place=True)
        image = to_mode(image, "L" if channels == 1 else "RGB", top)
        if image.size != (width, height):
            image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
        pixels = np.asarray(image, np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


@contextmanager
def open_image(row: Row) -> Iterator[Image.Image]:
    """Open an image from its bytes, or else from its file, and close it afterwards.

    Raises:
        ValueError: Its header claims no pixels, or more than `MAX_PIXELS`.
    """
    if isinstance(row, np.ndarray):
        yield Image.fromarray(row[..., 0] if row.shape[-1] == 1 else row)
        return
    # Not by name: Pillow then maps uncompressed TIFF files and gets turned ones wrong.
    with open_bytes(row) as file, Image.open(file, formats=known_formats()) as image:
        if not 0 < image.width * image.height <= MAX_PIXELS:
            raise ValueError(
                f"it is {image.width}x{image.height}; images may have up to {MAX_PIXELS} pixels"
            )
        yield image


@cache
def known_formats() -> list[str]:
    """Those of `FORMATS` that this Pillow reads."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def open_bytes(row: Row) -> BinaryIO:
    """The encoded image, to be read."""
    content, path = bytes_and_path(row)
    if content is not None:
        return io.BytesIO(content)
    if path is None:
        raise ValueError("there is no image")
    return open_regular(path)


def bytes_and_path(row: Row) -> tuple[bytes | None, str | None]:
    """What a row has of an image: its bytes, or the path of its file."""
    if isinstance(row, dict):
        return row.get("bytes"), row.get("path")
    return (row if isinstance(row, bytes) else None), None


def displayed_size(image: Image.Image) -> tuple[int, int]:
    """Width and height with EXIF orientation applied."""
    if orientation(image) < 5:
        return image.size
    if image.format == "TIFF":
        return ImageOps.exif_transpose(image).size  # some versions of Pillow have turned it already
    return image.size[::-1]


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # asking would decode the pixels, in search of EXIF data behind them
    found: int = image.getexif().get(ORIENTATION, 1)
    return found


def to_mode(image: Image.Image, mode: str, top: int) -> Image.Image:
    """Convert any Pillow mode to `"L"` or `"RGB"`, dropping alpha."""
    if image.mode[0] in "IF":
        image = Image.fromarray(eight_bits(np.asarray(image), top))
    elif image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    elif image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)


def eight_bits(values: np.ndarray, top: int) -> NDArray[np.uint8]:
    """Scale deep grey values to uint8.

    Whole numbers are 0..top and scale by 255/top. Floats are 0..1 if all of the image's are, and
    0..255 otherwise.
    """
    whole = values.dtype.kind != "f"
    limit = top if whole else 1 if values.max() <= 1 else 255
    if not (values.min() >= 0 and values.max() <= limit):
        raise ValueError(f"its values are from {values.min()} to {values.max()}, not 0 to {limit}")
    pixels = np.empty(values.shape, np.uint8)
    table = np.floor(np.arange(top + 1) * (255.0 / top) + 0.5).astype(np.uint8)
    for start in range(0, len(values), LINES):  # the numbers in between take several times as much
        part = values[start : start + LINES]
        scaled = table[part] if whole else np.floor(part * (255.0 / limit) + 0.5)
        pixels[start : start + LINES] = scaled
    return pixels


def name_of(row: Row, number: int, split: str) -> str:
    """What an image is called: its file, or its row and split."""
    content, path = bytes_and_path(row)
    by_path = content is None and path is not None
    return repr(path) if by_path else f"in row {number} of split {split!r}"


def reason_of(error: Exception) -> str:
    """Why an image cannot be read, in one line."""
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image of a kind that is read"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0]
