"""The append-only table of a run: one JSON line per measured setting."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pilotage.errors import PilotageError
from pilotage.metrics import Number
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


def new_row(decides: Row, name: str, metrics: Mapping[str, Number]) -> Row:
    """The row of images that no model has made.

    Args:
        decides: all that decides the numbers.
        name: where the images are from.
        metrics: the numbers.
    """
    pairs = {key: list(pair) for key, pair in metrics.items()}
    return {"id": row_id(decides), **decides, "run": name, "metrics": pairs, "preview": None}


def read_rows(path: Path) -> list[Row]:
    """All complete rows; a last line that a killed writer left half written is passed over.

    Raises:
        PilotageError: naming file and line, if another line is no row, or what is half written.
    """
    if not path.exists():
        return []
    with open_regular(path) as file:
        lines = file.read().split(b"\n")
    half = lines.pop()
    if half[: len(BEGINNING)] != BEGINNING[: len(half)]:
        raise PilotageError(f"{path}, line {len(lines) + 1} is not a row of a sweep.")
    return [_parse(line, path, k) for k, line in enumerate(lines, 1) if line]


def append_row(path: Path, row: Row) -> None:
    """Add a row: after this returns it is on disk; a half-written line before it is cut off.

    Raises:
        PilotageError: if the file is no table of rows, which then stays as it is.
    """
    read_rows(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        _cut_half_line(file)
        file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _cut_half_line(file: BinaryIO) -> None:
    file.seek(0)
    content = file.read()
    file.truncate(content.rfind(b"\n") + 1)


def _parse(line: bytes, path: Path, number: int) -> Row:
    try:
        row = parse_json(line)
    except ValueError:
        row = None
    if not isinstance(row, dict) or "id" not in row:
        raise PilotageError(f"{path}, line {number} is not a row of a sweep.")
    return row
