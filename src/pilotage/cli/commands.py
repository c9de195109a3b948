"""The commands: settings with a ``run`` that calls one function and prints what it says.

What they call is imported when they run, so that help is quick.
"""

from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from pilotage.recipes import PRESETS
from pilotage.settings import (
    AdversarialRecipe,
    ClassifierRecipe,
    EvaluateSettings,
    GridSettings,
    ImportDdganSettings,
    ImportGlideSettings,
    ImportSettings,
    InpaintSettings,
    LikelihoodSettings,
    Positive,
    Recipe,
    SampleSettings,
    SeriesSettings,
    Settings,
    SpeedSettings,
    SweepSettings,
    TextRecipe,
    TrainingRecipe,
)
from pilotage.utils.signals import INTERRUPTED, Interrupts


class TrainCommand(Recipe):
    """Train a preset, or from a run (--from RUN), into a run folder; the same command goes on."""

    out: Path = Field(description="The run folder.")

    def run(self) -> int:
        """Train with a progress bar; Ctrl-C saves first."""
        return _train(Recipe(**self.model_dump(exclude={"out"})), self.out)


def _train(recipe: TrainingRecipe, out: Path) -> int:
    from pilotage.tasks.studies import train_run
    from pilotage.utils.distributed import process_state

    with Interrupts() as stop:
        finished = train_run(recipe, out, stop)
    if process_state().is_main_process:
        goes_on = f"interrupted; saved in {out}. The same command goes on from there."
        print(f"done: {out}" if finished else goes_on)
    return 0 if finished else INTERRUPTED


class TrainAdversarialCommand(AdversarialRecipe):
    """Train a denoising diffusion GAN, which needs few steps; the same command goes on."""

    out: Path = Field(description="The run folder.")

    def run(self) -> int:
        """Train with a progress bar; Ctrl-C saves first."""
        return _train(AdversarialRecipe(**self.model_dump(exclude={"out"})), self.out)


class TrainTextCommand(TextRecipe):
    """Train a denoiser on captioned images; the same command goes on."""

    out: Path = Field(description="The run folder.")

    def run(self) -> int:
        """Train with a progress bar; Ctrl-C saves first."""
        return _train(TextRecipe(**self.model_dump(exclude={"out"})), self.out)


class TrainClassifierCommand(ClassifierRecipe):
    """Train a classifier of noisy images, to guide by; the same command goes on."""

    out: Path = Field(description="The run folder.")

    def run(self) -> int:
        """Train with a progress bar; Ctrl-C saves first."""
        return _train(ClassifierRecipe(**self.model_dump(exclude={"out"})), self.out)


class SampleCommand(SampleSettings):
    """Sample guided images from a run, or from a cascade of runs on captions."""

    run_folder: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(name="run")] = Field(
        None, description="The run folder."
    )

    def run(self) -> int:
        """Sample on all processes; the first one writes."""
        from pilotage.tasks.sample import sample_images

        sample_images(self)
        return 0


class InpaintCommand(InpaintSettings):
    """Complete an image where a mask is white, as a caption says, with a run trained to."""

    run_folder: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(name="run")] = Field(
        None, description="The run folder."
    )

    def run(self) -> int:
        """Sample on all processes; the first one writes."""
        from pilotage.tasks.inpaint import inpaint

        inpaint(self)
        return 0


class SweepCommand(SweepSettings):
    """Measure runs over guidance strengths, step counts and samplers; what is there is skipped."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = Field(
        min_length=1, description="The run folders."
    )

    def run(self) -> int:
        """Sweep with one progress bar over the whole grid."""
        from pilotage.tasks.studies import sweep_runs

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
        from pilotage.tasks.studies import study_p_uncond

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
        from pilotage.tasks.studies import ClassifierStudy, study_classifier

        recipe = Recipe(**self.model_dump(include=set(Recipe.model_fields)))
        study = ClassifierStudy(recipe, self.classifier, self.classifier_w, self.sweep)
        with Interrupts() as stop:
            written = study_classifier(study, self.out, stop)
        return _finished(written, stop(), self.out)


class StudyTrilemmaCommand(AdversarialRecipe):
    """Train GANs of several numbers of steps and a denoiser; compare quality, diversity, speed."""

    out: Path = Field(description="The folder of the runs, the comparison and the report.")
    T: tuple[Positive, ...] = Field(
        (1, 2, 4, 8), min_length=1, description="Steps of the GANs, one each, for steps_T."
    )
    denoiser: Recipe = Field(
        Recipe(),
        description="The denoiser's recipe; its data, held_out, flip, seed and p_uncond are the "
        "GANs'.",
    )
    ancestral_steps: tuple[Positive, ...] = Field(
        (1000, 250), min_length=1, description="Numbers of ancestral steps of the denoiser."
    )
    ddim_steps: tuple[Positive, ...] = Field(
        (50, 10), description="Numbers of DDIM steps of the denoiser."
    )
    sweep: SeriesSettings = SeriesSettings()
    speed: SpeedSettings = SpeedSettings()

    def run(self) -> int:
        """The whole study; what is there already is not done again."""
        from pilotage.tasks.trilemma import TrilemmaStudy, study_trilemma

        study = TrilemmaStudy(
            AdversarialRecipe(**self.model_dump(include=set(AdversarialRecipe.model_fields))),
            self.denoiser,
            self.T,
            self.ancestral_steps,
            self.ddim_steps,
            self.sweep,
            self.speed,
        )
        with Interrupts() as stop:
            written = study_trilemma(study, self.out, stop)
        return _finished(written, stop(), self.out)


class StudyAblationsCommand(AdversarialRecipe):
    """Train a GAN whole and without each of its parts; compare quality and diversity: one table."""

    out: Path = Field(description="The folder of the runs, the comparison and the report.")
    sweep: SeriesSettings = SeriesSettings()

    def run(self) -> int:
        """The whole study; what is there already is not done again."""
        from pilotage.tasks.trilemma import study_ablations

        recipe = AdversarialRecipe(**self.model_dump(exclude={"out", "sweep"}))
        with Interrupts() as stop:
            written = study_ablations(recipe, self.out, self.sweep, stop)
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
        from pilotage.tasks.evaluate import evaluate, format_row

        print(format_row(evaluate(self)))
        return 0


class LikelihoodCommand(LikelihoodSettings):
    """Bits per dimension of held-out images under a run's model, with their standard error."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run")] = Field(
        description="The run folder."
    )

    def run(self) -> int:
        """Measure and print."""
        from pilotage.tasks.likelihood import format_row, likelihood
        from pilotage.utils.distributed import process_state

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
        from pilotage.interop.adm.runs import import_adm

        card = import_adm(self)
        kind = "classifier" if isinstance(card.recipe, ClassifierRecipe) else "denoiser"
        print(f"{self.out}: a {kind} of {len(card.data.classes)} classes, {card.data.shape}")
        return 0


class ImportDdganCommand(ImportDdganSettings):
    """Make a run folder of a published denoising diffusion GAN (NVIDIA's netG_*.pth)."""

    checkpoint: Annotated[Path, tyro.conf.Positional] = Field(
        description="A .pth, .pt or .safetensors file of tensors."
    )

    def run(self) -> int:
        """Import, and say what it is."""
        from pilotage.interop.ddgan.runs import import_ddgan

        card = import_ddgan(self)
        print(f"{self.out}: a generator of {card.recipe.steps_T} steps, {card.data.shape}")
        return 0


class ImportGlideCommand(ImportGlideSettings):
    """Make a run folder on captions of one of OpenAI's GLIDE networks."""

    checkpoint: Annotated[Path, tyro.conf.Positional] = Field(
        description="A .pt, .pth or .safetensors file of tensors."
    )

    def run(self) -> int:
        """Import, and say what it is."""
        from pilotage.interop.glide.runs import import_glide

        card = import_glide(self)
        does = ["enlarges"] * bool(card.recipe.low_res) + ["completes"] * card.recipe.inpaint
        what = f" that {' and '.join(does)}" if does else ""
        print(f"{self.out}: a denoiser{what}, on captions, {card.data.shape}")
        return 0


class ExportAdmCommand(Settings):
    """Write a run's weights in guided-diffusion's layout, with the options to import them again."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run")] = Field(
        description="The run folder."
    )
    out: Annotated[Path, tyro.conf.Positional] = Field(description="A .safetensors file.")

    def run(self) -> int:
        """Export."""
        from pilotage.interop.adm.runs import export_adm

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
        from pilotage.tasks.demo import demo

        demo(self.out, self.steps, self.seed)
        return 0
