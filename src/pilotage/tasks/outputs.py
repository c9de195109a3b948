"""Output files of images: checks before any work, and writing."""

import json
import os
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from accelerate import PartialState

from pilotage.errors import PilotageError
from pilotage.models.sampling_spec import Batch
from pilotage.utils.distributed import gathered, own_share
from pilotage.utils.files import remove_leftovers, write_text
from pilotage.utils.images import as_arrays, save_grid, save_npz, save_png, save_scatter
from pilotage.utils.parsing import parse_json
from pilotage.utils.progress import sampling_bar

RECORD = "samples.json"

OTHER_ENDINGS = {".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".npy", ".pt", ".zip"}


def check_out(out: Path) -> None:
    """Refuse a path that cannot be written to.

    Args:
        out: a grid (.png), arrays (.npz) or a folder (any other name).

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


class Grid(NamedTuple):
    """The layout of a grid of images.

    Attributes:
        columns: images in a row.
        names: column headings.
        title: of the grid.
        below: the name below each image.
    """

    columns: int
    names: Sequence[str] = ()
    title: str = ""
    below: Sequence[str] = ()


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


@dataclass(frozen=True)
class Output:
    """Where samples go, and what is written with them.

    Attributes:
        path: a grid (.png), arrays (.npz) or a folder of PNGs.
        record: how they were sampled, for a JSON file.
        arrays: further arrays (N,) for an .npz.
        grid: the layout of a .png.
        stems: names of single PNGs.
        noun: what they are.
    """

    path: Path
    record: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    grid: Grid
    stems: Sequence[str]
    noun: str = "images"

    @property
    def is_file(self) -> bool:
        """Whether all go into one file."""
        return self.path.suffix.lower() in (".png", ".npz")

    @property
    def record_path(self) -> Path:
        """Where the record belongs."""
        if self.is_file:
            return self.path.with_name(f"{self.path.name}.json")
        return self.path / RECORD


Stream = Callable[[Sequence[slice], Callable[[], None]], Iterable[Batch]]


def deliver(
    stream: Stream, batches: Sequence[slice], steps: int, output: Output, state: PartialState
) -> None:
    """Sample all batches and write them, on all processes.

    Into a folder every image is written as soon as it is made; a rerun of the same request makes
    those that are missing.

    Args:
        stream: samples some of the batches, and calls its second argument after every step.
        batches: rows of the images.
        steps: sampling steps of a batch.
        output: where they go.
        state: of the processes.

    Raises:
        PilotageError: if a folder holds something else, before anything is sampled.
    """
    count = len(output.stems)
    missing = list(range(count)) if output.is_file else open_folder(output, state)
    absent = set(missing)
    own = own_share([rows for rows in batches if absent & {*_numbers(rows)}], state)
    with sampling_bar(len(own) * steps, state.is_main_process) as on_step:
        made = ((batch.rows, as_arrays(batch.images)) for batch in stream(own, on_step))
        if output.is_file:
            parts = gathered([(rows.start, images) for rows, images in made], state)
        else:
            for rows, images in made:
                _save_missing(output, absent, rows, images)
    if state.is_main_process:
        if output.is_file:
            _write_file(np.concatenate(parts), output)
            write_record(output.record_path, output.record)
        rest = "" if len(missing) == count else f" ({len(missing)} made now)"
        settings = f"their settings in {output.record_path}"
        print(f"{count} {output.noun} in {output.path}{rest}, {settings}")
    state.wait_for_everyone()


def _numbers(rows: slice) -> range:
    return range(rows.start, rows.stop)


def _save_missing(output: Output, absent: set[int], rows: slice, images: np.ndarray) -> None:
    for row, image in zip(_numbers(rows), images, strict=True):
        if row in absent:
            save_png(image, output.path / f"{output.stems[row]}.png")


def _write_file(samples: np.ndarray, output: Output) -> None:
    """Images uint8 (N, H, W, C), or points (N, D), as the one file that its name says."""
    out, grid = output.path, output.grid
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix.lower() == ".npz":
        save_npz(out, **{output.noun: samples}, **output.arrays)
    elif samples.ndim == 2:
        save_scatter(samples, out, grid.title)
    else:
        save_grid(samples, out, grid.columns, grid.names, title=grid.title, names=grid.below)


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON."""
    text = json.dumps(record, indent=1, ensure_ascii=False, default=str)
    write_text(path, text + "\n")


def _read_record(path: Path) -> dict[str, Any]:
    """Read a record; a damaged one is empty, and so that of other images."""
    try:
        found = parse_json(path.read_bytes())
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def open_folder(output: Output, state: PartialState) -> list[int]:
    """Open or create a folder of images; return the rows that are missing.

    Raises:
        PilotageError: if the folder has other files, or images of another record.
    """
    folder, record = output.path, json.loads(json.dumps(output.record, default=str))
    if output.record_path.is_file():
        earlier = _read_record(output.record_path)
        same = {**earlier, "batch_size": None} == {**record, "batch_size": None}
        if not same and any(path.suffix == ".png" for path in folder.iterdir()):
            raise PilotageError(
                f"out is {folder}: it must be another folder, since its images were sampled with "
                f"other settings ({output.record_path})."
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise PilotageError(
            f"out is {folder}: the folder must be empty, since nothing is overwritten."
        )
    state.wait_for_everyone()
    if state.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        write_record(output.record_path, record)
    state.wait_for_everyone()
    return [k for k, stem in enumerate(output.stems) if not (folder / f"{stem}.png").is_file()]
