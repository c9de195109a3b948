"""Condition spaces on disk: a folder with ``condition.json`` and perhaps a tokenizer's file."""

import json
from os import PathLike
from pathlib import Path
from typing import Any

from pilotage.errors import PilotageError
from pilotage.utils.parsing import parse_json

FILE = "condition.json"


def write_facts(folder: str | PathLike[str], facts: dict[str, Any]) -> Path:
    """Write the facts into the folder, created if needed, and return its path."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8")
    return folder


def read_facts(folder: str | PathLike[str]) -> dict[str, Any]:
    """Read the facts of a folder.

    Raises:
        PilotageError: if the file is missing, unreadable or incomplete.
    """
    path = Path(folder, FILE)
    try:
        facts = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise PilotageError(
            f"{str(path)!r} cannot be read ({error}): it must be the {FILE} of a condition space."
        ) from None
    if not isinstance(facts, dict) or "kind" not in facts:
        raise PilotageError(
            f"{str(path)!r} has no 'kind': it must be the {FILE} of a condition space."
        )
    return facts
