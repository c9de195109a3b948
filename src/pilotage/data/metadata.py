"""Tables beside images, which name the files and say their captions or labels.

`metadata.csv` and `metadata.jsonl` follow the `imagefolder` convention of `datasets`: a column
`file_name` with paths relative to the table's folder, and columns of captions or labels.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from unicodedata import normalize

from pilotage.data.captions import (
    CAPTION_NAMES,
    Kind,
    choose_column,
    first_captions,
    say_several,
)
from pilotage.data.columns import LABEL_NAMES, only_one, some_of
from pilotage.data.request import Request, Say
from pilotage.data.trees import Tree
from pilotage.errors import PilotageError
from pilotage.utils.parsing import parse_json

Rows = list[tuple[int, dict[str, Any]]]  # each with the number of its line
Label = str | int

METADATA = ("metadata.csv", "metadata.jsonl")
LABEL_TABLES = (*METADATA, "labels.csv", "labels.jsonl")
FILE_COLUMN = "file_name"
FILE_COLUMNS = (FILE_COLUMN, "filename", "file", "image", "path", "filepath", "image_path")
TABLE_SUFFIXES = (".csv", ".jsonl")
WHOLE = re.compile(r"[+-]?\d{1,18}")


class ImageTable(NamedTuple):
    """A table about images.

    Attributes:
        file: Its path.
        columns: Their names.
        rows: By line.
        images: The path of the image of each row.
    """

    file: str
    columns: list[str]
    rows: Rows
    images: list[str]

    def column(self, name: str) -> list[Any]:
        """The values of a column, None where a row has none."""
        return [row.get(name) for _, row in self.rows]


def tables_in(tree: Tree, names: tuple[str, ...], request: Request) -> Iterator[ImageTable]:
    """The tables of these names in a tree.

    Where captions are not wanted, metadata without labels is passed over.

    Raises:
        PilotageError: One cannot be read, has no column of files, or names a file that is not
            there, or is outside of the tree and is not allowed to be.
    """
    files = [path for path in tree.root.walk() if PurePosixPath(path).name in names]
    known = {os.path.normpath(path) for path in tree.root.walk()} if files else set()
    for file in files:
        table = read_rows_of(tree, file)
        wanted = names == METADATA or PurePosixPath(file).name not in METADATA
        if wanted or (label_columns(table[0], request) and called(table[0], FILE_COLUMNS)):
            yield image_table(tree, file, table, known, request)


def called(columns: list[str], names: Collection[str]) -> list[str]:
    """The columns with one of some names, in any case."""
    return [column for column in columns if column.strip().lower() in names]


def label_columns(columns: list[str], request: Request) -> list[str]:
    """The columns that may hold the labels: the one asked for, or those named for it."""
    asked = request.label_column
    return called(columns, LABEL_NAMES) if asked is None else [asked] * (asked in columns)


def read_rows_of(tree: Tree, file: str) -> tuple[list[str], Rows]:
    """Columns and rows of a table."""
    return read_csv(tree, file) if file.endswith(".csv") else read_jsonl(tree, file)


def image_table(
    tree: Tree, file: str, table: tuple[list[str], Rows], known: set[str], request: Request
) -> ImageTable:
    """A table about images in a tree, whose paths are `known`."""
    columns, rows = table
    column = next((name for name in called(columns, FILE_COLUMNS)), FILE_COLUMN)
    check_column("", column, file, columns)
    alone = by_name(known)

    def image_of(row: Mapping[str, Any], line: int) -> str:
        name = row.get(column)
        if isinstance(name, str) and name and "\0" not in name:
            # Accents in names take another form on some systems.
            for spelling in (name, normalize("NFC", name), normalize("NFD", name)):
                path = os.path.normpath(PurePosixPath(file).parent / spelling)
                if path in known:
                    return path
                if not is_inside(path, tree.root.path):
                    check_allowed(path, tree.root.path, f"line {line} of {file!r}", request)
                    if os.path.isfile(path):  # noqa: PTH113 (the name may be any text)
                        return path
                elif found := alone.get(spelling):
                    return found
        raise PilotageError(
            f"data: line {line} of {file!r} names the file {name!r}, which does not exist"
        )

    return ImageTable(file, columns, rows, [image_of(row, line) for line, row in rows])


def by_name(known: set[str]) -> dict[str, str | None]:
    """Files by their names, with and without a suffix; None for those of several."""
    found: dict[str, str | None] = {}
    for path in known:
        file = PurePosixPath(path)
        for name in {file.name, file.stem} if file.suffix not in TABLE_SUFFIXES else ():
            found[name] = None if name in found else path
    return found


def read_captions(tree: Tree, request: Request) -> dict[str, str | None]:
    """The captions in the metadata files of a tree, by the path of the image.

    Their column is found by its name or type where none is asked for.

    Raises:
        PilotageError: As `tables_in`; or a column is asked for and there is no file or column.
    """
    asked, say = request.caption_column, request.say
    described: dict[str, str | None] = {}
    several = set()
    tables = list(tables_in(tree, METADATA, request))
    if asked is not None and not tables:
        raise PilotageError(
            f"data: caption_column={asked!r} is not allowed for {tree.root.path!r}, which has no "
            f"{' or '.join(METADATA)}"
        )
    for table in tables:
        for image, caption in captions_of(table, asked, say):
            if described.get(image) is None:
                described[image] = caption
            else:
                several.add(image)
    if several:
        say_several(len(several), "metadata", say)
    return described


def captions_of(table: ImageTable, asked: str | None, say: Say) -> list[tuple[str, str | None]]:
    """The image file and the caption of every row; none if no column holds captions."""
    check_column("caption_column=", asked, table.file, table.columns)
    kinds = {name: kind_of(name, table.column(name)) for name in table.columns}
    column = asked or choose_column({**kinds, **dict.fromkeys(FILE_COLUMNS)}, say)
    if column is None:
        say(f"data: {table.file!r} has no column of captions and is passed over")
        return []
    values = [check_value(row.get(column), column, line, table.file) for line, row in table.rows]
    name = PurePosixPath(table.file).name
    captions = first_captions(values, f"column {column!r} of {name!r}", say)
    return list(zip(table.images, captions, strict=True))


def read_label_tables(tree: Tree, request: Request) -> dict[str, Label | None]:
    """The labels in the tables of a tree, by the path of the image; none without such a column.

    Raises:
        PilotageError: As `tables_in`; or a label is neither text nor a whole number, or an image
            has two.
    """
    labels: dict[str, Label | None] = {}
    for table in tables_in(tree, LABEL_TABLES, request):
        labels = labels_of(table, request, labels)
    return as_numbers(labels)


def labels_of(
    table: ImageTable, request: Request, known: Mapping[str, Label | None]
) -> dict[str, Label | None]:
    """The labels in a table by the path of the image, together with the `known` ones.

    Raises:
        PilotageError: It has no column of labels, or a label is none, or an image has two.
    """
    columns = label_columns(table.columns, request)
    if not columns:
        raise PilotageError(
            f"data: {table.file!r} has no column of labels; its columns are "
            f"{some_of(table.columns)}; set label_column to one of them"
        )
    column = only_one("label_column", columns)
    labels = dict(known)
    for image, (line, row) in zip(table.images, table.rows, strict=True):
        label = check_label(row.get(column), column, line, table.file)
        if labels.setdefault(image, label) != label:
            raise PilotageError(
                f"data: line {line} of {table.file!r} gives {image!r} the label {label!r}, after "
                f"{labels[image]!r}"
            )
    request.say(f"data: labels are read from column {column!r} of {table.file!r}")
    return labels


def as_numbers(labels: dict[str, Label | None]) -> dict[str, Label | None]:
    """Labels as numbers if all of them are whole ones, so that 10 comes after 9."""
    texts = [str(label) for label in labels.values() if label is not None]
    if not all(map(WHOLE.fullmatch, texts)):
        return {image: None if x is None else str(x) for image, x in labels.items()}
    return {image: None if x is None else int(x) for image, x in labels.items()}


def check_label(value: Any, column: str, line: int, file: str) -> Label | None:
    """`value`, if it is text, a whole number or nothing."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    text = isinstance(value, str) and is_unicode(value)
    if text or (isinstance(value, int) and WHOLE.fullmatch(str(value))):
        return value.strip() if isinstance(value, str) else int(value)
    raise PilotageError(
        f"data: line {line} of {file!r} has {value!r:.99} in column {column!r}; allowed are text "
        "and whole numbers"
    )


def check_column(setting: str, name: str | None, file: str, columns: list[str]) -> None:
    """Raise a PilotageError unless a column, if any is named, is there."""
    if name is not None and name not in columns:
        raise PilotageError(
            f"data: {setting}{name!r} is no column of {file!r}; its columns are {some_of(columns)}"
        )


def is_inside(path: str, root: str) -> bool:
    """Whether a normal path lies in a folder."""
    return os.path.commonpath([path, root]) == root


def check_allowed(path: str, root: str, where: str, request: Request) -> None:
    """Raise a PilotageError unless the request allows images outside of a folder."""
    if not request.allow_outside:
        raise PilotageError(
            f"data: {where} names {path!r}, which is outside of {root!r}; allow_outside reads it"
        )


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


def check_value(value: Any, column: str, line: int, file: str) -> str | list[str] | None:
    """`value`, if it is text, a list of texts or None."""
    if value is None:
        return None
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) and is_unicode(text) for text in texts):
        raise PilotageError(
            f"data: line {line} of {file!r} has {value!r:.99} in column {column!r}; allowed are "
            "text, lists of texts and null"
        )
    return texts if isinstance(value, list) else texts[0]


def is_unicode(text: str) -> bool:
    """Whether `text` has no half of a surrogate pair, which JSON can write and UTF-8 cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def read_csv(tree: Tree, file: str) -> tuple[list[str], Rows]:
    """Columns and rows of a CSV file with a header; what a short row lacks is None."""
    text = tree.read_text(file, "data: the metadata")
    between = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=between)
    rows: Rows = []
    try:
        for row in reader:
            if None in row:
                raise PilotageError(
                    f"data: line {reader.line_num} of {file!r} has more fields than the "
                    "header; put captions with commas in quotation marks"
                )
            rows.append((reader.line_num, row))
        return list(reader.fieldnames or ()), rows
    except csv.Error as error:
        raise PilotageError(
            f"data: line {reader.line_num} of {file!r} is not CSV: {error}"
        ) from error


def read_jsonl(tree: Tree, file: str) -> tuple[list[str], Rows]:
    """Columns and rows of a file with one JSON object per line."""
    rows: Rows = []
    # Not splitlines(): JSON strings may contain what Unicode takes for a line's end.
    for line, text in enumerate(tree.read_text(file, "data: the metadata").split("\n"), 1):
        if not text.strip():
            continue
        try:
            row = parse_json(text)
        except ValueError as error:
            raise PilotageError(f"data: line {line} of {file!r} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise PilotageError(f"data: line {line} of {file!r} is not a JSON object")
        rows.append((line, row))
    return list(dict.fromkeys(name for _, row in rows for name in row)), rows
