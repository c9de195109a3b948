"""Texts in JSON and YAML that anybody may have written, and cells of tables for spreadsheets."""

import json
from typing import Any

import yaml

TOO_LONG = 16 * 2**20  # characters of settings or of one record


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, by which a few bytes can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        return super().compose_node(parent, index)


def parse_yaml(text: str) -> Any:
    """What a YAML text says.

    Raises:
        ValueError: It is no YAML, too long, nested too deeply, or has aliases.
    """
    _check_length(text)
    try:
        return yaml.load(text, _PlainLoader)
    except (yaml.YAMLError, RecursionError, TypeError, AttributeError, LookupError) as error:
        raise ValueError(_first_line(error)) from None


def parse_json(text: str | bytes) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: It is no JSON, too long, or nested too deeply.
    """
    _check_length(text)
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


def _check_length(text: str | bytes) -> None:
    if len(text) > TOO_LONG:
        raise ValueError(f"it has {len(text)} characters, and at most {TOO_LONG} are read")


def _first_line(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return (str(error).splitlines() or [type(error).__name__])[0]
