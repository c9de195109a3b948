"""The command line: parse settings, call one function, print what it says.

Only pydantic and tyro are imported before the command is known, so that help is quick.
"""

import contextlib
import io
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Protocol, Self

import tyro
from pydantic import Field

from pilotage.errors import PilotageError
from pilotage.recipes import PRESETS, Preset
from pilotage.settings import (
    ClassifierRecipe,
    EvaluateSettings,
    GridSettings,
    ImportSettings,
    LikelihoodSettings,
    Recipe,
    SampleSettings,
    Settings,
    SweepSettings,
    TrainingRecipe,
)
from pilotage.version import __version__

INTERRUPTED = 130


class TrainCommand(Recipe):
    """Train a preset into a run folder; the same command goes on with what is there."""

    out: Path = Field(description="The run folder.")

    def run(self) -> int:
        """Train with a progress bar; Ctrl-C saves first."""
        return _train(Recipe(**self.model_dump(exclude={"out"})), self.out)


def _train(recipe: TrainingRecipe, out: Path) -> int:
    from pilotage.processes import process_state
    from pilotage.study import train_run

    with Interrupts() as stop:
        finished = train_run(recipe, out, stop)
    if process_state().is_main_process:
        goes_on = f"interrupted; saved in {out}. The same command goes on from there."
        print(f"done: {out}" if finished else goes_on)
    return 0 if finished else INTERRUPTED


class TrainClassifierCommand(ClassifierRecipe):
    """Train a classifier of noisy images, to guide by; the same command goes on."""

    out: Path = Field(description="The run folder.")

    def run(self) -> int:
        """Train with a progress bar; Ctrl-C saves first."""
        return _train(ClassifierRecipe(**self.model_dump(exclude={"out"})), self.out)


class SampleCommand(SampleSettings):
    """Sample guided images from a run."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run")] = Field(
        description="The run folder."
    )

    def run(self) -> int:
        """Sample on all processes; the first one writes."""
        from pilotage.generate import generate

        generate(self)
        return 0


class SweepCommand(SweepSettings):
    """Measure runs over guidance strengths, step counts and samplers; what is there is skipped."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = Field(
        min_length=1, description="The run folders."
    )

    def run(self) -> int:
        """Sweep with one progress bar over the whole grid."""
        from pilotage.study import sweep_runs

        sweep_runs(self.runs, self)
        return 0


class StudyPUncondCommand(Recipe):
    """Train one model per dropping rate, sweep w over all of them, and report: one table."""

    out: Path = Field(description="The folder of the runs and the report.")
    rates: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        (0.1, 0.2, 0.5), min_length=1, description="The dropping rates."
    )
    sweep: GridSettings = GridSettings()

    def run(self) -> int:
        """The whole study; what is there already is not done again."""
        from pilotage.study import study_p_uncond

        recipe = Recipe(**self.model_dump(exclude={"out", "rates", "sweep"}))
        with Interrupts() as stop:
            written = study_p_uncond(recipe, self.out, self.rates, self.sweep, stop)
        return _finished(written, stop(), self.out)


class StudyClassifierCommand(Recipe):
    """Train a conditional, an unconditional model and a classifier; compare how they are guided."""

    out: Path = Field(description="The folder of the runs and the report.")
    classifier: ClassifierRecipe = Field(
        ClassifierRecipe(),
        description="The classifier's recipe; its data and noise levels are the models'.",
    )
    classifier_w: tuple[float, ...] = Field(
        (0.0, 1.0, 10.0), min_length=1, description="The classifier's strengths; 0 is no guidance."
    )
    sweep: GridSettings = GridSettings()

    def run(self) -> int:
        """The whole study; what is there already is not done again."""
        from pilotage.study import ClassifierStudy, study_classifier

        recipe = Recipe(**self.model_dump(include=set(Recipe.model_fields)))
        study = ClassifierStudy(recipe, self.classifier, self.classifier_w, self.sweep)
        with Interrupts() as stop:
            written = study_classifier(study, self.out, stop)
        return _finished(written, stop(), self.out)


def _finished(written: list[Path], stopped: bool, out: Path) -> int:
    if stopped:
        print(f"interrupted; saved in {out}. The same command goes on from there.")
        return INTERRUPTED
    for path in written:
        print(path)
    return 0


class EvaluateCommand(EvaluateSettings):
    """Measure images of any origin against a data set."""

    images: Annotated[str, tyro.conf.Positional] = Field(
        description="A folder of images, an .npz (images: uint8 N, H, W, C), or real: the held-out."
    )

    def run(self) -> int:
        """Measure and print."""
        from pilotage.evaluate import evaluate, format_row

        print(format_row(evaluate(self)))
        return 0


class LikelihoodCommand(LikelihoodSettings):
    """Bits per dimension of held-out images under a run's model, with their standard error."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run")] = Field(
        description="The run folder."
    )

    def run(self) -> int:
        """Measure and print."""
        from pilotage.likelihood import format_row, likelihood
        from pilotage.processes import process_state

        found = likelihood(self)
        if process_state().is_main_process:
            print(format_row(found.row))
        return 0


class ImportAdmCommand(ImportSettings):
    """Make a run folder of a checkpoint of guided-diffusion (OpenAI's ADM) or its classifier."""

    checkpoint: Annotated[Path, tyro.conf.Positional] = Field(
        description="A .pt, .pth or .safetensors file of tensors."
    )

    def run(self) -> int:
        """Import, and say what it is."""
        from pilotage.interop.adm_runs import import_adm

        card = import_adm(self)
        kind = "classifier" if isinstance(card.recipe, ClassifierRecipe) else "denoiser"
        print(f"{self.out}: a {kind} of {len(card.data.classes)} classes, {card.data.shape}")
        return 0


class ExportAdmCommand(Settings):
    """Write a run's weights in guided-diffusion's layout, with the options to import them again."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run")] = Field(
        description="The run folder."
    )
    out: Annotated[Path, tyro.conf.Positional] = Field(description="A .safetensors file.")

    def run(self) -> int:
        """Export."""
        from pilotage.interop.adm_runs import export_adm

        export_adm(self.run_folder, self.out)
        print(f"{self.out}, and its options in {self.out}.json")
        return 0


class ReportCommand(Settings):
    """Write what training and sweeps of runs measured as one HTML page, Markdown, CSV and PNGs."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = Field(
        min_length=1, description="The run folders."
    )
    out: Path | None = Field(None, description="The HTML file; report.html of the first run.")

    def run(self) -> int:
        """Write the report."""
        from pilotage.report import write_report

        for path in write_report(self.runs, self.out or self.runs[0] / "report.html"):
            print(path)
        return 0


class DemoCommand(Settings):
    """Train the digits, sample them at rising w, and show what guidance does: minutes on a CPU."""

    out: Path = Field(Path("demo"), description="Where everything goes.")
    steps: int = Field(PRESETS["digits"].recipe.steps, ge=1, description="Training steps.")
    seed: int = Field(0, ge=0, description="Decides everything random.")

    def run(self) -> int:
        """The whole demo."""
        from pilotage.demo import demo

        demo(self.out, self.steps, self.seed)
        return 0


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
    if arguments[:1] in (["train"], ["train-classifier"]) and "--from" in arguments:
        return _parse_from(arguments)
    _check_names(arguments)
    if {"-h", "--help"} & set(arguments):
        return tyro.cli(_command_type(), prog="pilotage", args=arguments, description=_ABOUT)
    return _quietly(_command_type(), prog="pilotage", args=arguments, description=_ABOUT)


def _parse_from(arguments: list[str]) -> Command:
    """``train --from RUN``: the run's own recipe stands where a preset's would.

    Raises:
        PilotageError: if there is no such run, or it holds something else.
    """
    from pilotage.folder import read_card

    name, place = arguments[0], arguments.index("--from")
    source, rest = arguments[place + 1 : place + 2], arguments[1:place] + arguments[place + 2 :]
    if not source:
        raise PilotageError("--from needs the folder of a run.")
    recipe, command = read_card(Path(source[0])).recipe, _OF_PRESETS[name]
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
        raise PilotageError(_one_sentence(said.getvalue())) from None


_ABOUT = "Train, steer and measure guided diffusion models."
_OF_PRESETS = {
    "train": TrainCommand,
    "train-classifier": TrainClassifierCommand,
    "study-p-uncond": StudyPUncondCommand,
    "study-classifier": StudyClassifierCommand,
}
_PLAIN = {
    "sample": SampleCommand,
    "sweep": SweepCommand,
    "report": ReportCommand,
    "evaluate": EvaluateCommand,
    "likelihood": LikelihoodCommand,
    "import-adm": ImportAdmCommand,
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
                    out=tyro.MISSING, **dict(_defaults(command, preset))
                ),
                description=f"{preset.about}. {preset.score}".strip(),
            ),
        ]
        for name, preset in PRESETS.items()
    ]
    return reduce(or_, choices)


def _defaults(command: type[TrainingRecipe], preset: Preset) -> dict[str, Any]:
    if issubclass(command, ClassifierRecipe):
        return dict(preset.classifier)
    more = {"classifier": preset.classifier} if command is StudyClassifierCommand else {}
    return {**dict(preset.recipe), **more}


def _check_names(arguments: Sequence[str]) -> None:
    """Refuse an unknown command or preset by name."""
    words = [word for word in arguments[:2] if not word.startswith("-")]
    commands = (*_OF_PRESETS, *_PLAIN)
    if words and words[0] not in commands:
        raise PilotageError(f"command is {words[0]!r}: it must be one of {', '.join(commands)}.")
    if len(words) == 2 and words[0] in _OF_PRESETS and words[1] not in PRESETS:
        raise PilotageError(f"preset is {words[1]!r}: it must be one of {', '.join(PRESETS)}.")


def _one_sentence(box: str) -> str:
    """A parser's complaint without title, advice and box, which is ASCII on some terminals."""
    lines = [line.strip("│ ") for line in box.splitlines() if line.strip() and line[0] not in "╭╰"]
    rules = [k for k, line in enumerate(lines) if set(line) <= set("─-")]
    titled = bool(rules) and not box.startswith("╭")
    ends = rules[1:] if titled else rules
    body = lines[rules[0] + 1 if titled else 0 : ends[0] if ends else None]
    return re.sub(r"^Error parsing (--\S+: )?(\S+: )?", r"\1", " ".join(" ".join(body).split()))


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


class Interrupts:
    """Whether training should stop: asked after every step, it answers yes after Ctrl-C or SIGTERM.

    Before it was asked for the first time, and at a second Ctrl-C, the interrupt comes at once.
    """

    def __enter__(self) -> Self:
        self._asked, self._raised = False, False
        signals = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._note) for number in signals}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Whether a signal has come."""
        self._asked = True
        return self._raised

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self._asked or (self._raised and number == signal.SIGINT):
            raise KeyboardInterrupt
        self._raised = True


def _one_line_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    if issubclass(category, UserWarning):
        print(f"warning: {message}", file=sys.stderr)
