"""``pilotage inpaint``: what a mask hides of an image, filled as a caption says."""

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import ImageOps
from torch import Tensor

from pilotage.data.decode import open_image, read_header, read_pixels
from pilotage.errors import PilotageError
from pilotage.settings import InpaintSettings
from pilotage.tasks.cascade import generate_prompted, load_runs
from pilotage.tasks.outputs import check_out, parse_seeds
from pilotage.utils.distributed import process_state
from pilotage.utils.images import from_uint8, shape_text


def inpaint(wish: InpaintSettings) -> None:
    """Complete an image where its mask is white.

    Raises:
        PilotageError: for bad input, before anything is sampled or written.
    """
    check_out(wish.out, goes_on=True)
    state = process_state()
    (run,) = load_runs(wish.folders, wish.weights, state)
    if not run.card.recipe.inpaint:
        raise PilotageError(f"run is {wish.run_folder}: it was not trained with inpaint.")
    image = read_image(wish.image, "image", run.shape[0])
    mask = read_mask(wish.mask)
    for name, found in (("image", image), ("mask", mask)):
        if found.shape[2:] != run.shape[1:]:
            raise PilotageError(
                f"{name} is {getattr(wish, name)}: it has {shape_text(found.shape[2:])} pixels, "
                f"the run's images {shape_text(run.shape[1:])}."
            )
    known = (mask < 0).float()
    if known.all():
        raise PilotageError(
            f"mask is {wish.mask}: nothing of it is white, so nothing would be filled."
        )
    if not known.any():
        warnings.warn(
            f"mask is {wish.mask}: all of it is white, so nothing is kept of the image",
            stacklevel=2,
        )
    beside = {"known": image * known, "known_mask": known}
    if wish.low_res is not None:
        beside["low_res"] = read_image(wish.low_res, "low_res", run.shape[0])
    generate_prompted(wish, [run], parse_seeds(wish.seeds), beside, state)


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
