"""What commands that make images are given: seeds in words, images and masks in files."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import ImageOps
from torch import Tensor

from pilotage.data.decode import open_image, read_header, read_pixels
from pilotage.errors import PilotageError
from pilotage.utils.images import from_uint8


def parse_seeds(words: Iterable[str]) -> list[int]:
    """Numbers from words such as "7" and "0:64" (0 to 63).

    Raises:
        PilotageError: naming the word that is neither.
    """
    seeds: list[int] = []
    for word in words:
        first, colon, end = word.partition(":")
        if not first.isdecimal() or (colon and not end.isdecimal()):
            raise PilotageError(f"seeds has {word!r}: allowed are numbers and ranges such as 0:64.")
        found = range(int(first), int(end)) if colon else [int(first)]
        if not found:
            raise PilotageError(f"seeds has {word!r}: the range is empty.")
        seeds.extend(found)
    return seeds


def read_mask(path: Path) -> Tensor:
    """A mask as (1, 1, H, W) in [−1, 1]; what is transparent in it is black.

    Raises:
        PilotageError: if it is not there or not an image.
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
    """An image file as (1, C, H, W) in [−1, 1].

    Raises:
        PilotageError: if it is not there or not an image.
    """
    row = {"path": str(path)}
    try:
        header = read_header(row)
        pixels = read_pixels(row, (channels, header.height, header.width))
    except (OSError, ValueError) as error:
        raise PilotageError(f"{name} is {path}: it cannot be read as an image ({error}).") from None
    return from_uint8(torch.from_numpy(pixels.copy()))[None]
