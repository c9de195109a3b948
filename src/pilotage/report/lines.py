"""JSON lines, and fields of them, with errors that name the place."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pilotage.errors import PilotageError


class Line(NamedTuple):
    """A JSON object and where it was found."""

    where: str
    content: dict[str, Any]

    def need(self, name: str, kind: type | tuple[type, ...]) -> Any:
        """A field that has to be there, and of that type."""
        if name not in self.content:
            raise PilotageError(f"{self.where}: {name} is missing.")
        value = self.content[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise PilotageError(f"{self.where}: {name} is {value!r}, which it cannot be.")
        return value

    def number(self, name: str) -> float:
        """A field that has to be a finite number."""
        value = self.need(name, (int, float))
        if not math.isfinite(value):
            raise PilotageError(f"{self.where}: {name} is {value!r}, not a finite number.")
        return value

    def number_or(self, name: str, *others: Any) -> Any:
        """A field that may also be one of these, or null or not there."""
        value = self.content.get(name)
        return value if value is None or value in others else self.number(name)

    def pair(self, name: str) -> tuple[float, float]:
        """A field that has to be a number and its standard error; NaN for null."""
        value = self.need(name, object)
        if not is_pair(value):
            raise PilotageError(f"{self.where}: {name} is {value!r}, not [value, standard error].")
        return known(value)

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        """A field that has to be one of these."""
        value = self.need(name, str)
        if value not in allowed:
            raise PilotageError(
                f"{self.where}: {name} is {value!r}, not one of {', '.join(allowed)}."
            )
        return value

    def parts(self, name: str) -> list["Line"]:
        """A field that has to be a list of objects."""
        found = self.need(name, list)
        for part in found:
            if not isinstance(part, dict):
                raise PilotageError(f"{self.where}: {name} holds {part!r}, not a JSON object.")
        return [Line(f"{self.where}, {name} {k}", part) for k, part in enumerate(found, 1)]


def is_pair(value: Any) -> bool:
    """Whether it is two numbers, or nulls."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(x is None or isinstance(x, (int, float)) for x in value)
    )


def known(pair: list[float | None]) -> tuple[float, float]:
    """Two numbers, NaN for null."""
    value, error = (math.nan if number is None else float(number) for number in pair)
    return value, error


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
            content = json.loads(part)
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
