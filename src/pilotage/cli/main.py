"""The command line: which command, with which settings; run it.

Only pydantic and tyro are imported before the command is known, so that help is quick.
"""

import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import make_dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Any, NamedTuple, TextIO, get_args

import tyro

from pilotage.cli.commands import COMMANDS, RECIPES, Command, TrainSettings
from pilotage.cli.parser import HELP, form, settings_of, value_of
from pilotage.cli.parser import parse as parse_settings
from pilotage.errors import PilotageError, did_you_mean
from pilotage.recipes import PRESETS_OF
from pilotage.settings import Recipe, Settings, TrainingRecipe
from pilotage.settings.base import DeviceSettings
from pilotage.utils.signals import INTERRUPTED
from pilotage.version import __version__

_ABOUT = """Train, steer and measure guided diffusion models.

  pilotage COMMAND --help explains a command; pilotage presets lists what can be trained at once;
  pilotage completion bash (or zsh) prints what lets the shell complete commands and flags:
    eval "$(pilotage completion bash)"
"""
OWN_ERROR = 70  # the exit status, as of sysexits.h
_SOURCES = ("--from", "--resume", "--config")  # of a recipe, in place of a preset


class Parsed(NamedTuple):
    """A command with its settings."""

    command: Command
    settings: Any

    def run(self) -> int | None:
        """Do it; the exit status, if it is not 0."""
        if isinstance(self.settings, DeviceSettings):
            from pilotage.utils.distributed import use_device

            use_device(self.settings.device)
        return self.command.run(self.settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status.

    It is 0 if done, 2 for bad input, 1 if training diverged, 130 if interrupted, and 70 for an
    error of Pilotage's own, whose traceback goes to a file.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    warnings.showwarning = _one_line_warning
    try:
        return parse(arguments).run() or 0
    except (PilotageError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", PilotageError.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        kind, report = type(error).__name__, _saved_traceback()
        print(f"error: unexpected {kind}: {error}; its traceback is in {report}", file=sys.stderr)
        return OWN_ERROR


def _saved_traceback() -> str:
    """Write the traceback of the exception at hand; return the name of its file."""
    with NamedTemporaryFile("w", prefix="pilotage-error-", suffix=".txt", delete=False) as file:
        file.write(f"pilotage {__version__}, {' '.join(sys.argv)}\n{traceback.format_exc()}")
    return file.name


def parse(arguments: Sequence[str]) -> Parsed:
    """The command that the arguments give, with its settings.

    Raises:
        PilotageError: one sentence about the first mistake.
        SystemExit: after the help, the version or a completion script was printed.
    """
    words = list(arguments)
    if words == ["--version"]:
        print(f"pilotage {__version__}")
        raise SystemExit(0)
    if words[:1] == ["completion"]:
        _completion(words[1:])
    found, name, rest = _command(words)
    prog = f"pilotage {name}"
    if found.takes is TrainSettings:
        return _train(found, prog, rest)
    if not found.presets:
        return Parsed(found, parse_settings(found.takes, prog, rest, found.about))
    preset, rest = _preset(prog, found, rest)
    about = f"{found.about} Preset {preset}: {_about(found.presets[preset]['recipe'])}."
    settings = parse_settings(found.takes, f"{prog} {preset}", rest, about, found.presets[preset])
    return Parsed(found, settings)


def _command(words: list[str]) -> tuple[Command, str, list[str]]:
    """The command that words begin with, its name, and the other words."""
    known: Any = COMMANDS
    for length in range(3):
        if isinstance(known, Command):
            return known, " ".join(words[:length]), words[length:]
        prog = " ".join(["pilotage", *words[:length]])
        if HELP & set(words[length : length + 1]) or not words:
            _print_help(known, prog)
        word = "".join(words[length : length + 1])
        known = _one_of("command", word, known, prog)
    raise AssertionError("commands have two words at most")


def _one_of(kind: str, word: str, known: Any, prog: str) -> Any:
    """What a word stands for."""
    if not word or word.startswith("-"):
        raise PilotageError(f"{kind} is missing: `{prog}` needs one of {', '.join(known)}.")
    if word not in known:
        guess = did_you_mean(word.replace("-", " "), known) or did_you_mean(word, known)
        raise PilotageError(f"{kind} is {word!r}: it must be one of {', '.join(known)}.{guess}")
    return known[word]


def _preset(prog: str, command: Command, words: list[str]) -> tuple[str, list[str]]:
    """The preset that words begin with, and the other words."""
    if HELP & set(words[:1]):
        abouts = {name: _about(found["recipe"]) for name, found in command.presets.items()}
        _print_help(abouts, prog, command.about)
    word = "".join(words[:1])
    _one_of("preset", word, command.presets, prog)
    return word, words[1:]


# --- train --------------------------------------------------------------------------------------


def _train(command: Command, prog: str, words: list[str]) -> Parsed:
    """``train``, whose recipe comes from a preset, a run or a file."""
    sources = {flag: given for flag in _SOURCES if (given := value_of(flag, words))}
    alone = [flag for flag in _SOURCES if flag in words and flag not in sources]
    if alone:
        raise PilotageError(f"{alone[0]} is missing its value: it must be a run folder or a file.")
    begins = bool(words) and not words[0].startswith("-")
    if len(sources) + begins > 1:
        twice = [*words[:begins], *(" ".join(pair) for pair in sources.items())]
        raise PilotageError(f"{' and '.join(twice)} are given: a recipe comes from one of these.")
    if sources:
        recipe = _recipe_of(*next(iter(sources.items())))
    else:
        if not begins and not HELP & set(words):
            raise PilotageError(
                f"preset is missing: `{prog}` needs one of {', '.join(RECIPES)}, or "
                f"{', '.join(_SOURCES)}."
            )
        preset, words = _preset(prog, command, words)
        prog = f"{prog} {preset}"
        recipe = _of_objective(preset, value_of("--objective", words))
    generic: Any = TrainSettings
    kind: type[Settings] = generic[type(recipe)]
    about = f"{_about(recipe)}; pilotage train --help explains where recipes come from."
    return Parsed(command, parse_settings(kind, prog, words, about, {"recipe": recipe}))


def _of_objective(preset: str, objective: str | None) -> TrainingRecipe:
    """A preset's recipe that has an objective."""
    known = {
        name: recipe
        for recipe in reversed(RECIPES[preset])
        for name in get_args(type(recipe).model_fields["objective"].annotation)
    }
    if objective is None:
        return RECIPES[preset][0]
    found: TrainingRecipe = _one_of("objective", objective, known, f"preset {preset}")
    return found


def _recipe_of(flag: str, given: str) -> TrainingRecipe:
    """The recipe of a run or a file."""
    from pilotage.models.run_folder import read_card, read_recipe

    if flag == "--config":
        return read_recipe(Path(given))
    recipe: TrainingRecipe = read_card(Path(given)).recipe
    return recipe.replace(start_from=given) if flag == "--from" else recipe


def _about(recipe: TrainingRecipe) -> str:
    """What a preset's recipe is about."""
    for presets in PRESETS_OF.values():
        for preset in presets.values():
            if preset.recipe is recipe:
                return preset.about
    return "A recipe of its own"


# --- help of several commands, and completion -----------------------------------------------------


def _print_help(known: Mapping[str, Any], prog: str, about: str = _ABOUT) -> None:
    """Print what may follow a command's first words, and exit."""
    tyro.cli(_union(known, False), prog=prog, description=about, args=["--help"])


def _completion(words: Sequence[str]) -> None:
    """Print what makes a shell complete the command line, and exit."""
    shell = "".join(words[:1])
    _one_of("shell", shell, dict.fromkeys(("bash", "zsh", "fish")), "pilotage completion")
    tyro.cli(_union(COMMANDS, True), prog="pilotage", args=["--tyro-print-completion", shell])


def _union(known: Mapping[str, Any], whole: bool) -> Any:
    """Commands as a union of tyro's subcommands, with their flags or only what they are about."""
    return reduce(or_, [_subcommand(name, found, whole) for name, found in known.items()])


def _subcommand(name: str, found: Any, whole: bool) -> Any:
    about, kind = "", make_dataclass(name, ())
    if whole and isinstance(found, dict) and len(found) == 1:  # tyro needs two for a choice
        (found,) = found.values()
    if isinstance(found, str):
        about = found
    elif isinstance(found, Command):
        about = found.about.partition("\n")[0]
        if whole and found.presets:
            kind = _union({preset: found._replace(presets={}) for preset in found.presets}, whole)
        elif whole:
            takes = TrainSettings[Recipe] if found.takes is TrainSettings else found.takes
            kind = form(name, list(settings_of(takes, {})))
    else:
        about = f"{', '.join(found)}: see pilotage {name} --help"
        kind = _union(found, whole) if whole else kind
    annotated: Any = Annotated
    return annotated[kind, tyro.conf.subcommand(name, description=about)]


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
