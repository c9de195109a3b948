"""What every command that makes images reads: seeds, and where the images go."""

import os
from collections.abc import Iterable
from pathlib import Path

from pilotage.errors import PilotageError

OTHER_ENDINGS = {".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".npy", ".pt", ".zip"}


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
