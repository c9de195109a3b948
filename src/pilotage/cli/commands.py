"""The commands: functions of settings, by name; each calls one function and prints what it made.

What they call is imported when they run, so that help is quick.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

import tyro
from pydantic import Field

from pilotage.errors import PilotageError
from pilotage.recipes import ADVERSARIAL_PRESETS, PRESETS, PRESETS_OF, compared_denoiser
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
    SweepSettings,
    TrainingRecipe,
    TrilemmaStudy,
)
from pilotage.settings.base import UNNAMED, DeviceSettings, OneRun, Runs
from pilotage.utils.signals import INTERRUPTED, Interrupts

R = TypeVar("R", bound=TrainingRecipe)


class Command(NamedTuple):
    """What a name of the command line stands for.

    Attributes:
        run: does it; the exit status, if that is not 0.
        takes: its settings.
        presets: of a command that begins with a preset: some of its settings, by the preset's name.
    """

    run: Callable[[Any], int | None]
    takes: type[Settings]
    presets: Mapping[str, Mapping[str, Any]] = {}

    @property
    def about(self) -> str:
        """What it does, with examples."""
        about = (self.run.__doc__ or "").replace("\n    pilotage", "\n      pilotage")
        return about.replace("\n    ", "\n").strip()


# --- training and studies -----------------------------------------------------------------------


class TrainSettings(DeviceSettings, Generic[R]):
    """A recipe, where it comes from, and the run folder."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = Field(
        None, description="The run folder to make, or to resume with the same settings"
    )
    source: Annotated[Path | None, tyro.conf.arg(name="from", metavar="RUN")] = Field(
        None, description="In place of a preset: a run's recipe and averaged weights to start from"
    )
    resume: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = Field(
        None, description="In place of a preset: the interrupted run to resume, as its card says"
    )
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE.yaml")] = Field(
        None, description="In place of a preset: a recipe file, as --dry-run prints; flags win"
    )
    dry_run: bool = Field(False, description="Print the whole recipe and sizes; write nothing")
    recipe: Annotated[R, UNNAMED]


def train(settings: TrainSettings[Any]) -> int:
    """Train a preset, a run's recipe or a recipe file into a run folder; rerun to resume.

      pilotage train digits --out runs/digits            train; Ctrl-C saves, the same line resumes
      pilotage train --resume runs/digits --steps 2000   resume; of a recipe, only --data, --steps,
                                                         --log-every, --checkpoint-every,
                                                         --sample-every, --skip-bad and
                                                         --allow-outside may change
      pilotage train --from runs/digits --out runs/tuned start from a run's weights and recipe
      pilotage train digits --dry-run > my.yaml          the recipe as a file, and its sizes
      pilotage train --config my.yaml --out runs/mine    train a recipe file; flags win

    --objective says what is minimised: simple, hybrid or vdm by denoisers; ddgan trains a denoising
    diffusion GAN and classifier a classifier of noisy images, where the preset has one.
    """
    from pilotage.tasks.studies import train_run
    from pilotage.training.fit import plan
    from pilotage.utils.distributed import process_state

    out = settings.resume or settings.out
    if settings.resume is not None and settings.out is not None:
        raise PilotageError(f"out is {settings.out}: with --resume, the run is {settings.resume}.")
    if settings.dry_run:
        print(plan(settings.recipe, out))
        return 0
    if out is None:
        raise PilotageError("out is missing: it must be the run folder to make.")
    with Interrupts() as stop:
        finished = train_run(settings.recipe, out, stop)
    if process_state().is_main_process:
        print(f"done: {out}" if finished else f"interrupted; saved in {out}. Rerun to resume.")
    return 0 if finished else INTERRUPTED


def _studied(study: Callable[[Any, Any], list[Path]], settings: Any) -> int:
    """Run a study until it is done or interrupted; print its files."""
    with Interrupts() as stop:
        written = study(settings, stop)
    if stop():
        print(f"interrupted; saved in {settings.out}. Rerun to resume.")
        return INTERRUPTED
    for path in written:
        print(path)
    return 0


def study_p_uncond(settings: PUncondStudy) -> int:
    """Train one model per dropping rate, sweep w over all of them, and report: one table."""
    from pilotage.tasks import studies

    return _studied(studies.study_p_uncond, settings)


def study_classifier(settings: ClassifierStudy) -> int:
    """Train a conditional, an unconditional model and a classifier; compare how they are guided."""
    from pilotage.tasks import studies

    return _studied(studies.study_classifier, settings)


def study_trilemma(settings: TrilemmaStudy) -> int:
    """Train GANs of several numbers of steps and a denoiser; compare quality, diversity, speed."""
    from pilotage.tasks import trilemma

    return _studied(trilemma.study_trilemma, settings)


def study_ablations(settings: AblationsStudy) -> int:
    """Train a GAN whole and without each of its parts; compare quality and diversity: one table."""
    from pilotage.tasks import trilemma

    return _studied(trilemma.study_ablations, settings)


# --- runs, images and foreign checkpoints -------------------------------------------------------


def sample(settings: SampleSettings) -> None:
    """Sample guided images from a run, or from a cascade of runs on captions.

    pilotage sample runs/digits --labels 3 7 --w 1 --out grid.png
    pilotage sample runs/shapes --prompt "a red circle" --seeds 0:8 --out images.npz
    """
    from pilotage.tasks.sample import sample_images

    sample_images(settings)


def inpaint(settings: InpaintSettings) -> None:
    """Complete an image where a mask is white, with a run trained with --inpaint."""
    from pilotage.tasks import inpaint

    inpaint.inpaint(settings)


def sweep(settings: SweepSettings) -> None:
    """Measure runs over guidance strengths, step counts and samplers; rerun to resume.

    pilotage sweep runs/digits --w 0 0.5 1 2 --steps 16 64 --sampler ancestral ddim
    """
    from pilotage.tasks.studies import sweep_runs

    sweep_runs(settings.runs, settings)


def evaluate(settings: EvaluateSettings) -> None:
    """Measure images of any origin against a data set."""
    from pilotage.tasks import evaluate

    print(evaluate.format_row(evaluate.evaluate(settings)))


def likelihood(settings: LikelihoodSettings) -> None:
    """Bits per dimension of held-out images under a run's model, with their standard error."""
    from pilotage.tasks import likelihood
    from pilotage.utils.distributed import process_state

    found = likelihood.likelihood(settings)
    if process_state().is_main_process:
        print(likelihood.format_row(found.row))


def import_adm(settings: ImportSettings) -> None:
    """Make a run folder of a checkpoint of guided-diffusion (OpenAI's ADM) or its classifier."""
    from pilotage.interop.adm import runs

    card = runs.import_adm(settings)
    what = f"a {card.recipe.noun} of {len(card.data.classes)} classes"
    print(f"{settings.out}: {what}, {card.data.shape}")


def import_ddgan(settings: ImportDdganSettings) -> None:
    """Make a run folder of a published denoising diffusion GAN (NVIDIA's netG_*.pth)."""
    from pilotage.interop.ddgan import runs

    card = runs.import_ddgan(settings)
    print(f"{settings.out}: a generator of {card.recipe.steps_T} steps, {card.data.shape}")


def import_glide(settings: ImportGlideSettings) -> None:
    """Make a run folder on captions of one of OpenAI's GLIDE networks."""
    from pilotage.interop.glide import runs

    card = runs.import_glide(settings)
    does = ["enlarges"] * bool(card.recipe.low_res) + ["completes"] * card.recipe.inpaint
    what = f" that {' and '.join(does)}" if does else ""
    print(f"{settings.out}: a denoiser{what}, on captions, {card.data.shape}")


class ExportSettings(Settings):
    """A run, and a file for its weights."""

    run_folder: OneRun = Field(description="The run folder.")
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")] = Field(
        description="A .safetensors file."
    )


def export_adm(settings: ExportSettings) -> None:
    """Write a run's weights in guided-diffusion's layout, with the options to import them again."""
    from pilotage.interop.adm import runs

    runs.export_adm(settings.run_folder, settings.out)
    print(f"{settings.out}, and its options in {settings.out}.json")


class ReportSettings(Settings):
    """Runs, and where their report goes."""

    runs: Runs = Field(min_length=1, description="The run folders.")
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE.html")] = Field(
        None, description="The report; report.html of the first run if not given."
    )


def report(settings: ReportSettings) -> None:
    """Write what training and sweeps of runs measured as one HTML page, Markdown, CSV and PNGs."""
    from pilotage.report import write_report

    for path in write_report(settings.runs, settings.out or settings.runs[0] / "report.html"):
        print(path)


class DemoSettings(DeviceSettings):
    """How long the demo trains, and where it goes."""

    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Field(
        Path("demo"), description="For the run, pictures, table and report."
    )
    steps: int = Field(PRESETS["digits"].recipe.steps, ge=1, description="Training steps.")
    seed: int = Field(0, ge=0, description="Decides everything random.")


def demo(settings: DemoSettings) -> None:
    """Train the digits, sample them at rising w, and show what guidance does: minutes on a CPU."""
    from pilotage.tasks.demo import demo as run_demo

    run_demo(settings.out, settings.steps, settings.seed)


def presets(settings: Settings) -> None:
    """List the presets: what they train, for how many steps, what was measured, and the command."""
    for task, found in PRESETS_OF.items():
        for name, preset in found.items():
            recipe: Any = preset.recipe
            flag = "" if recipe is RECIPES[name][0] else f" --objective {recipe.objective}"
            command = f"pilotage train {name}{flag} --out runs/{name}"
            print(f"{name} ({task}): {preset.about}; {recipe.steps} steps of {recipe.batch_size}")
            print(f"    {preset.score or 'not measured yet'}\n    {command}")


# --- by name ------------------------------------------------------------------------------------

# by a preset's name and its objective; the first is taken where no objective is given
RECIPES: dict[str, list[TrainingRecipe]] = {}
for _presets in PRESETS_OF.values():
    for _name, _preset in _presets.items():
        RECIPES.setdefault(_name, []).append(_preset.recipe)
_DENOISERS = {name: {"recipe": preset.recipe} for name, preset in PRESETS.items()}
_GANS = {name: {"recipe": preset.recipe} for name, preset in ADVERSARIAL_PRESETS.items()}
COMMANDS: dict[str, Command | dict[str, Command]] = {
    "train": Command(
        train, TrainSettings, {name: {"recipe": found[0]} for name, found in RECIPES.items()}
    ),
    "sample": Command(sample, SampleSettings),
    "inpaint": Command(inpaint, InpaintSettings),
    "sweep": Command(sweep, SweepSettings),
    "report": Command(report, ReportSettings),
    "evaluate": Command(evaluate, EvaluateSettings),
    "likelihood": Command(likelihood, LikelihoodSettings),
    "study": {
        "p-uncond": Command(study_p_uncond, PUncondStudy, _DENOISERS),
        "classifier": Command(
            study_classifier,
            ClassifierStudy,
            {k: {**v, "classifier": PRESETS[k].classifier} for k, v in _DENOISERS.items()},
        ),
        "trilemma": Command(
            study_trilemma,
            TrilemmaStudy,
            {k: {**v, "denoiser": compared_denoiser(k)} for k, v in _GANS.items()},
        ),
        "ablations": Command(study_ablations, AblationsStudy, _GANS),
    },
    "import": {
        "adm": Command(import_adm, ImportSettings),
        "ddgan": Command(import_ddgan, ImportDdganSettings),
        "glide": Command(import_glide, ImportGlideSettings),
    },
    "export": {"adm": Command(export_adm, ExportSettings)},
    "demo": Command(demo, DemoSettings),
    "presets": Command(presets, Settings),
}
