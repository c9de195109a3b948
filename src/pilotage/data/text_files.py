"""Files that a user wrote: which are seen, and how text is read."""

from __future__ import annotations


def is_visible(name: str) -> bool:
    """Whether a file or folder name does not start with a dot."""
    return not name.startswith(".")
