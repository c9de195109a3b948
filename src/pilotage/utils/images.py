"""The edges: uint8 images in, files of images and of scattered points out."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from pilotage.utils.drawing import drawable, figure
from pilotage.utils.files import whole_file


def from_uint8(images: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """0..255 to [−1, 1]: u/127.5 − 1."""
    return images.float() / 127.5 - 1


def to_uint8(images: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """[−1, 1] to 0..255, clipped and rounded to the nearest."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def to_arrays(images: Float[Tensor, "N C H W"]) -> np.ndarray:
    """uint8 arrays (N, H, W, C)."""
    return to_uint8(images).permute(0, 2, 3, 1).cpu().numpy()


def as_arrays(samples: Float[Tensor, "N *shape"]) -> np.ndarray:
    """Images as uint8 (N, H, W, C); points (N, D) as they are."""
    return samples.cpu().numpy() if samples.ndim == 2 else to_arrays(samples)


def shape_text(shape: Sequence[int]) -> str:
    """A shape in words, as in 3x32x32."""
    return "x".join(map(str, shape))


def save_png(image: np.ndarray, path: Path) -> None:
    """One (H, W, C) uint8 array as a PNG: grey for 1 channel, else its first three in colour."""
    from PIL import Image

    with whole_file(path) as temporary:
        Image.fromarray(displayable(image)).save(temporary, format="PNG")


def displayable(image: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) from any channel count; two channels are shown as red and green."""
    channels = image.shape[-1]
    if channels == 1:
        return image[..., 0]
    if channels == 2:
        image = np.concatenate([image, np.zeros_like(image[..., :1])], axis=-1)
    return np.ascontiguousarray(image[..., :3])


def save_npz(path: Path, **arrays: np.ndarray) -> None:
    """A compressed ``.npz``, whole or not at all."""
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type] # no array is allow_pickle


GAP = 3
DPI = 160
LARGEST = 8000  # pixels of a picture, wide or high
LONGEST = 24  # letters of a name
LETTER, LINE = 0.055, 0.13  # inches that a letter and a line of small print take


def shortened(name: str, most: int = LONGEST) -> str:
    """A name whose lines have at most so many letters."""
    lines = name.split("\n")
    return "\n".join(line if len(line) <= most else f"{line[: most - 1]}…" for line in lines)


def tile(images: np.ndarray, columns: int, gap: int = GAP, below: int | None = None) -> np.ndarray:
    """Images (N, H, W, C), row by row, as one picture with a white gap between neighbours.

    With ``below``, so many rows of pixels are white below every image, those of the last row too.
    """
    count, height, width, channels = images.shape
    rows, foot = math.ceil(count / columns), gap if below is None else below
    end = gap if foot == gap else 0
    shape = (rows * (height + foot) - end, columns * (width + gap) - gap, channels)
    picture = np.full(shape, 255, dtype=np.uint8)
    for k, image in enumerate(images):
        top, left = k // columns * (height + foot), k % columns * (width + gap)
        picture[top : top + height, left : left + width] = image
    return picture


def enlarged(images: np.ndarray, least: int = 40) -> np.ndarray:
    """Small images (N, H, W, C), smoothly (bicubic) enlarged by a whole number, to be looked at."""
    from PIL import Image

    count, height, width, channels = images.shape
    factor = math.ceil(least / min(height, width))
    if factor == 1:
        return images
    size = (width * factor, height * factor)
    planes = images.transpose(0, 3, 1, 2).reshape(-1, height, width)
    large = [np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BICUBIC)) for p in planes]
    return np.stack(large).reshape(count, channels, *size[::-1]).transpose(0, 2, 3, 1)


def save_grid(
    images: np.ndarray,
    path: Path,
    columns: int,
    column_names: Sequence[str] = (),
    row_names: Sequence[str] = (),
    title: str = "",
    names: Sequence[str] = (),
) -> None:
    """Write images (N, H, W, C), row by row, as one labelled PNG; small ones enlarged smoothly.

    Columns are at least as wide as their names, which are shortened, and a title is broken into
    lines that fit. The picture is at most ``LARGEST`` pixels wide and high.

    Args:
        images: uint8.
        path: of the PNG.
        columns: images in a row.
        column_names: above the columns.
        row_names: left of the rows.
        title: above all.
        names: below each image.
    """
    images = enlarged(images)
    # escaped before they are measured
    column_names, names = (
        [shortened(drawable(name)) for name in said] for said in (column_names, names)
    )
    lines = [name.split("\n") for name in [*column_names, *names]] or [[""]]
    widest = LETTER * max(len(line) + 2 for name in lines for line in name)
    width = images.shape[2] + GAP
    scale = max(0.4, width / DPI, widest) / width  # inches per pixel; large images keep their size
    below = GAP + (round(LINE / scale) if names else 0)
    height = images.shape[1] + below
    picture = tile(images, columns, below=below)
    across = picture.shape[1] * scale + 0.9
    title = textwrap.fill(title, max(20, int(across / LETTER)))
    more = max(map(len, lines)) - 1 + title.count("\n")
    size = (across, picture.shape[0] * scale + 0.6 + LINE * more)
    dpi = min(DPI, LARGEST / max(size))
    with figure(path, figsize=size, dpi=dpi, layout="constrained") as drawn:
        axis = drawn.subplots()
        axis.imshow(displayable(picture), cmap="gray", vmin=0, vmax=255)
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0, labelsize=7, top=False, labeltop=True, labelbottom=False)
        axis.set_xticks([width * (k + 0.5) for k in range(len(column_names))], column_names)
        axis.set_yticks([height * (k + 0.5) for k in range(len(row_names))], row_names)
        axis.set_title(title, fontsize=8)
        for k, name in enumerate(names):
            foot = k // columns * height + images.shape[1]
            axis.text(width * (k % columns + 0.5), foot, name, fontsize=6, ha="center", va="top")


def save_scatter(
    points: np.ndarray, path: Path, title: str, real: np.ndarray | None = None
) -> None:
    """The first two coordinates of points (N, D) as a PNG, real ones in grey behind them."""
    with figure(path, dpi=110, figsize=(4.4, 4.4), layout="constrained") as drawn:
        axes = drawn.subplots()
        for cloud, colour, name in ((real, "0.8", "data"), (points, "C0", "samples")):
            if cloud is not None:
                second = cloud[:, min(1, cloud.shape[1] - 1)]
                axes.scatter(cloud[:, 0], second, s=2, color=colour, linewidths=0, label=name)
        axes.set(title=title, aspect="equal")
        drawn.legend(frameon=False, loc="outside lower center", ncols=2, markerscale=3)
