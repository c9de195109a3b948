"""The exceptions that end a command with one sentence, and guesses at names that were meant."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class PilotageError(ValueError):
    """Bad input, in one sentence that names the setting, the value and what is allowed.

    The command line prints the sentence, without a traceback, and exits with ``exit_code``.
    """

    exit_code: ClassVar[int] = 2


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` Did you mean digits?``, or nothing if no known name is close."""
    close = get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]}?" if close else ""
