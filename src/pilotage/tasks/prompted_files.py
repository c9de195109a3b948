"""Where prompted images go: a folder that the same command goes on with, or one file."""

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState

from pilotage.errors import PilotageError
from pilotage.utils.files import remove_leftovers, write_text
from pilotage.utils.images import save_grid, save_npz

RECORD = "samples.json"


def open_folder(
    folder: Path, names: list[str], record: dict[str, Any], state: PartialState
) -> list[int]:
    """The rows whose images are not there yet.

    Raises:
        PilotageError: if the folder holds something else, or images that were asked otherwise.
    """
    beside = folder / RECORD
    told = json.loads(json.dumps(record, default=str))
    if beside.is_file():
        if json.loads(beside.read_text(encoding="utf-8")) != told:
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
        write_text(beside, json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    state.wait_for_everyone()
    return [k for k, name in enumerate(names) if not (folder / name).is_file()]


def write_images(
    images: np.ndarray,
    captions: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    record: dict[str, Any],
) -> None:
    """A grid or arrays, and a JSON file beside them.

    Args:
        images: uint8 (N, H, W, C).
        captions: one per image; they head the columns of a grid that has one in each.
        seeds: one per image.
        out: a .png or an .npz.
        record: how the images were made.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    distinct = list(dict.fromkeys(captions))
    if out.suffix.lower() == ".png":
        count = len(distinct)
        in_turn = all(c == distinct[k % count] for k, c in enumerate(captions))
        headed = 1 < count <= 16 and in_turn
        columns = count if headed else min(8, len(images))
        title = distinct[0] if count == 1 else ""
        names = [_broken(caption) for caption in distinct] if headed else ()
        save_grid(images, out, columns, column_names=names, title=title)
    else:
        told = {"captions": np.array(captions), "seeds": np.array(seeds)}
        save_npz(out, images=images, **told)
    text = json.dumps(record, indent=1, ensure_ascii=False, default=str)
    write_text(out.with_name(f"{out.name}.json"), text + "\n")


def _broken(caption: str, width: int = 14) -> str:
    """A caption in short lines, for the head of a column."""
    return "\n".join(textwrap.wrap(caption, width)) or "(empty)"
