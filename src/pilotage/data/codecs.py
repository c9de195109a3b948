"""What lossless codecs need for images, beside a likelihood in bits per dimension."""

import importlib.util
import io
import math
from typing import Any

import numpy as np
from PIL import Image

from pilotage.errors import PilotageError

_FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "PNG": ("PNG", {"optimize": True}),
    "WebP": ("WEBP", {"lossless": True, "quality": 100, "method": 6}),
    "JPEG XL": ("JXL", {"lossless": True, "effort": 9}),
}


def codec_bits(images: np.ndarray) -> dict[str, float]:
    """Bits per dimension of images under every codec that is there, the best of two ways.

    Each codec gets the images one by one, which costs it a header each, and all of them as one
    sheet, where it can also use what they share; the smaller size counts.

    Args:
        images: uint8 (N, C, H, W), C being 1 or 3.

    Returns:
        Bits per number by the codec's name: PNG, WebP (lossless) and, where the package
        ``pillow-jxl-plugin`` is installed, JPEG XL.

    Raises:
        PilotageError: for other channel counts.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise PilotageError(
            f"images has shape {images.shape}: codecs take (N, C, H, W) with 1 or 3 channels."
        )
    sheet = _sheet(images)
    found = {}
    for name, (kind, options) in _FORMATS.items():
        if kind != "JXL" or importlib.util.find_spec("pillow_jxl"):
            alone = sum(_size(image, kind, options) for image in images)
            found[name] = 8 * min(alone, _size(sheet, kind, options)) / images.size
    return found


def _sheet(images: np.ndarray) -> np.ndarray:
    """All images in about a square, (C, H·rows, W·columns), empty places black."""
    count, channels, height, width = images.shape
    columns = math.ceil(math.sqrt(count * height / width))
    rows = -(-count // columns)
    full = np.zeros((rows * columns, channels, height, width), np.uint8)
    full[:count] = images
    placed = full.reshape(rows, columns, channels, height, width).transpose(2, 0, 3, 1, 4)
    return placed.reshape(channels, rows * height, columns * width)


def _size(image: np.ndarray, kind: str, options: dict[str, Any]) -> int:
    if kind == "JXL":
        import pillow_jxl  # noqa: F401 (makes Pillow know the format)
    picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    coded = io.BytesIO()
    picture.save(coded, format=kind, **options)
    return coded.getbuffer().nbytes
