"""Files that a user wrote: which are seen, and how text is read."""

from __future__ import annotations

from pathlib import Path

from pilotage.errors import PilotageError


def is_visible(name: str) -> bool:
    """Whether a file or folder name does not start with a dot."""
    return not name.startswith(".")


def read_text(path: str | Path, what: str) -> str:
    r"""A UTF-8 file with or without a byte order mark; its lines end in `\n`.

    Args:
        path: The file.
        what: What it is, as the start of a message; the path follows.

    Raises:
        PilotageError: It cannot be read, or is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PilotageError(f"{what} {str(path)!r} is not UTF-8 text") from error
    except OSError as error:
        raise PilotageError(f"{what} {str(path)!r} cannot be read: {error.strerror}") from error
