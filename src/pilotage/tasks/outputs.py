"""Output files of images: checks before any work, and writing."""

import json
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from accelerate import PartialState

from pilotage.errors import PilotageError
from pilotage.utils.files import remove_leftovers, write_text
from pilotage.utils.images import save_grid, save_npz, save_png, save_scatter

RECORD = "samples.json"

OTHER_ENDINGS = {".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".npy", ".pt", ".zip"}


def check_out(out: Path, resumable: bool = False) -> None:
    """Refuse a path that cannot be written to.

    Args:
        out: a grid (.png), arrays (.npz) or a folder (any other name).
        resumable: whether a folder may have images already.

    Raises:
        PilotageError: giving the reason.
    """
    ending = out.suffix.lower()
    if ending in OTHER_ENDINGS:
        raise PilotageError(
            f"out is {out}: it must end in .png (a grid) or .npz (arrays), or be a folder's name."
        )
    is_file = ending in (".png", ".npz")
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise PilotageError(f"out is {out}: {above} must be a writable folder.")
    if out.exists() and out.is_dir() == is_file:
        kind = "a file" if is_file else "a folder"
        raise PilotageError(
            f"out is {out}: it must be {kind}, as its name ends, but it exists as another thing."
        )
    if out.is_dir() and any(out.iterdir()) and not resumable:
        raise PilotageError(
            f"out is {out}: the folder must be empty, since nothing is overwritten."
        )


class Grid(NamedTuple):
    """The layout of a grid of images.

    Attributes:
        columns: images in a row.
        names: column headings.
        title: of the grid.
    """

    columns: int
    names: Sequence[str] = ()
    title: str = ""


def prompt_grid(captions: Sequence[str]) -> Grid:
    """Return a grid with a column for each prompt, if there are few and they alternate."""
    distinct = list(dict.fromkeys(captions))
    count = len(distinct)
    in_turn = all(caption == distinct[k % count] for k, caption in enumerate(captions))
    if 1 < count <= 16 and in_turn:
        return Grid(count, [_broken(caption) for caption in distinct])
    return Grid(min(8, len(captions)), title=distinct[0] if count == 1 else "")


def _broken(caption: str, width: int = 14) -> str:
    """Wrap a caption for a column heading."""
    return "\n".join(textwrap.wrap(caption, width)) or "(empty)"


def write_all(
    images: np.ndarray,
    out: Path,
    arrays: Mapping[str, np.ndarray],
    grid: Grid,
    stems: Sequence[str],
) -> Path:
    """Write images or points by the file name; return the path of their record.

    Args:
        images: uint8 (N, H, W, C), or points (N, D).
        out: a grid (.png), arrays (.npz) or a folder of PNGs.
        arrays: further arrays (N,) for an .npz.
        grid: the layout of a .png.
        stems: names of single PNGs.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    points, ending = images.ndim == 2, out.suffix.lower()
    if ending == ".npz":
        save_npz(out, **{"points" if points else "images": images}, **arrays)
    elif points:
        save_scatter(images, out, grid.title)
    elif ending == ".png":
        save_grid(images, out, grid.columns, column_names=grid.names, title=grid.title)
    else:
        out.mkdir(exist_ok=True)
        for image, stem in zip(images, stems, strict=True):
            save_png(image, out / f"{stem}.png")
        return out / RECORD
    return out.with_name(f"{out.name}.json")


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON."""
    text = json.dumps(record, indent=1, ensure_ascii=False, default=str)
    write_text(path, text + "\n")


def open_folder(
    folder: Path, names: list[str], record: Mapping[str, Any], state: PartialState
) -> list[int]:
    """Open or create a folder of images; return the rows that are missing.

    Raises:
        PilotageError: if the folder has other files, or images of another record.
    """
    path = folder / RECORD
    stored = json.loads(json.dumps(record, default=str))
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != stored:
            raise PilotageError(
                f"out is {folder}: it must be another folder, since its images were sampled with "
                f"other settings ({path})."
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise PilotageError(
            f"out is {folder}: the folder must be empty, since nothing is overwritten."
        )
    state.wait_for_everyone()
    if state.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        write_record(path, stored)
    state.wait_for_everyone()
    return [k for k, name in enumerate(names) if not (folder / name).is_file()]
