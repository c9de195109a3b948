"""Encoded images: their headers, the one shape that all of a data set get, and their pixels.

A row is what `datasets` gives without decoding: bytes, or a dict of `bytes` and `path`.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pilotage.data.request import Say, Size
from pilotage.errors import PilotageError

Row = dict[str, Any] | bytes | None
Shape = tuple[int, int, int]

GREY_MODES = ("1", "L", "LA", "La", "I", "F")
ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
ORIENTATION = 0x0112  # EXIF tag; values 5 to 8 exchange height and width


class Header(NamedTuple):
    """What must be known of an image before it is decoded; sizes in pixels, as displayed."""

    channels: int
    height: int
    width: int
    alpha: bool
    deep: bool


def read_header(row: Row) -> Header:
    """Read an image's header; its pixels are not decoded (but for a turned TIFF file)."""
    with open_image(row) as image:
        width, height = displayed_size(image)
        deep = image.mode[0] in "IF"
        alpha = image.mode in ALPHA_MODES or "transparency" in image.info
        channels = 1 if deep or image.mode in GREY_MODES else 3
        return Header(channels, height, width, alpha, deep)


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
        say(f"data: {deep} of {total} images have more than 8 bits and are scaled to 0..255")
    return choose_channels(headers, say), *choose_size(headers, size, say)


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


def read_pixels(row: Row, shape: Shape) -> NDArray[np.uint8]:
    """Decode an image to uint8 (C, H, W).

    EXIF orientation is applied, alpha is dropped, grey and colour become what C says, and an image
    of another size is resized with Lanczos' antialiased filter to cover (H, W) and centre-cropped.
    """
    channels, height, width = shape
    with open_image(row) as opened:
        image = ImageOps.exif_transpose(opened)
    image = to_mode(image, "L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(image, np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


@contextmanager
def open_image(row: Row) -> Iterator[Image.Image]:
    """Open an image from its bytes, or else from its file, and close it afterwards."""
    # Not by name: Pillow then maps uncompressed TIFF files and gets turned ones wrong.
    with open_bytes(row) as file, Image.open(file) as image:
        yield image


def open_bytes(row: Row) -> BinaryIO:
    """The encoded image, to be read."""
    content, path = bytes_and_path(row)
    if content is not None:
        return io.BytesIO(content)
    if path is None:
        raise ValueError("there is no image")
    return Path(path).open("rb")


def bytes_and_path(row: Row) -> tuple[bytes | None, str | None]:
    """What a row has of an image: its bytes, or the path of its file."""
    return (row.get("bytes"), row.get("path")) if isinstance(row, dict) else (row, None)


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


def to_mode(image: Image.Image, mode: str) -> Image.Image:
    """Convert any Pillow mode to `"L"` or `"RGB"`, dropping alpha."""
    if image.mode[0] in "IF":
        image = Image.fromarray(eight_bits(np.asarray(image)))
    elif image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    elif image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)


def eight_bits(values: np.ndarray) -> np.ndarray:
    """Scale deep grey values to uint8.

    Whole numbers are 0..65535 and scale by 255/65535. Floats are 0..1 if all of the image's are,
    and 0..255 otherwise.
    """
    float_top = 1.0 if values.max() <= 1 else 255.0
    top = float_top if values.dtype.kind == "f" else 65535.0
    if not (values.min() >= 0 and values.max() <= top):
        raise ValueError(f"its values are from {values.min()} to {values.max()}, not 0 to {top:g}")
    return np.floor(values * (255.0 / top) + 0.5).astype(np.uint8)


@contextmanager
def naming(row: Row, number: int, split: str) -> Iterator[None]:
    """Turn any failure to read an image into a PilotageError that names its file or row."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UnidentifiedImageError):
            reason = "it is not an image that Pillow can read"
        else:
            reason = str(error) or type(error).__name__
        content, path = bytes_and_path(row)
        by_path = content is None and path is not None
        name = repr(path) if by_path else f"in row {number} of split {split!r}"
        raise PilotageError(f"data: cannot read image {name}: {reason}") from error
