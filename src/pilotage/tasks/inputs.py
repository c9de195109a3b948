"""Reading of image and mask files."""

from pathlib import Path

import numpy as np
import torch
from PIL import ImageOps
from torch import Tensor

from pilotage.data.decode import open_image, read_header, read_pixels
from pilotage.errors import PilotageError
from pilotage.utils.images import from_uint8


def read_mask(path: Path) -> Tensor:
    """Read a mask as (1, 1, H, W) in [−1, 1]; transparent pixels are black.

    Raises:
        PilotageError: if it is missing or not an image.
    """
    mask = read_image(path, "mask", 1)
    with open_image({"path": str(path)}) as opened:
        image = ImageOps.exif_transpose(opened)
        if not image.has_transparency_data:
            return mask
        alpha = np.array(image.convert("RGBA").getchannel("A"))
    opaque = torch.from_numpy(alpha)[None, None] / 255
    return (mask + 1) * opaque - 1


def read_image(path: Path, name: str, channels: int = 3) -> Tensor:
    """Read an image file as (1, C, H, W) in [−1, 1].

    Raises:
        PilotageError: if it is missing or not an image.
    """
    row = {"path": str(path)}
    try:
        header = read_header(row)
        pixels = read_pixels(row, (channels, header.height, header.width))
    except (OSError, ValueError) as error:
        raise PilotageError(f"{name} is {path}: it must be a readable image ({error}).") from None
    return from_uint8(torch.from_numpy(pixels.copy()))[None]
