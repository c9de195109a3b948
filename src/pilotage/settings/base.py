"""What all settings share: frozen, strict about names, and with one-sentence errors.

Some settings are values that have a name and parameters, such as a sampler or a guidance rule. A
:class:`Choice` has one text form, ``ddim(eta=0.5)``, which the command line and files read and
which records, labels and titles print, so that a parameter is listed once: as a field.
"""

import ast
import re
from collections.abc import Container
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple, Self, TypeVar

import tyro
from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic_core import core_schema

from pilotage.errors import PilotageError, did_you_mean

Positive = Annotated[int, Field(ge=1, le=10**9)]
Fraction = Annotated[float, Field(ge=0, le=1)]
MaybeSize = Annotated[tuple[Positive, Positive] | None, tyro.conf.arg(metavar="H W")]
_RUN = tyro.conf.arg(name="run", metavar="RUN")
OneRun = Annotated[Path, tyro.conf.Positional, _RUN]
MaybeRun = Annotated[Path | None, tyro.conf.Positional, _RUN]
Runs = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN ...")]
Folder = Annotated[Path, tyro.conf.arg(metavar="FOLDER")]
UNNAMED = tyro.conf.arg(name="")  # on a field of settings: its own name is no part of theirs
S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """Frozen, strict about names, and with one-sentence errors.

    Attributes:
        groups: titles in the help, by the first setting under each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    groups: ClassVar[dict[str, str]] = {}

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise PilotageError(_sentence(type(self), error)) from None

    # pydantic then validates settings inside others itself, so that errors have the whole path
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def replace(self, **changes: Any) -> Self:
        """A copy with some settings changed, validated like any other.

        Raises:
            PilotageError: if a setting does not exist or its value is not allowed.
        """
        return type(self)(**{**dict(self), **changes})

    def part(self, kind: type[S]) -> S:
        """Those of the settings that another kind has, as that."""
        return kind(**{name: getattr(self, name) for name in kind.model_fields})


class DeviceSettings(Settings):
    """Where networks run."""

    device: Annotated[str, tyro.conf.arg(metavar="DEVICE")] = Field(
        "auto", description="auto (a GPU if there is one), cpu, cuda or cuda:N."
    )


class Facts(NamedTuple):
    """What the command line and messages need of a field.

    Attributes:
        inner: the kind of settings that it holds, if it holds some.
        given_as: the name that it is given by, if that is not its own.
        unnamed: whether its settings are given without its name before theirs.
    """

    inner: type[Settings] | None
    given_as: str | None
    unnamed: bool


@cache
def facts_of(kind: type[Settings]) -> dict[str, Facts]:
    """The facts of all fields of a kind of settings."""
    found = {}
    for name, field in kind.model_fields.items():
        held: Any = field.annotation
        notes = field.metadata
        holds = isinstance(held, type) and issubclass(held, Settings)
        inner = held if holds and not issubclass(held, Choice) else None
        given_as = next((note.name for note in notes if getattr(note, "name", None)), None)
        found[name] = Facts(inner, given_as, UNNAMED in notes)
    return found


class _UnfitError(PilotageError):
    """What is wrong with a value, without the setting's name."""


# what a value must be, by pydantic's type of error
_KINDS = {
    "int": "be a whole number",
    "float": "be a number",
    "finite": "be a finite number",
    "bool": "be True or False",
    "tuple": "be several values",
    "string": "be text",
    "path": "be a path",
}


def _sentence(kind: type[Settings], error: ValidationError) -> str:
    """The first mistake of a validation: the setting, the value and what is allowed."""
    first, *others = error.errors()
    name, place = _name(kind, first["loc"])
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, _UnfitError):
        return f"{name} is {first['input']!r}: {cause}"
    if first["type"] == "value_error":  # of settings inside others, the sentence begins with a name
        return f"{name}.{cause}" if name else str(cause)
    if first["type"] == "extra_forbidden":
        return f"{name} is not a setting.{did_you_mean(str(first['loc'][-1]), kind.model_fields)}"
    if first["type"] == "missing" and not isinstance(first["loc"][-1], int):
        return f"{name or first['loc'][-1]} is missing: it must be given."
    if first["type"] == "missing":  # of a tuple, as are those after it
        count = int(first["loc"][-1]) + 1 + len(others)
        return f"{name} is {first['input']!r}: it must be {count} values."
    inside = len(first["loc"]) > place and isinstance(first["loc"][place], int)
    place += inside  # a value among several; errors at the same place are of other types
    musts = dict.fromkeys(_must(x) for x in (first, *others) if _at(x, place) == _at(first, place))
    return f"{name} {'has' if inside else 'is'} {first['input']!r}: it must {' or '.join(musts)}."


def _at(mistake: Any, length: int) -> Any:
    return mistake["loc"][:length] if len(mistake["loc"]) >= length else None


# what pydantic puts into a place to say which of several types it tried
_TAG = re.compile(r"int|float|str|bool|none|path|.*[\[\]()-].*")


def _name(kind: type[Settings] | None, place: tuple[int | str, ...]) -> tuple[str, int]:
    """A setting's name as it is given, and how much of pydantic's place that is."""
    parts: list[str] = []
    for length, part in enumerate(place):
        if kind is None:
            inside = [str(key) for key in place[length:] if not _TAG.fullmatch(str(key))]
            if all(key.isdecimal() for key in inside):
                return ".".join(parts), length
            return ".".join([*parts, *inside]), len(place)
        facts = facts_of(kind).get(str(part), Facts(None, None, False))
        if not facts.unnamed:
            parts.append(facts.given_as or str(part))
        kind = facts.inner
    return ".".join(parts), len(place)


def _must(mistake: Any) -> str:
    """What pydantic says that a value should be."""
    known = _KINDS.get(mistake["type"].partition("_")[0])
    said: str = mistake["msg"].partition(" should ")[2].partition(" after validation")[0]
    return known or said or mistake["msg"].removeprefix("must ")


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
        try:
            return cls._read(given)
        except PilotageError as error:
            raise PilotageError(f"{cls.family} is {given!r}: {error}") from None

    @classmethod
    def _read(cls, given: Any) -> Self:
        """A choice from its text form, with errors that do not name the setting."""
        if isinstance(given, cls):
            return given
        form = _FORM.fullmatch(given.strip()) if isinstance(given, str) else None
        if form is None or form[1] not in cls.known:
            known = ", ".join(cls.known)
            raise _UnfitError(f"it must be one of {known}, with its parameters in brackets.")
        choice: type[Self] = cls.known[form[1]]
        try:
            return choice(**_parameters(form[2] or "", list(choice.model_fields)))
        except PilotageError as error:
            raise _UnfitError(str(error)) from None

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that are not at their defaults."""
        fields = type(self).model_fields
        return {key: value for key, value in self if value != fields[key].default}

    def text(self, without: Container[str] = ()) -> str:
        """The text form, without what is at its default or named in ``without``."""
        shown = [f"{key}={x}" for key, x in self.parameters.items() if key not in without]
        return f"{self.name}({', '.join(shown)})" if shown else self.name

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
            cls._read, serialization=core_schema.to_string_ser_schema()
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


# of a field: the command line takes one word, which the field then reads
AS_TEXT = tyro.constructors.PrimitiveConstructorSpec[Any](
    nargs=1,
    metavar="NAME",
    instance_from_str=lambda words: words[0],
    is_instance=lambda value: isinstance(value, str | Choice),
    str_from_instance=lambda value: [str(value)],
)
