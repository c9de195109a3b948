"""The command line: which command is asked for, with which settings; run it.

Only pydantic and tyro are imported before the command is known, so that help is quick.
"""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import pairwise
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Protocol, TextIO

import tyro

from pilotage.cli.commands import PLAIN, STUDIES, TRAIN, PresetCommand
from pilotage.cli.parse_errors import one_sentence
from pilotage.errors import PilotageError
from pilotage.recipes import PRESETS_OF
from pilotage.utils.signals import INTERRUPTED
from pilotage.version import __version__


class Command(Protocol):
    """What a parsed command line can do."""

    def run(self) -> int | None:
        """Do it; the exit status, if it is not 0."""
        ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 2 bad input, 1 diverged, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    warnings.showwarning = _one_line_warning
    if arguments == ["--version"]:
        print(f"pilotage {__version__}")
        return 0
    try:
        return parse(arguments).run() or 0
    except (PilotageError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except RuntimeError as error:
        if type(error).__name__ != "TrainingDivergedError":
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1


def parse(arguments: Sequence[str]) -> Command:
    """The command that the arguments ask for.

    Raises:
        PilotageError: one sentence about the first mistake.
    """
    if arguments[:1] in (["study"], ["import"], ["export"]) and len(arguments) > 1:
        arguments = [f"{arguments[0]}-{arguments[1]}", *arguments[2:]]  # study NAME is study-NAME
    arguments = _of_kind(list(arguments))
    if {*arguments[:1]} & _TAKE_RUNS and "--from" in arguments:
        return _parse_from(arguments)
    _check_kind(arguments)
    _check_names(arguments)
    return _parse_named(arguments)


def _parse_named(arguments: Sequence[str]) -> Command:
    """The command with its own parser alone, which is quicker than that of all commands."""
    name, preset = (*arguments[:2], "", "")[:2]
    if name in PLAIN:
        command = PLAIN[name]
        return _parsed(command, f"pilotage {name}", arguments[1:], description=command.__doc__)
    if name in _OF_PRESETS and preset in PRESETS_OF[_OF_PRESETS[name].task]:
        about, default = _preset(name, preset)
        prog = f"pilotage {name} {preset}"
        return _parsed(_OF_PRESETS[name], prog, arguments[2:], description=about, default=default)
    return _parsed(_command_type(), "pilotage", arguments, description=_ABOUT)


def _of_kind(arguments: list[str]) -> list[str]:
    """``train`` as the command whose recipes have the objective, or the preset, that follows."""
    if arguments[:1] != ["train"] or "--from" in arguments:
        return arguments
    asked = {word.partition("=")[2] for word in arguments if word.startswith("--objective=")}
    asked |= {value for flag, value in pairwise(arguments) if flag == "--objective"}
    marked = [name for name, kind in _LED_TO.items() if kind.marks.get("objective") in asked]
    preset = "".join(arguments[1:2])
    known = [name for name, kind in _LED_TO.items() if preset in PRESETS_OF[kind.task]]
    return [(marked or known or ["train"])[0], *arguments[1:]]


def _parse_from(arguments: list[str]) -> Command:
    """``train --from RUN``: the run's own recipe stands where a preset's would.

    Raises:
        PilotageError: if there is no such run, or it holds something else.
    """
    from pilotage.models.run_folder import read_card

    name, place = arguments[0], arguments.index("--from")
    source, rest = arguments[place + 1 : place + 2], arguments[1:place] + arguments[place + 2 :]
    if not source:
        raise PilotageError("--from needs the folder of a run.")
    recipe = read_card(Path(source[0])).recipe
    if recipe.noun != TRAIN[name].trains.noun:
        raise PilotageError(
            f"--from is {source[0]}: it holds a {recipe.noun}, which {name} does not train."
        )
    command = next(command for command in TRAIN.values() if command.trains is type(recipe))
    default = _with_defaults(command, {**dict(recipe), "start_from": source[0]})
    return _parsed(command, f"pilotage {name} --from {source[0]}", rest, default=default)


def _parsed(kind: Any, prog: str, arguments: Sequence[str], **how: Any) -> Command:
    """What tyro parses, or one sentence about the first mistake; help is as tyro writes it."""
    how |= {"prog": prog, "args": arguments}
    if _HELP & set(arguments):
        helped: Command = tyro.cli(kind, **how)
        return helped
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), _wide_terminal():
            command: Command = tyro.cli(kind, **how)
    except SystemExit:
        raise PilotageError(one_sentence(said.getvalue(), prog)) from None
    return command


_ABOUT = "Train, steer and measure guided diffusion models."
_HELP = {"-h", "--help"}
_TAKE_RUNS = {"train", "train-classifier"}  # these have --from
# the recipes that ``train`` finds by their presets and objectives: all that are of its own noun
_LED_TO = {k: v.trains for k, v in TRAIN.items() if v.trains.noun == TRAIN["train"].trains.noun}
_OF_PRESETS: dict[str, type[PresetCommand]] = {**TRAIN, **STUDIES}
_COMMANDS = (*_OF_PRESETS, *PLAIN)


def _command_type() -> Any:
    """What tyro parses: a union of the commands; those of presets are unions of these in turn."""
    of_presets = [_named(_presets(name), name, kind.__doc__) for name, kind in _OF_PRESETS.items()]
    plain = [_named(kind, name, kind.__doc__) for name, kind in PLAIN.items()]
    without_prefixes: Any = tyro.conf.OmitSubcommandPrefixes
    return without_prefixes[reduce(or_, [*of_presets, *plain])]


def _named(kind: Any, name: str, about: str | None, **more: Any) -> Any:
    """A subcommand for tyro."""
    annotated: Any = Annotated
    return annotated[kind, tyro.conf.subcommand(name, description=about, **more)]


def _presets(name: str) -> Any:
    """A command with each preset's recipe as defaults, as a union of subcommands."""
    command, choices = _OF_PRESETS[name], []
    for preset in PRESETS_OF[command.task]:
        about, default = _preset(name, preset)
        choices.append(_named(command, preset, about, default=default))
    return reduce(or_, choices)


def _preset(name: str, preset: str) -> tuple[str, PresetCommand]:
    """What a preset of a command is about, and the command with its recipe as defaults."""
    command = _OF_PRESETS[name]
    found = PRESETS_OF[command.task][preset]
    values = {**dict(found.recipe), **command.beside(preset)}
    return f"{found.about}. {found.score}".strip(), _with_defaults(command, values)


def _with_defaults(command: type[PresetCommand], values: dict[str, Any]) -> PresetCommand:
    """A command with settings that stand where none are given; out has to be."""
    return command.model_construct(**{**values, "out": tyro.MISSING})


def _check_kind(arguments: Sequence[str]) -> None:
    """Refuse ``study``, ``import`` and ``export`` without saying which."""
    word = arguments[0].partition("-")[0] if arguments else ""
    kinds = [name.removeprefix(f"{word}-") for name in _COMMANDS if name.startswith(f"{word}-")]
    if word in ("study", "import", "export") and arguments[0] not in _COMMANDS:
        raise PilotageError(f"{word} needs one of: {', '.join(kinds)}.")


def _check_names(arguments: Sequence[str]) -> None:
    """Refuse an unknown command or preset by name."""
    words = [word for word in arguments[:2] if not word.startswith("-")]
    if words and words[0] not in _COMMANDS:
        raise PilotageError(f"command is {words[0]!r}: it must be one of {', '.join(_COMMANDS)}.")
    if not words or words[0] not in _OF_PRESETS or _HELP & set(arguments):
        return
    known = _all_presets(words[0])
    if len(words) == 1:
        other = " or --from and a run" if words[0] in _TAKE_RUNS else ""
        raise PilotageError(f"{words[0]} needs a preset, one of {', '.join(known)}{other}.")
    if words[1] not in known:
        raise PilotageError(f"preset is {words[1]!r}: it must be one of {', '.join(known)}.")


def _all_presets(command: str) -> list[str]:
    """Names that may follow a command; ``train`` leads to other commands by the name."""
    tasks = [kind.task for kind in _LED_TO.values()]
    found = tasks if command == "train" else [_OF_PRESETS[command].task]
    return list(dict.fromkeys(name for task in found for name in PRESETS_OF[task]))


@contextlib.contextmanager
def _wide_terminal() -> Iterator[None]:
    """Keep the parser from breaking its lines."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "10000"
    try:
        yield
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before


def _one_line_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, UserWarning):
        print(f"warning: {message}", file=sys.stderr)
