"""Prompts in a text file, one a line."""

from __future__ import annotations

from pathlib import Path

from pilotage.errors import PilotageError
from pilotage.utils.files import read_text


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
