"""Texts in JSON and YAML that anybody may have written, and cells of tables for spreadsheets."""

import json
from typing import Any

import yaml

TOO_LONG = 2**24  # characters of a JSON text
TOO_SLOW = 2**20  # characters of a YAML text, which take a second for some ten thousands


# written in C where it is there, which is ten times as fast
_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str) -> Any:
    """What a YAML text says.

    Raises:
        ValueError: It is no YAML, too long, nested too deeply, or has aliases.
    """
    _check_length(text, TOO_SLOW)
    try:
        # By aliases a few bytes can stand for gigabytes, once what they say is printed.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, _LOADER)):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        return yaml.load(text, _LOADER)
    except (yaml.YAMLError, RecursionError, TypeError, AttributeError, LookupError) as error:
        raise ValueError(_first_line(error)) from None


def parse_json(text: str | bytes) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: It is no JSON, too long, or nested too deeply.
    """
    _check_length(text, TOO_LONG)
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def plain_cell(value: Any) -> Any:
    """A value for a CSV file; spreadsheets take texts that begin like formulas for text as well."""
    if isinstance(value, str) and value.lstrip()[:1] in tuple("=+-@") and not _is_number(value):
        return f"'{value}"
    return f"'{value}" if isinstance(value, str) and value[:1] in ("\t", "\r", "\n") else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_length(text: str | bytes, most: int) -> None:
    if len(text) > most:
        raise ValueError(f"it has {len(text)} characters, and at most {most} are read")


def _first_line(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return (str(error).splitlines() or [type(error).__name__])[0]
