"""Captions that a user wrote into files: beside images, in metadata tables, as prompts.

`metadata.csv` and `metadata.jsonl` follow the `imagefolder` convention of `datasets`: a column
`file_name` with paths relative to the metadata file, and a column of captions.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any
from unicodedata import normalize

from pilotage.data.captions import (
    CAPTION_NAMES,
    Kind,
    choose_column,
    first_captions,
    one_line,
    say_several,
)
from pilotage.data.request import Say
from pilotage.errors import PilotageError
from pilotage.utils.files import read_text

Rows = list[tuple[int, dict[str, Any]]]  # each with the number of its line

METADATA = ("metadata.csv", "metadata.jsonl")
FILE_COLUMN = "file_name"
TEXT_SUFFIX = ".txt"


def match_captions(
    paths: list[str], others: list[str], described: Mapping[str, str | None]
) -> tuple[list[str | None], list[str]]:
    """The captions of images, by their metadata or else by the text file beside them.

    Args:
        paths: The image files.
        others: The other files among them.
        described: Captions from metadata, by image file (a normal path, without `..`).

    Returns:
        A caption, or None, per image; and the `others` that hold no caption.

    Raises:
        PilotageError: A text file cannot be read or is not UTF-8.
    """
    texts = {stem(path): path for path in others if Path(path).suffix.lower() == TEXT_SUFFIX}
    beside = {path: texts[stem(path)] for path in paths if stem(path) in texts}
    captions = [described.get(os.path.normpath(path)) for path in paths]
    for i, path in enumerate(paths):
        if captions[i] is None and path in beside:
            captions[i] = one_line(read_text(beside[path], "data: the caption file"))
    used = set(beside.values())
    rest = [path for path in others if path not in used and Path(path).name not in METADATA]
    return captions, rest


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


def is_visible(name: str) -> bool:
    """Whether a file or folder name does not start with a dot."""
    return not name.startswith(".")


def stem(path: str) -> str:
    """A path without its suffix."""
    return str(Path(path).with_suffix(""))


def read_metadata(root: Path, asked: str | None, say: Say) -> dict[str, str | None]:
    """The captions in the metadata files of a folder and all below it, by the path of the image.

    Args:
        root: The folder.
        asked: Their column of captions, found by its name or type if None.
        say: Receives one-line notes.

    Raises:
        PilotageError: A file cannot be read, lacks a column, or names a file that is not there;
            or a column is asked for and there is no file.
    """
    files = metadata_files(root)
    if asked is not None and not files:
        raise PilotageError(
            f"data: caption_column={asked!r} is not allowed for {str(root)!r}, which has no "
            f"{' or '.join(METADATA)}"
        )
    described: dict[str, str | None] = {}
    several = set()
    for file in files:
        for image, caption in read_pairs(file, asked, say):
            if described.get(image) is None:
                described[image] = caption
            else:
                several.add(image)
    if several:
        say_several(len(several), "metadata", say)
    return described


def metadata_files(root: Path) -> list[Path]:
    """The metadata files in a folder and in the visible folders below it."""
    found = []
    # The walk itself follows no link, but linked folders directly in `root` are classes or splits.
    linked = sorted(path for path in root.iterdir() if path.is_symlink() and is_visible(path.name))
    for here, below, files in chain.from_iterable(map(os.walk, [root, *linked])):
        below[:] = sorted(filter(is_visible, below))
        found += [Path(here, name) for name in METADATA if name in files]
    return found


def read_pairs(file: Path, asked: str | None, say: Say) -> list[tuple[str, str | None]]:
    """The image file and the caption of every row; none if no column holds captions."""
    columns, rows = read_csv(file) if file.suffix == ".csv" else read_jsonl(file)
    for setting, name in (("", FILE_COLUMN), ("caption_column=", asked)):
        if name is not None and name not in columns:
            raise PilotageError(
                f"data: {setting}{name!r} is no column of {str(file)!r}; its columns are "
                f"{', '.join(columns) or 'none'}"
            )
    kinds = {name: kind_of(name, [row.get(name) for _, row in rows]) for name in columns}
    column = asked or choose_column({**kinds, FILE_COLUMN: None}, say)
    if column is None:
        say(f"data: {str(file)!r} has no column of captions and is passed over")
        return []
    images = [image_of(row, line, file) for line, row in rows]
    values = [check_value(row.get(column), column, line, file) for line, row in rows]
    captions = first_captions(values, f"column {column!r} of {file.name!r}", say)
    return list(zip(images, captions, strict=True))


def kind_of(name: str, values: list[Any]) -> Kind:
    """Whether a column's values are strings (other than numbers), or lists of them."""
    if any(isinstance(value, list) and value and isinstance(value[0], str) for value in values):
        return "strings"
    strings = [value for value in values if isinstance(value, str)]
    named = name in CAPTION_NAMES and strings
    return "string" if named or not all(map(is_number, strings)) else None


def is_number(text: str) -> bool:
    """Whether a field is a number, or blank."""
    try:
        return not text.strip() or float(text) is not None
    except ValueError:
        return False


def image_of(row: Mapping[str, Any], line: int, file: Path) -> str:
    """The image file that a row is about.

    Raises:
        PilotageError: There is none.
    """
    name = row.get(FILE_COLUMN)
    if isinstance(name, str):
        # Accents in names take another form on some systems.
        for spelling in (name, normalize("NFC", name), normalize("NFD", name)):
            if (file.parent / spelling).is_file():
                return os.path.normpath(file.parent / spelling)
    raise PilotageError(
        f"data: line {line} of {str(file)!r} names the file {name!r}, which does not exist"
    )


def check_value(value: Any, column: str, line: int, file: Path) -> str | list[str] | None:
    """`value`, if it is text, a list of texts or None."""
    if value is None:
        return None
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) and is_unicode(text) for text in texts):
        raise PilotageError(
            f"data: line {line} of {str(file)!r} has {value!r} in column {column!r}; allowed are "
            "text, lists of texts and null"
        )
    return texts if isinstance(value, list) else texts[0]


def is_unicode(text: str) -> bool:
    """Whether `text` has no half of a surrogate pair, which JSON can write and UTF-8 cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def read_csv(file: Path) -> tuple[list[str], Rows]:
    """Columns and rows of a CSV file with a header; what a short row lacks is None."""
    reader = csv.DictReader(io.StringIO(read_text(file, "data: the metadata"), newline=""))
    rows: Rows = []
    try:
        for row in reader:
            if None in row:
                raise PilotageError(
                    f"data: line {reader.line_num} of {str(file)!r} has more fields than the "
                    "header; put captions with commas in quotation marks"
                )
            rows.append((reader.line_num, row))
        return list(reader.fieldnames or ()), rows
    except csv.Error as error:
        raise PilotageError(
            f"data: line {reader.line_num} of {str(file)!r} is not CSV: {error}"
        ) from error


def read_jsonl(file: Path) -> tuple[list[str], Rows]:
    """Columns and rows of a file with one JSON object per line."""
    rows: Rows = []
    # Not splitlines(): JSON strings may contain what Unicode takes for a line's end.
    for line, text in enumerate(read_text(file, "data: the metadata").split("\n"), 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise PilotageError(
                f"data: line {line} of {str(file)!r} is not JSON: {error}"
            ) from error
        if not isinstance(row, dict):
            raise PilotageError(f"data: line {line} of {str(file)!r} is not a JSON object")
        rows.append((line, row))
    return list(dict.fromkeys(name for _, row in rows for name in row)), rows
