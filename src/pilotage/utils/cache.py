"""Where Pilotage keeps what it can make again."""

import os
from pathlib import Path

from pilotage.errors import PilotageError


def usual_folder(name: str) -> Path:
    """``~/.cache/pilotage/NAME``, or below ``XDG_CACHE_HOME``; there from now on."""
    # the standard says that an empty value counts as unset
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return usable_folder(Path(home, "pilotage", name))


def usable_folder(folder: str | Path) -> Path:
    """The folder, made if it is not there.

    Raises:
        PilotageError: if it cannot be made.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PilotageError(
            f"cache={str(folder)!r} is not allowed ({error}); give a folder that can be written."
        ) from None
    return Path(folder)
