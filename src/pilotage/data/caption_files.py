"""Texts that a user wrote into files: captions and labels beside images, and prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pilotage.data.captions import one_line
from pilotage.data.trees import Tree
from pilotage.errors import PilotageError
from pilotage.utils.files import read_text

CAPTION_SUFFIX = ".txt"
LABEL_SUFFIX = ".cls"  # of WebDataset


def fill_from_beside(
    paths: list[str],
    others: list[str],
    values: list[str | None],
    suffix: str,
    read: Callable[[str], str],
) -> tuple[list[str | None], list[str]]:
    """Fill gaps from the text files beside images, which have their names but for the suffix.

    Args:
        paths: The image files.
        others: The other files among them.
        values: One per image, None where it is looked for.
        suffix: Of the text files.
        read: The value that a text file holds.

    Returns:
        A value, or None, per image; and the `others` that are not of an image.
    """
    texts = {stem(path): path for path in others if Path(path).suffix.lower() == suffix}
    beside = {path: texts[stem(path)] for path in paths if stem(path) in texts}
    filled = [
        read(beside[path]) if value is None and path in beside else value
        for path, value in zip(paths, values, strict=True)
    ]
    used = set(beside.values())
    return filled, [path for path in others if path not in used]


def caption_in(tree: Tree) -> Callable[[str], str]:
    """What reads the caption in a text file of a tree."""
    return lambda path: one_line(tree.read_text(path, "data: the caption file"))


def label_in(tree: Tree) -> Callable[[str], str]:
    """What reads the label in a text file of a tree."""
    return lambda path: one_line(tree.read_text(path, "data: the label file"))


def read_prompts(path: str | Path) -> list[str]:
    """The lines of a UTF-8 text file that are not blank, without white space at their ends.

    Raises:
        PilotageError: There is no such file, it is not UTF-8, or it has no prompt.
    """
    # Not splitlines(): a prompt may contain what Unicode takes for a line's end.
    lines = [line.strip() for line in read_text(path, "prompts: the file").split("\n")]
    prompts = [line for line in lines if line]
    if not prompts:
        raise PilotageError(f"prompts: the file {str(path)!r} is empty; give one prompt per line")
    return prompts


def stem(path: str) -> str:
    """A path without its suffix."""
    return str(Path(path).with_suffix(""))
