"""One encoded image: its header, and its pixels in a wanted shape.

A row is what `datasets` gives without decoding: bytes, or a dict of `bytes` and `path`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pilotage.errors import PilotageError

Row = dict | bytes | None

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


def read_pixels(row: Row, shape: tuple[int, int, int]) -> np.ndarray:
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
    content, path = (row.get("bytes"), row.get("path")) if isinstance(row, dict) else (row, None)
    if content is None and path is None:
        raise ValueError("there is no image")
    # Not by name: Pillow then maps uncompressed TIFF files and gets turned ones wrong.
    with (
        Path(path).open("rb") if content is None else io.BytesIO(content) as file,
        Image.open(file) as image,
    ):
        yield image


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
    return image.getexif().get(ORIENTATION, 1)


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
        path = row.get("path") if isinstance(row, dict) else None
        by_path = path is not None and row.get("bytes") is None
        name = repr(path) if by_path else f"in row {number} of split {split!r}"
        raise PilotageError(f"data: cannot read image {name}: {reason}") from error
