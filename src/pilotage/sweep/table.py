"""The append-only table of a run: one JSON line per measured setting."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pilotage.errors import PilotageError
from pilotage.utils.parsing import parse_json
from pilotage.utils.regular_files import open_regular

Row = dict[str, Any]
BEGINNING = b'{"id": "'  # of every row


def table_path(folder: Path) -> Path:
    """Where a run's rows are."""
    return folder / "sweep" / "rows.jsonl"


def row_id(settings: Mapping[str, Any]) -> str:
    """16 hex digits that two rows share exactly if all that decides their numbers is the same."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_lines(
    path: Path, what: str = "a JSON object", beginning: bytes = b"{"
) -> list[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file by line number; a last line that was cut short is passed over.

    Args:
        path: of the file, which may be missing.
        what: each line is, for the message.
        beginning: of every line.

    Raises:
        PilotageError: naming file and line, if a line is no JSON object, or what is cut short is
            not the beginning of one.
    """
    if not path.exists():
        return []
    with open_regular(path) as file:
        parts = file.read().split(b"\n")
    found = [(k, part, _object(part)) for k, part in enumerate(parts, 1) if part.strip()]
    for k, part, content in found:
        cut = k == len(parts) and part[: len(beginning)] == beginning[: len(part)]
        if content is None and not cut:
            raise PilotageError(f"{path}, line {k} is not {what}.")
    return [(k, content) for k, _, content in found if content is not None]


def read_rows(path: Path) -> list[Row]:
    """All complete rows; a last line that a killed writer left half written is passed over.

    Raises:
        PilotageError: naming file and line, if another line is no row, or what is half written.
    """
    lines = read_lines(path, "a row of a sweep", BEGINNING)
    for k, content in lines:
        if not isinstance(content.get("id"), str):
            raise PilotageError(f"{path}, line {k} is not a row of a sweep.")
    return [content for _, content in lines]


def append_row(path: Path, row: Row) -> None:
    """Add a row: after this returns it is on disk; a half-written line before it is cut off.

    Raises:
        PilotageError: if the file is no table of rows, which then stays as it is.
    """
    read_rows(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        _end_last_line(file)
        file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _end_last_line(file: BinaryIO) -> None:
    """End a last line that is whole, cut off one that is not."""
    file.seek(0)
    content = file.read()
    start = content.rfind(b"\n") + 1
    if _object(content[start:]) is None:
        file.truncate(start)
    else:
        file.write(b"\n")


def _object(line: bytes) -> Row | None:
    try:
        found = parse_json(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
