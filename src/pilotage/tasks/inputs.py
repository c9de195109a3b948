"""Reading of image and mask files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import ImageOps
from torch import Tensor

from pilotage.data.decode import (
    LARGE,
    choose_top,
    open_image,
    read_header,
    read_pixels,
    reason_of,
)
from pilotage.errors import PilotageError
from pilotage.utils.images import from_uint8


def read_mask(path: Path) -> Tensor:
    """Read a mask as (1, 1, H, W) in [−1, 1]; transparent pixels are black.

    Raises:
        PilotageError: if it is missing or not an image.
    """
    mask = read_image(path, "mask", 1)
    with naming(path, "mask"), open_image({"path": str(path)}) as image:
        ImageOps.exif_transpose(image, in_place=True)
        if not image.has_transparency_data:
            return mask
        alpha = np.array(image.convert("RGBA").getchannel("A"))
    opaque = torch.from_numpy(alpha)[None, None] / 255
    return (mask + 1) * opaque - 1


def read_image(path: Path, name: str, channels: int = 3) -> Tensor:
    """Read an image file as (1, C, H, W) in [−1, 1].

    Raises:
        PilotageError: if it is missing, not an image, or too large.
    """
    row = {"path": str(path)}
    with naming(path, name):
        header = read_header(row)
        if header.height * header.width > LARGE:
            raise ValueError(f"it has {header.height}x{header.width} pixels, more than {LARGE}")
        shape = (channels, header.height, header.width)
        pixels = read_pixels(row, shape, choose_top([header]))
    return from_uint8(torch.from_numpy(pixels.copy()))[None]


@contextmanager
def naming(path: Path, name: str) -> Iterator[None]:
    """Turn any failure to read an image into a sentence about the setting ``name``."""
    try:
        yield
    except Exception as error:  # Pillow has many, for each format its own
        raise PilotageError(
            f"{name} is {path}: it must be a readable image ({reason_of(error)})."
        ) from error
