"""What all settings share: frozen, strict about names, and with one-sentence errors.

Some settings are values that have a name and parameters, such as a sampler or a guidance rule. A
:class:`Choice` has one text form, ``ddim(eta=0.5)``, which the command line and files read and
which records, labels and titles print, so that a parameter is listed once: as a field.
"""

import ast
import re
from collections.abc import Container
from typing import Annotated, Any, ClassVar, Self, TypeVar

import tyro
from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic_core import core_schema

from pilotage.errors import PilotageError

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """Frozen, strict about names, and with one-sentence errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def __init__(self, /, **values: Any) -> None:
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
    if mistake["type"] == "missing":
        return f"{name} is missing."
    if mistake["type"] == "extra_forbidden":
        return f"{name} is not a setting."
    reason = re.sub(r"^(Input|Tuple|List|String|Value) ", "", mistake["msg"]).rstrip(".")
    return f"{name} is {mistake['input']!r}: it {reason}."


_FORM = re.compile(r"([A-Za-z0-9_-]+)\s*(?:\((.*)\))?", re.DOTALL)


class Choice(Settings):
    """One of the values of a family.

    A direct subclass is a family, such as the samplers; its own subclasses, each with a ``name``,
    are the choices. Defining one makes it known.

    Attributes:
        family: what the family's setting is called, for messages.
        name: of a choice.
        known: the choices of the family by name.
    """

    family: ClassVar[str]
    name: ClassVar[str]
    known: ClassVar[dict[str, type[Any]]]

    @classmethod
    def __pydantic_init_subclass__(cls, **how: Any) -> None:
        """Begin a family, or make a choice known to its family."""
        super().__pydantic_init_subclass__(**how)
        if Choice in cls.__bases__:
            cls.known = {}
        else:
            cls.known[cls.name] = cls

    @classmethod
    def parse(cls, given: Any) -> Self:
        """A choice from its text form; a choice stays as it is.

        Raises:
            PilotageError: if the name or a parameter is unknown, or a value is not allowed.
        """
        if isinstance(given, cls):
            return given
        form = _FORM.fullmatch(given.strip()) if isinstance(given, str) else None
        if form is None or form[1] not in cls.known:
            raise PilotageError(
                f"{cls.family} is {given!r}: it must be one of {', '.join(cls.known)}, with its "
                "parameters in brackets."
            )
        choice: type[Self] = cls.known[form[1]]
        try:
            found: Self = choice(**_parameters(form[2] or "", list(choice.model_fields)))
        except PilotageError as error:
            raise PilotageError(f"{cls.family} is {given!r}: {error}") from None
        return found

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that are not at their defaults."""
        fields = type(self).model_fields
        return {key: value for key, value in self if value != fields[key].default}

    def text(self, without: Container[str] = ()) -> str:
        """The text form, without what is at its default or named here."""
        told = [f"{key}={x}" for key, x in self.parameters.items() if key not in without]
        return f"{self.name}({', '.join(told)})" if told else self.name

    def __str__(self) -> str:
        """The text form."""
        return self.text()

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Let a setting of a family take the text form; files get it too."""
        if "name" in cls.__dict__:
            return handler(source)
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema()
        )


def _parameters(text: str, names: list[str]) -> dict[str, Any]:
    """``0.5``, ``eta=0.5`` or ``v=learned`` as values by name.

    Raises:
        PilotageError: if the text cannot be read.
    """
    try:
        call = ast.parse(f"_({text})", mode="eval").body
        if not isinstance(call, ast.Call) or len(call.args) > len(names):
            raise ValueError
        found = dict(zip(names, map(_value, call.args), strict=False))
        return found | {str(pair.arg): _value(pair.value) for pair in call.keywords}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        allowed = ", ".join(f"{name}=..." for name in names) or "none"
        raise PilotageError(f"the parameters are {allowed}.") from None


def _value(node: ast.expr) -> Any:
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)


# beside the type of a field: the command line takes one word, which the field then reads
AS_TEXT = tyro.constructors.PrimitiveConstructorSpec[Any](
    nargs=1,
    metavar="NAME",
    instance_from_str=lambda words: words[0],
    is_instance=lambda value: isinstance(value, str | Choice),
    str_from_instance=lambda value: [str(value)],
)
