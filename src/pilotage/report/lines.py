"""JSON lines, and fields of them, with errors that name the place."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pilotage.errors import PilotageError
from pilotage.utils.parsing import parse_json

T = TypeVar("T")


class Line(NamedTuple):
    """A JSON object and where it was found."""

    where: str
    content: dict[str, Any]

    def has(self, name: str) -> bool:
        """Whether a field is there, and not null."""
        return self.content.get(name) is not None

    def need(self, name: str, kind: type | tuple[type, ...]) -> Any:
        """A field that has to be there, and of that type."""
        if name not in self.content:
            raise PilotageError(f"{self.where}: {name} is missing.")
        value = self.content[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise PilotageError(f"{self.where}: {name} is {value!r}, which it cannot be.")
        return value

    def text(self, name: str) -> str:
        """A field that has to be text."""
        return str(self.need(name, str))

    def count(self, name: str) -> int:
        """A field that has to be a whole number."""
        return int(self.need(name, int))

    def number(self, name: str) -> float:
        """A field that has to be a finite number."""
        value: float = self.need(name, (int, float))
        if not math.isfinite(value):
            raise PilotageError(f"{self.where}: {name} is {value!r}, not a finite number.")
        return value

    def number_or_null(self, name: str) -> float | None:
        """A field that may also be null or not there."""
        return self.number(name) if self.has(name) else None

    def pair(self, name: str) -> tuple[float, float]:
        """A field that has to be a number and its standard error; NaN for null."""
        pair = self.need(name, object)
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or not all(x is None or isinstance(x, int | float) for x in pair)
        ):
            raise PilotageError(f"{self.where}: {name} is {pair!r}, not [value, standard error].")
        value, error = (math.nan if x is None else float(x) for x in pair)
        return value, error

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        """A field that has to be one of these."""
        value = self.text(name)
        if value not in allowed:
            raise PilotageError(
                f"{self.where}: {name} is {value!r}, not one of {', '.join(allowed)}."
            )
        return value

    def part(self, name: str) -> "Line":
        """A field that has to be an object."""
        return Line(f"{self.where}, {name}", self.need(name, dict))

    def parts(self, name: str) -> list["Line"]:
        """A field that has to be a list of objects."""
        found = self.need(name, list)
        for part in found:
            if not isinstance(part, dict):
                raise PilotageError(f"{self.where}: {name} holds {part!r}, not a JSON object.")
        return [Line(f"{self.where}, {name} {k}", part) for k, part in enumerate(found, 1)]

    def read(self, make: Callable[[Mapping[str, Any]], T]) -> T:
        """What a function makes of the object; its errors name the place."""
        try:
            return make(self.content)
        except PilotageError as error:
            raise PilotageError(f"{self.where}: {error}") from None


def read_lines(path: Path) -> list[Line]:
    """The JSON objects of a file, one per line; a last line that is cut short is passed over.

    Raises:
        PilotageError: naming file and line, if any other line is no JSON object.
    """
    if not path.exists():
        return []
    parts = path.read_bytes().split(b"\n")
    lines = []
    for k, part in enumerate(parts, 1):
        if not part.strip():
            continue
        try:
            content = parse_json(part)
        except ValueError:  # of JSON or of UTF-8
            content = None
        if isinstance(content, dict):
            lines.append(Line(f"{path}, line {k}", content))
        elif k < len(parts):
            raise PilotageError(f"{path}, line {k} is not a JSON object.")
    return lines


def by_step(lines: list[Line]) -> list[Line]:
    """In order of their steps; of one step the last."""
    steps = {line.number("step"): line for line in lines}
    return [steps[step] for step in sorted(steps)]
