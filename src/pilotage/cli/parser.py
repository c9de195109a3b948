"""From words to settings: tyro reads the words, pydantic the values, and help comes in groups.

Only what was given leaves tyro; a preset's or another run's settings lie under it. So tyro judges
no value, and each mistake is one sentence of :mod:`pilotage.settings.base` or of this file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field as dataclass_field
from dataclasses import make_dataclass, replace
from typing import Annotated, Any, NamedTuple

import tyro
from pydantic.fields import FieldInfo

from pilotage.errors import PilotageError, did_you_mean
from pilotage.settings.base import Settings, facts_of

HELP = {"-h", "--help"}


class Setting(NamedTuple):
    """A setting that can be given.

    Attributes:
        path: names from the outermost settings to it.
        flag: its words, such as ``network.head-channels``.
        group: title in the help.
        field: of the settings that it is one of.
        default: its value if not given.
    """

    path: tuple[str, ...]
    flag: str
    group: str
    field: FieldInfo
    default: Any

    @property
    def positional(self) -> bool:
        """Whether it is given without its name."""
        return tyro.conf.Positional in self.field.metadata

    @property
    def words(self) -> Any:
        """How tyro reads it."""
        return _words(Annotated[(self.field.annotation, None, *self.field.metadata)])

    @property
    def annotation(self) -> Any:
        """What tyro takes it for: words, with a help."""
        notes = [found for found in self.field.metadata if not hasattr(found, "nargs")]
        text = f"{(self.field.description or '').removesuffix('.')}{_bounds(self.field)}."
        about = tyro.conf.arg(
            name=None if self.positional else self.flag,
            prefix_name=False,
            help=text,
            help_behavior_hint=_default_text(self.field, self.default),
        )
        if self.is_flag:
            return Annotated[(bool, about)]
        return Annotated[(Any, *notes, about, self.words)]

    @property
    def is_flag(self) -> bool:
        """Whether it takes no value."""
        return self.field.annotation is bool

    @property
    def key(self) -> str:
        """Its name in the class that tyro fills."""
        return self.path[-1] if self.positional else "__".join(self.path)

    @property
    def absent(self) -> Any:
        """What stands for a value that was not given."""
        return self.default if self.is_flag else ...


def parse(
    kind: type[Settings],
    prog: str,
    words: Sequence[str],
    about: str = "",
    defaults: Mapping[str, Any] | None = None,
) -> Any:
    """The settings that words give.

    Args:
        kind: of the settings.
        prog: the command so far, for the help.
        words: what follows it.
        about: what the command does, for the help.
        defaults: of some of the settings.

    Raises:
        PilotageError: one sentence about the first mistake.
    """
    found = list(settings_of(kind, defaults or {}))
    helps = bool(HELP & set(words))
    if helps:
        found, about = _of_group(found, words[-1], about)
        words = ["--help"]
    try:
        given, unknown = tyro.cli(
            form(kind.__name__, found),
            prog=prog,
            description=about,
            args=list(words),
            return_unknown_args=True,
            console_outputs=helps,
        )
    except SystemExit:
        if helps:
            raise
        raise PilotageError(_short_of_values(words, found)) from None
    if unknown:
        raise PilotageError(_unknown(unknown[0], words, found, prog))
    return kind(**_over(kind, defaults or {}, _tree(given, found)))


def settings_of(
    kind: type[Settings],
    defaults: Mapping[str, Any],
    path: tuple[str, ...] = (),
    flag: str = "",
) -> Iterator[Setting]:
    """All settings of a kind, those inside others too."""
    group, facts = flag.rstrip("."), facts_of(kind)
    inner: list[Iterator[Setting]] = []
    for name, field in kind.model_fields.items():
        if not flag:
            group = kind.groups.get(name, group)
        default = defaults.get(name, field.get_default(call_default_factory=True))
        held, given_as, unnamed = facts[name]
        if held is None:
            words = flag + name.replace("_", "-")
            yield Setting((*path, name), given_as or words, group, field, default)
        else:
            own = dict(default) if isinstance(default, Settings) else {}
            prefix = flag if unnamed else f"{flag}{name.replace('_', '-')}."
            inner.append(settings_of(held, own, (*path, name), prefix))
    for found in inner:
        yield from found


def form(name: str, settings: Sequence[Setting]) -> type[Any]:
    """The class that tyro fills: one field for each setting, in groups."""
    groups: dict[str, list[Any]] = {}
    for setting in settings:
        entry = (setting.key, setting.annotation, dataclass_field(default=setting.absent))
        groups.setdefault("" if setting.positional else setting.group, []).append(entry)
    own = groups.pop("", [])
    made = [
        (title.replace(".", "_"), group := make_dataclass(title.replace(".", "_"), entries), group)
        for title, entries in groups.items()
    ]
    inside = [(key, group, dataclass_field(default_factory=group)) for key, group, _ in made]
    return make_dataclass(name, [*own, *inside])


def _of_group(found: list[Setting], group: str, about: str) -> tuple[list[Setting], str]:
    """What ``--help`` shows: what has no prefix, or with a prefix after it all that has this."""
    inner = dict.fromkeys(setting.group for setting in found if "." in setting.flag)
    if group in inner:
        return [setting for setting in found if setting.group == group], ""
    more = f"\n\n  --help GROUP shows more options, of: {', '.join(inner)}" if inner else ""
    return [setting for setting in found if setting.group not in inner], about + more


def value_of(flag: str, words: Sequence[str]) -> str | None:
    """The word that is given with a flag, before all words are read."""
    for k, word in enumerate(words):
        if word.partition("=")[0] == flag:
            following = word.partition("=")[2] or "".join(words[k + 1 : k + 2])
            return following or None
    return None


def _words(annotation: Any) -> tyro.constructors.PrimitiveConstructorSpec[Any]:
    """Tyro's own reading of a type, which keeps words that it cannot read."""
    info = tyro.constructors.PrimitiveTypeInfo.make(annotation, set())
    spec: Any = tyro.constructors.ConstructorRegistry.get_primitive_spec(info)

    def read(words: list[str]) -> Any:
        try:
            return spec.instance_from_str(words)
        except (ValueError, TypeError):
            return words[0] if spec.nargs == 1 and words else words

    found: tyro.constructors.PrimitiveConstructorSpec[Any] = replace(
        spec,
        metavar=_metavar(spec),
        instance_from_str=read,
        is_instance=lambda _: True,
        str_from_instance=lambda _: [""],
        choices=None,
    )
    return found


def _metavar(spec: Any) -> str:
    """Tyro's name of the values, shorter: ``INT ...`` for ``{None}|[INT [INT ...]]``."""
    kinds = [kind for kind in spec.metavar.split("|") if kind != "{None}"]
    name = "|".join(kind if "," in kind else kind.strip("{}") for kind in kinds)
    for long, short in (("INT", "N"), ("FLOAT", "X"), ("STR", "TEXT")):
        name = name.replace(long, short)
    return f"{name[1:].partition(' [')[0]} ..." if spec.nargs == "*" else name


def _bounds(field: FieldInfo) -> str:
    """The limits of a number, as in " [>= 0, < 1]"."""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = [
        f"{sign} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, sign in signs.items()
        if abs(getattr(limit, name, None) or 0) < 1e9 and getattr(limit, name, None) is not None
    ]
    return f" [{', '.join(found)}]" if found else ""


def _default_text(field: FieldInfo, default: Any) -> str:
    if field.is_required() and field.get_default() is default:
        return "(required)"
    if default is None or default == ():
        return ""
    values = default if isinstance(default, tuple) else [default]
    return f"(default: {' '.join(map(str, values))})"


def _tree(given: Any, settings: Sequence[Setting]) -> dict[str, Any]:
    """What was given, by name, inside others where it belongs."""
    tree: dict[str, Any] = {}
    for setting in settings:
        where = given
        if not setting.positional and setting.group:
            where = getattr(given, setting.group.replace(".", "_"))
        value = getattr(where, setting.key)
        if value is not setting.absent:
            place = tree
            for name in setting.path[:-1]:
                place = place.setdefault(name, {})
            place[setting.path[-1]] = value
    return tree


def _over(kind: Any, under: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given settings over others."""
    found = dict(under)
    for name, value in given.items():
        inner = facts_of(kind)[name].inner
        if inner is not None:
            default = under.get(name, kind.model_fields[name].get_default())
            value = _over(inner, dict(default) if isinstance(default, Settings) else {}, value)
        found[name] = value
    return found


def _following(flag: str, words: Sequence[str]) -> list[str]:
    """The words between a flag and the next one."""
    start = next(k for k, word in enumerate(words) if word.partition("=")[0] == flag) + 1
    ends = [k for k in range(start, len(words)) if words[k].startswith("--")]
    return list(words[start : ends[0] if ends else None])


def _unknown(word: str, words: Sequence[str], settings: Sequence[Setting], prog: str) -> str:
    """What is wrong with a word that tyro has no use for."""
    known = {f"--{setting.flag}": setting for setting in settings if not setting.positional}
    if word.startswith("-"):
        flag = word.partition("=")[0]
        guess = did_you_mean(flag, [*known, *(f"--no-{flag[2:]}" for flag in known)])
        return f"{flag} is not a flag of `{prog}`.{guess or ' --help lists them.'}"
    place = next(k for k, given in enumerate([*words, word]) if given.endswith(word))
    before = [w.partition("=")[0] for w in words[: place + 1] if w.startswith("--")]
    if not before or before[-1] not in known:
        return f"{word!r} is one word too many for `{prog}`; --help lists what it takes."
    setting, values = known[before[-1]], _following(before[-1], words)
    count = setting.words.nargs if not setting.is_flag else 0
    several = f"{prog} takes {count or 'no'} value{'s' * (count != 1)} of it"
    if prog == "pilotage sample" and setting.path[-1] in ("w", "steps", "sampler"):
        flags = " ".join([before[-1], *values])
        several = f"it takes one value; `pilotage sweep RUN {flags}` measures several"
    return f"{setting.path[-1]} is {' '.join(values)!r}: {several}."


def _short_of_values(words: Sequence[str], settings: Sequence[Setting]) -> str:
    """Which flag has fewer values than it needs; it is all that tyro itself refuses."""
    for setting in settings:
        flag, count = f"--{setting.flag}", setting.words.nargs
        if flag in words and isinstance(count, int) and not setting.is_flag:
            found = _following(flag, words)
            if len(found) < count:
                return f"{setting.flag} has {len(found)} values: it must have {count}."
    return f"{' '.join(words)!r} cannot be read; --help lists what may be given."
