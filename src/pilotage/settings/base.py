"""What all settings share: frozen, strict about names, and with one-sentence errors."""

import re
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pilotage.errors import PilotageError

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """Frozen, strict about names, and with one-sentence errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise PilotageError(_sentence(error)) from None

    def replace(self, **changes: Any) -> Self:
        """A copy with some settings changed, validated like any other.

        Raises:
            PilotageError: if a setting does not exist or its value is not allowed.
        """
        return type(self)(**{**dict(self), **changes})

    def part(self, kind: type[S]) -> S:
        """Those of the settings that another kind has, as that."""
        return kind(**{name: getattr(self, name) for name in kind.model_fields})

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Tell each setting's bounds in its help."""
        for field in cls.model_fields.values():
            bounds = _bounds(field.metadata)
            if field.description and bounds and not field.description.endswith(bounds):
                field.description += bounds


def _bounds(metadata: list[Any]) -> str:
    """The limits of a number, as in " [>= 0, < 1]"."""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = [
        f"{sign} {getattr(limit, name):g}"
        for limit in metadata
        for name, sign in signs.items()
        if getattr(limit, name, None) is not None
    ]
    return f" [{', '.join(found)}]" if found else ""


def _sentence(error: ValidationError) -> str:
    """The first mistake of a validation: the setting, the value and what is allowed."""
    mistake = error.errors()[0]
    # of a setting with several types the place also names the type that was tried last
    name = ".".join(str(part) for part in mistake["loc"] if re.fullmatch(r"\w+", str(part)))
    if mistake["type"] == "value_error":
        return str(mistake["ctx"]["error"])
    if mistake["type"] == "extra_forbidden":
        return f"{name} is not a setting."
    reason = re.sub(r"^(Input|Tuple|List|String|Value) ", "", mistake["msg"]).rstrip(".")
    return f"{name} is {mistake['input']!r}: it {reason}."
