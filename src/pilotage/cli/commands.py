"""The commands: settings with a ``run`` that calls one function and prints what it says.

What they call is imported when they run, so that help is quick.
"""

from collections.abc import Callable
from pathlib import Path
from types import new_class
from typing import Annotated, Any, ClassVar

import tyro
from pydantic import Field

from pilotage.recipes import PRESETS, denoiser_beside
from pilotage.settings import (
    AblationsStudy,
    ClassifierStudy,
    EvaluateSettings,
    ImportDdganSettings,
    ImportGlideSettings,
    ImportSettings,
    InpaintSettings,
    LikelihoodSettings,
    PUncondStudy,
    SampleSettings,
    Settings,
    StudySettings,
    SweepSettings,
    TrainingRecipe,
    TrilemmaStudy,
)
from pilotage.utils.signals import INTERRUPTED, Interrupts

RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run")]
MaybeRunFolder = Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(name="run")]
RunFolders = Annotated[tuple[Path, ...], tyro.conf.Positional]


# --- training and studies -----------------------------------------------------------------------


class PresetCommand(Settings):
    """What every command has that begins with a preset's recipe.

    Attributes:
        task: of the recipe.
    """

    task: ClassVar[str]

    @classmethod
    def beside(cls, preset: str) -> dict[str, Any]:
        """What else a preset decides."""
        return {}


class TrainCommand(PresetCommand):
    """What a command that trains has beside the recipe.

    Attributes:
        trains: the recipe's class.
    """

    trains: ClassVar[type[TrainingRecipe]]

    out: Path = Field(description="The run folder.")

    def run(self) -> int:
        """Train with a progress bar; Ctrl-C saves first."""
        from pilotage.tasks.studies import train_run
        from pilotage.utils.distributed import process_state

        with Interrupts() as stop:
            finished = train_run(self.part(self.trains), self.out, stop)
        if process_state().is_main_process:
            goes_on = f"interrupted; saved in {self.out}. The same command goes on from there."
            print(f"done: {self.out}" if finished else goes_on)
        return 0 if finished else INTERRUPTED


def _train_command(recipe: type[TrainingRecipe]) -> type[TrainCommand]:
    """The command that trains recipes of a class."""
    body = {"__doc__": recipe.command_help, "__module__": __name__, "trains": recipe}
    command: Any = new_class(
        f"Train{recipe.__name__}", (TrainCommand, recipe), exec_body=lambda own: own.update(body)
    )
    made: type[TrainCommand] = command
    return made


class StudyCommand(PresetCommand, StudySettings):
    """What every command that studies has."""

    def study(self, stop: Callable[[], bool]) -> list[Path]:
        """Do what is not done yet; the files of the report."""
        raise NotImplementedError

    def run(self) -> int:
        """The whole study; what is there already is not done again."""
        with Interrupts() as stop:
            written = self.study(stop)
        if stop():
            print(f"interrupted; saved in {self.out}. The same command goes on from there.")
            return INTERRUPTED
        for path in written:
            print(path)
        return 0


class StudyPUncondCommand(PUncondStudy, StudyCommand):
    """Train one model per dropping rate, sweep w over all of them, and report: one table."""

    def study(self, stop: Callable[[], bool]) -> list[Path]:
        """See :func:`pilotage.tasks.studies.study_p_uncond`."""
        from pilotage.tasks.studies import study_p_uncond

        return study_p_uncond(self, stop)


class StudyClassifierCommand(ClassifierStudy, StudyCommand):
    """Train a conditional, an unconditional model and a classifier; compare how they are guided."""

    @classmethod
    def beside(cls, preset: str) -> dict[str, Any]:
        """The preset's classifier."""
        return {"classifier": PRESETS[preset].classifier}

    def study(self, stop: Callable[[], bool]) -> list[Path]:
        """See :func:`pilotage.tasks.studies.study_classifier`."""
        from pilotage.tasks.studies import study_classifier

        return study_classifier(self, stop)


class StudyTrilemmaCommand(TrilemmaStudy, StudyCommand):
    """Train GANs of several numbers of steps and a denoiser; compare quality, diversity, speed."""

    @classmethod
    def beside(cls, preset: str) -> dict[str, Any]:
        """The denoiser that goes with the preset."""
        return {"denoiser": denoiser_beside(preset)}

    def study(self, stop: Callable[[], bool]) -> list[Path]:
        """See :func:`pilotage.tasks.trilemma.study_trilemma`."""
        from pilotage.tasks.trilemma import study_trilemma

        return study_trilemma(self, stop)


class StudyAblationsCommand(AblationsStudy, StudyCommand):
    """Train a GAN whole and without each of its parts; compare quality and diversity: one table."""

    def study(self, stop: Callable[[], bool]) -> list[Path]:
        """See :func:`pilotage.tasks.trilemma.study_ablations`."""
        from pilotage.tasks.trilemma import study_ablations

        return study_ablations(self, stop)


# --- runs, images and foreign checkpoints -------------------------------------------------------


class SampleCommand(SampleSettings):
    """Sample guided images from a run, or from a cascade of runs on captions."""

    run_folder: MaybeRunFolder = Field(None, description="The run folder.")

    def run(self) -> None:
        """Sample on all processes; the first one writes."""
        from pilotage.tasks.sample import sample_images

        sample_images(self)


class InpaintCommand(InpaintSettings):
    """Complete an image where a mask is white, as a caption says, with a run trained to."""

    run_folder: MaybeRunFolder = Field(None, description="The run folder.")

    def run(self) -> None:
        """Sample on all processes; the first one writes."""
        from pilotage.tasks.inpaint import inpaint

        inpaint(self)


class SweepCommand(SweepSettings):
    """Measure runs over guidance strengths, step counts and samplers; what is there is skipped."""

    runs: RunFolders = Field(min_length=1, description="The run folders.")

    def run(self) -> None:
        """Sweep with one progress bar over the whole grid."""
        from pilotage.tasks.studies import sweep_runs

        sweep_runs(self.runs, self)


class EvaluateCommand(EvaluateSettings):
    """Measure images of any origin against a data set."""

    images: Annotated[str, tyro.conf.Positional] = Field(
        description="A folder of images, an .npz (images: uint8 N, H, W, C), or real: the held-out."
    )

    def run(self) -> None:
        """Measure and print."""
        from pilotage.tasks.evaluate import evaluate, format_row

        print(format_row(evaluate(self)))


class LikelihoodCommand(LikelihoodSettings):
    """Bits per dimension of held-out images under a run's model, with their standard error."""

    run_folder: RunFolder = Field(description="The run folder.")

    def run(self) -> None:
        """Measure and print."""
        from pilotage.tasks.likelihood import format_row, likelihood
        from pilotage.utils.distributed import process_state

        found = likelihood(self)
        if process_state().is_main_process:
            print(format_row(found.row))


class ImportAdmCommand(ImportSettings):
    """Make a run folder of a checkpoint of guided-diffusion (OpenAI's ADM) or its classifier."""

    def run(self) -> None:
        """Import, and say what it is."""
        from pilotage.interop.adm.runs import import_adm

        card = import_adm(self)
        what = f"a {card.recipe.noun} of {len(card.data.classes)} classes"
        print(f"{self.out}: {what}, {card.data.shape}")


class ImportDdganCommand(ImportDdganSettings):
    """Make a run folder of a published denoising diffusion GAN (NVIDIA's netG_*.pth)."""

    def run(self) -> None:
        """Import, and say what it is."""
        from pilotage.interop.ddgan.runs import import_ddgan

        card = import_ddgan(self)
        print(f"{self.out}: a generator of {card.recipe.steps_T} steps, {card.data.shape}")


class ImportGlideCommand(ImportGlideSettings):
    """Make a run folder on captions of one of OpenAI's GLIDE networks."""

    def run(self) -> None:
        """Import, and say what it is."""
        from pilotage.interop.glide.runs import import_glide

        card = import_glide(self)
        does = ["enlarges"] * bool(card.recipe.low_res) + ["completes"] * card.recipe.inpaint
        what = f" that {' and '.join(does)}" if does else ""
        print(f"{self.out}: a denoiser{what}, on captions, {card.data.shape}")


class ExportAdmCommand(Settings):
    """Write a run's weights in guided-diffusion's layout, with the options to import them again."""

    run_folder: RunFolder = Field(description="The run folder.")
    out: Annotated[Path, tyro.conf.Positional] = Field(description="A .safetensors file.")

    def run(self) -> None:
        """Export."""
        from pilotage.interop.adm.runs import export_adm

        export_adm(self.run_folder, self.out)
        print(f"{self.out}, and its options in {self.out}.json")


class ReportCommand(Settings):
    """Write what training and sweeps of runs measured as one HTML page, Markdown, CSV and PNGs."""

    runs: RunFolders = Field(min_length=1, description="The run folders.")
    out: Path | None = Field(None, description="The HTML file; report.html of the first run.")

    def run(self) -> None:
        """Write the report."""
        from pilotage.report import write_report

        for path in write_report(self.runs, self.out or self.runs[0] / "report.html"):
            print(path)


class DemoCommand(Settings):
    """Train the digits, sample them at rising w, and show what guidance does: minutes on a CPU."""

    out: Path = Field(Path("demo"), description="Where everything goes.")
    steps: int = Field(PRESETS["digits"].recipe.steps, ge=1, description="Training steps.")
    seed: int = Field(0, ge=0, description="Decides everything random.")

    def run(self) -> None:
        """The whole demo."""
        from pilotage.tasks.demo import demo

        demo(self.out, self.steps, self.seed)


# --- by name ------------------------------------------------------------------------------------

# those of runs that make images come first
_RECIPES = sorted(
    (recipe for recipe in TrainingRecipe.known if "command" in recipe.__dict__),
    key=lambda recipe: recipe.noun != "denoiser",
)
TRAIN = {recipe.command: _train_command(recipe) for recipe in _RECIPES}
STUDIES: dict[str, type[StudyCommand]] = {
    "study-p-uncond": StudyPUncondCommand,
    "study-classifier": StudyClassifierCommand,
    "study-trilemma": StudyTrilemmaCommand,
    "study-ablations": StudyAblationsCommand,
}
PLAIN: dict[str, type[Settings]] = {
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
