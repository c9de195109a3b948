"""Where images go: the check before any work, and the writing."""

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
from pilotage.utils.parsing import parse_json

RECORD = "samples.json"

OTHER_ENDINGS = {".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".npy", ".pt", ".zip"}


def check_out(out: Path, goes_on: bool = False) -> None:
    """Refuse a name that cannot be written to.

    Args:
        out: a grid (.png), arrays (.npz) or a folder (any other name).
        goes_on: whether a folder may hold something already.

    Raises:
        PilotageError: saying why.
    """
    ending = out.suffix.lower()
    if ending in OTHER_ENDINGS:
        raise PilotageError(
            f"out is {out}: it must end in .png (a grid) or .npz (arrays), or be a folder's name."
        )
    is_file = ending in (".png", ".npz")
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise PilotageError(f"out is {out}: {above} is not a folder that can be written to.")
    if out.exists() and out.is_dir() == is_file:
        kind = "a file" if is_file else "a folder"
        raise PilotageError(
            f"out is {out}: that name asks for {kind}, but something else is there."
        )
    if out.is_dir() and any(out.iterdir()) and not goes_on:
        raise PilotageError(f"out is {out}: the folder is not empty, and nothing is overwritten.")


class Grid(NamedTuple):
    """How images stand in a grid.

    Attributes:
        columns: images in a row.
        names: heads of the columns.
        title: above all.
    """

    columns: int
    names: Sequence[str] = ()
    title: str = ""


def prompt_grid(captions: Sequence[str]) -> Grid:
    """A column for each prompt, if there are not too many and they come in turn."""
    distinct = list(dict.fromkeys(captions))
    count = len(distinct)
    in_turn = all(caption == distinct[k % count] for k, caption in enumerate(captions))
    if 1 < count <= 16 and in_turn:
        return Grid(count, [_broken(caption) for caption in distinct])
    return Grid(min(8, len(captions)), title=distinct[0] if count == 1 else "")


def _broken(caption: str, width: int = 14) -> str:
    """A caption in short lines, for the head of a column."""
    return "\n".join(textwrap.wrap(caption, width)) or "(empty)"


def write_all(
    images: np.ndarray,
    out: Path,
    arrays: Mapping[str, np.ndarray],
    grid: Grid,
    stems: Sequence[str],
) -> Path:
    """Images or points by the name given; where the record of them belongs.

    Args:
        images: uint8 (N, H, W, C), or points (N, D).
        out: a grid (.png), arrays (.npz) or a folder of PNGs.
        arrays: what each was made of, (N,), for an .npz.
        grid: how they stand in a .png.
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
    """How images were made, as JSON."""
    text = json.dumps(record, indent=1, ensure_ascii=False, default=str)
    write_text(path, text + "\n")


def _read_record(path: Path) -> Any:
    """How images were made; None of a record that is damaged, which is then another."""
    try:
        return parse_json(path.read_bytes())
    except ValueError:
        return None


def open_folder(
    folder: Path, names: list[str], record: Mapping[str, Any], state: PartialState
) -> list[int]:
    """The rows whose images are not there yet.

    Raises:
        PilotageError: if the folder holds something else, or images that were made otherwise.
    """
    beside = folder / RECORD
    told = json.loads(json.dumps(record, default=str))
    if beside.is_file():
        if _read_record(beside) != told:
            raise PilotageError(
                f"out is {folder}: its images were asked for in another way ({beside}); give "
                "another folder."
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise PilotageError(
            f"out is {folder}: the folder is not empty, and nothing is overwritten."
        )
    state.wait_for_everyone()
    if state.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        write_record(beside, told)
    state.wait_for_everyone()
    return [k for k, name in enumerate(names) if not (folder / name).is_file()]
