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
from typing import Annotated, Any, Protocol

import tyro

from pilotage.cli.commands import (
    DemoCommand,
    EvaluateCommand,
    ExportAdmCommand,
    ImportAdmCommand,
    ImportDdganCommand,
    ImportGlideCommand,
    InpaintCommand,
    LikelihoodCommand,
    ReportCommand,
    SampleCommand,
    StudyAblationsCommand,
    StudyClassifierCommand,
    StudyPUncondCommand,
    StudyTrilemmaCommand,
    SweepCommand,
    TrainAdversarialCommand,
    TrainClassifierCommand,
    TrainCommand,
    TrainTextCommand,
)
from pilotage.cli.parse_errors import one_sentence
from pilotage.errors import PilotageError
from pilotage.recipes import ADVERSARIAL_PRESETS, PRESETS, TEXT_PRESETS, denoiser_beside
from pilotage.settings import (
    AdversarialRecipe,
    ClassifierRecipe,
    TextRecipe,
    TrainingRecipe,
)
from pilotage.utils.signals import INTERRUPTED
from pilotage.version import __version__


class Command(Protocol):
    """What a parsed command line can do."""

    def run(self) -> int:
        """Do it; the exit status."""
        ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 2 bad input, 1 diverged, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    warnings.showwarning = _one_line_warning
    if arguments == ["--version"]:
        print(f"pilotage {__version__}")
        return 0
    try:
        return parse(arguments).run()
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
    if arguments[:1] in (["train"], ["train-classifier"]) and "--from" in arguments:
        return _parse_from(arguments)
    _check_kind(arguments)
    _check_names(arguments)
    if {"-h", "--help"} & set(arguments):
        return tyro.cli(_command_type(), prog="pilotage", args=arguments, description=_ABOUT)
    return _quietly(_command_type(), prog="pilotage", args=arguments, description=_ABOUT)


def _of_kind(arguments: list[str]) -> list[str]:
    """``train`` of a GAN or of captions as the command that has their settings."""
    if arguments[:1] != ["train"] or "--from" in arguments:
        return arguments
    preset = "".join(arguments[1:2])
    asked = "--objective=ddgan" in arguments or ("--objective", "ddgan") in pairwise(arguments)
    if asked or (preset in ADVERSARIAL_PRESETS and preset not in PRESETS):
        return ["train-ddgan", *arguments[1:]]
    return ["train-text" if preset in TEXT_PRESETS else "train", *arguments[1:]]


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
    recipe, command = read_card(Path(source[0])).recipe, _OF_PRESETS[name]
    if command is TrainCommand:
        kinds = {AdversarialRecipe: TrainAdversarialCommand, TextRecipe: TrainTextCommand}
        command = kinds.get(type(recipe), TrainCommand)
    if isinstance(recipe, ClassifierRecipe) != issubclass(command, ClassifierRecipe):
        held = "a classifier" if isinstance(recipe, ClassifierRecipe) else "a denoiser"
        raise PilotageError(f"--from is {source[0]}: it holds {held}, which {name} does not train.")
    values = {**dict(recipe), "start_from": source[0], "out": tyro.MISSING}
    default = command.model_construct(**values)
    how = {"prog": f"pilotage {name} --from {source[0]}", "args": rest, "default": default}
    if {"-h", "--help"} & set(rest):
        return tyro.cli(command, **how)
    return _quietly(command, **how)


def _quietly(kind: Any, **how: Any) -> Any:
    """What tyro parses, or one sentence about the first mistake."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), _wide_terminal():
            return tyro.cli(kind, **how)
    except SystemExit:
        raise PilotageError(one_sentence(said.getvalue())) from None


_ABOUT = "Train, steer and measure guided diffusion models."
_OF_PRESETS = {
    "train": TrainCommand,
    "train-ddgan": TrainAdversarialCommand,
    "train-text": TrainTextCommand,
    "train-classifier": TrainClassifierCommand,
    "study-p-uncond": StudyPUncondCommand,
    "study-classifier": StudyClassifierCommand,
    "study-trilemma": StudyTrilemmaCommand,
    "study-ablations": StudyAblationsCommand,
}
_PLAIN = {
    "sample": SampleCommand,
    "inpaint": InpaintCommand,
    "sweep": SweepCommand,
    "report": ReportCommand,
    "evaluate": EvaluateCommand,
    "likelihood": LikelihoodCommand,
    "import-adm": ImportAdmCommand,
    "import-ddgan": ImportDdganCommand,
    "import-glide": ImportGlideCommand,
    "export-adm": ExportAdmCommand,
    "demo": DemoCommand,
}


def _command_type() -> Any:
    """What tyro parses: a union of the commands; those of presets are unions of these in turn."""
    of_presets = [
        Annotated[_presets(command), tyro.conf.subcommand(name, description=command.__doc__)]
        for name, command in _OF_PRESETS.items()
    ]
    plain = [
        Annotated[command, tyro.conf.subcommand(name, description=command.__doc__)]
        for name, command in _PLAIN.items()
    ]
    return tyro.conf.OmitSubcommandPrefixes[reduce(or_, [*of_presets, *plain])]


def _presets(command: type[TrainingRecipe]) -> Any:
    """The command with each preset's recipe as defaults, as a union of subcommands."""
    choices = [
        Annotated[
            command,
            tyro.conf.subcommand(
                name,
                default=command.model_construct(
                    out=tyro.MISSING, **dict(_defaults(command, name, preset))
                ),
                description=f"{preset.about}. {preset.score}".strip(),
            ),
        ]
        for name, preset in _presets_of(command).items()
    ]
    return reduce(or_, choices)


def _presets_of(command: type[TrainingRecipe]) -> dict[str, Any]:
    if issubclass(command, TextRecipe):
        return TEXT_PRESETS
    return ADVERSARIAL_PRESETS if issubclass(command, AdversarialRecipe) else PRESETS


def _defaults(command: type[TrainingRecipe], name: str, preset: Any) -> dict[str, Any]:
    if issubclass(command, ClassifierRecipe):
        return dict(preset.classifier)
    more = {"classifier": preset.classifier} if command is StudyClassifierCommand else {}
    if command is StudyTrilemmaCommand:
        more = {"denoiser": denoiser_beside(name)}
    return {**dict(preset.recipe), **more}


def _check_kind(arguments: Sequence[str]) -> None:
    """Refuse ``study``, ``import`` and ``export`` without saying which."""
    word = arguments[0].partition("-")[0] if arguments else ""
    kinds = [
        name.removeprefix(f"{word}-")
        for name in (*_OF_PRESETS, *_PLAIN)
        if name.startswith(f"{word}-")
    ]
    if word in ("study", "import", "export") and arguments[0] not in (*_OF_PRESETS, *_PLAIN):
        raise PilotageError(f"{word} needs one of: {', '.join(kinds)}.")


def _check_names(arguments: Sequence[str]) -> None:
    """Refuse an unknown command or preset by name."""
    words = [word for word in arguments[:2] if not word.startswith("-")]
    commands = (*_OF_PRESETS, *_PLAIN)
    if words and words[0] not in commands:
        raise PilotageError(f"command is {words[0]!r}: it must be one of {', '.join(commands)}.")
    if not words or words[0] not in _OF_PRESETS or {"-h", "--help"} & set(arguments):
        return
    presets = ", ".join(_all_presets(words[0]))
    if len(words) == 1:
        other = " or --from and a run" if words[0] in ("train", "train-classifier") else ""
        raise PilotageError(f"{words[0]} needs a preset, one of {presets}{other}.")
    if words[1] not in _all_presets(words[0]):
        raise PilotageError(f"preset is {words[1]!r}: it must be one of {presets}.")


def _all_presets(command: str) -> tuple[str, ...]:
    """Names that may follow a command; ``train`` leads to other commands by the name."""
    if command == "train":
        return tuple(dict.fromkeys([*PRESETS, *ADVERSARIAL_PRESETS, *TEXT_PRESETS]))
    return tuple(_presets_of(_OF_PRESETS[command]))


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


def _one_line_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    if issubclass(category, UserWarning):
        print(f"warning: {message}", file=sys.stderr)
