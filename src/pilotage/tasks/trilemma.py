"""Studies of denoising diffusion GANs (2112.07804): the trilemma of its Figure 1, its ablations."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pilotage.data.points import is_mixture
from pilotage.errors import PilotageError
from pilotage.models.build import build_schedule, few_steps
from pilotage.models.model import Model, load_run
from pilotage.report import write_report
from pilotage.report.compared import Compared, Comparison, read_row, write_comparison
from pilotage.settings import (
    AdversarialRecipe,
    GridSettings,
    Recipe,
    SeriesSettings,
    SpeedSettings,
    TrainingRecipe,
)
from pilotage.sweep.speed import Timed, time_rows
from pilotage.sweep.table import Row
from pilotage.tasks.studies import interruptible, sweep_runs, train_run
from pilotage.utils.distributed import process_state
from pilotage.utils.progress import sweep_bar

# what the denoiser has to share with the GANs
SHARED = (
    "data",
    "size",
    "image_column",
    "label_column",
    "held_out",
    "flip",
    "seed",
    "p_uncond",
)

# what each ablation changes (2112.07804, Table 2)
ABLATIONS = {
    "full": {},
    "one-shot": {"steps_T": 1},
    "no-latent": {"with_latent": False},
    "direct-denoising": {"direct": True},
    "noise-generation": {"predicts": "eps"},
}

TRILEMMA = "Quality, diversity and speed: denoising diffusion GANs and a denoiser"

Stop = Callable[[], bool]


class TrilemmaStudy(NamedTuple):
    """What :func:`study_trilemma` trains and measures.

    Attributes:
        recipe: of the GANs, but for their number of steps.
        denoiser: of the denoiser, but for data, seed and dropping of labels, which are the GANs'.
        T: steps of the GANs, one each.
        ancestral_steps: numbers of ancestral steps that the denoiser is sampled with.
        ddim_steps: numbers of DDIM steps that it is sampled with.
        series: the images that are measured.
        speed: how they are timed.
    """

    recipe: AdversarialRecipe
    denoiser: Recipe
    T: tuple[int, ...]
    ancestral_steps: tuple[int, ...]
    ddim_steps: tuple[int, ...]
    series: SeriesSettings
    speed: SpeedSettings

    @property
    def trainings(self) -> dict[str, TrainingRecipe]:
        """The recipe of every run, by the name of its folder."""
        shared = {name: getattr(self.recipe, name) for name in SHARED}
        gans = {f"ddgan-T{T}": self.recipe.replace(steps_T=T) for T in self.T}
        return {**gans, "denoiser": self.denoiser.replace(**shared)}

    @property
    def denoiser_w(self) -> float:
        """Without guidance: 0, or -1 where no label was learned."""
        return -1.0 if self.recipe.p_uncond == 1 else 0.0

    @property
    def grids(self) -> list[GridSettings]:
        """What is measured of the denoiser."""
        ways = ("ancestral", self.ancestral_steps), ("ddim", self.ddim_steps)
        return [
            _grid(self.series, self.denoiser_w, steps=steps, sampler=(sampler,))
            for sampler, steps in ways
            if steps
        ]


def study_trilemma(study: TrilemmaStudy, out: Path, stop: Stop = lambda: False) -> list[Path]:
    """GANs of several numbers of steps and a denoiser: quality, diversity and speed side by side.

    Figure 1 and Table 1 of 2112.07804 at the user's scale. All models make images with the same
    seeds, without guidance, and are timed in turns in one process.

    Args:
        study: what is trained and measured.
        out: a folder for the runs ``ddgan-T...`` and ``denoiser``, the times ``trilemma.jsonl``,
            the comparison ``trilemma.md``, ``.csv`` and ``.png``, and the report.
        stop: asked after every step of training and sampling; if true the study ends, saved.

    Returns:
        The files of comparison and report, on the main process; none if training was stopped.

    Raises:
        PilotageError: for bad settings, before anything is trained.
        KeyboardInterrupt: if ``stop`` said so while images were sampled.
    """
    _check_trilemma(study)
    if not _train_all(study.trainings, out, stop):
        return []
    *gans, denoiser = (out / name for name in study.trainings)
    rows = _in_order(sweep_runs(tuple(gans), _grid(study.series), stop), study.T)
    for grid in study.grids:
        rows += _in_order(sweep_runs((denoiser,), grid, stop), grid.steps)
    if not process_state().is_main_process:
        return []
    runs = {str(folder): load_run(folder) for folder in (*gans, denoiser)}
    timed = _timed(rows, runs, study.speed, out / "trilemma.jsonl", stop)
    models = [
        _compared(row, runs[row["run"]])._replace(calls=calls, seconds=seconds)
        for row, (calls, seconds) in zip(rows, timed.speeds, strict=True)
    ]
    found = Comparison(TRILEMMA, _lead(study), models, timed.how)
    return [
        *write_comparison(found, out / "trilemma"),
        *write_report([*gans, denoiser], out / "report.html"),
    ]


def study_ablations(
    recipe: AdversarialRecipe, out: Path, series: SeriesSettings, stop: Stop = lambda: False
) -> list[Path]:
    """The parts of a denoising diffusion GAN, each taken away (2112.07804, Table 2).

    Args:
        recipe: of the full model; every variant differs from it in one setting.
        out: a folder for the runs, named as ``ABLATIONS`` is, the comparison ``ablations.md`` and
            ``.csv``, and the report.
        series: the images that are measured, without guidance.
        stop: asked after every step of training and sampling; if true the study ends, saved.

    Returns:
        The files of comparison and report, on the main process; none if training was stopped.

    Raises:
        PilotageError: for bad settings, before anything is trained.
        KeyboardInterrupt: if ``stop`` said so while images were sampled.
    """
    _check_full(recipe)
    trainings = {name: recipe.replace(**change) for name, change in ABLATIONS.items()}
    if not _train_all(trainings, out, stop):
        return []
    folders = tuple(out / name for name in trainings)
    rows = sweep_runs(folders, _grid(series), stop)
    if not process_state().is_main_process:
        return []
    rows.sort(key=lambda row: folders.index(Path(row["run"])))
    models = [_compared(row, load_run(Path(row["run"]))) for row in rows]
    lead = (
        f"Each variant was trained alike for {recipe.steps} steps and differs from the full model "
        "in one setting; images are not guided."
    )
    found = Comparison("Parts of a denoising diffusion GAN, each taken away", lead, models)
    return [
        *write_comparison(found, out / "ablations"),
        *write_report(folders, out / "report.html"),
    ]


def _check_trilemma(study: TrilemmaStudy) -> None:
    """Refuse what could not be measured in the end."""
    _check_images(study.recipe)
    if len(set(study.T)) < len(study.T):
        raise PilotageError(f"T is {study.T}: each number of steps once is enough.")
    for name, recipe in study.trainings.items():
        if name != "denoiser":
            few_steps(recipe)
    levels = build_schedule(study.denoiser)
    for grid in study.grids:
        for steps in grid.steps:
            levels.grid(steps)


def _check_full(recipe: AdversarialRecipe) -> None:
    """Refuse a recipe that lacks a part already."""
    _check_images(recipe)
    few_steps(recipe)
    wanted = {"with_latent": True, "direct": False, "predicts": "x"}
    for name, value in wanted.items():
        if getattr(recipe, name) != value:
            raise PilotageError(
                f"{name} is {getattr(recipe, name)}: the full model needs {value}, of which the "
                "study takes its parts away."
            )
    if recipe.steps_T == 1:
        raise PilotageError("steps_T is 1: the full model needs 2 or more, one-shot is a variant.")


def _check_images(recipe: AdversarialRecipe) -> None:
    if is_mixture(recipe.data):
        raise PilotageError(f"data is {recipe.data}: it has points, and the study needs images.")


def _grid(series: SeriesSettings, w: float = 0.0, **more: tuple) -> GridSettings:
    return GridSettings(**dict(series), w=(w,), **more)


def _train_all(trainings: dict[str, TrainingRecipe], out: Path, stop: Stop) -> bool:
    """Train every run; whether all reached their last step."""
    for name, recipe in trainings.items():
        train_run(recipe, out / name, stop)
        if stop():
            return False
    return True


def _in_order(rows: Sequence[Row], steps: Sequence[int]) -> list[Row]:
    """The rows in the order of their numbers of steps; a table has them as they were measured."""
    return sorted(rows, key=lambda row: steps.index(row["steps"]))


def _timed(
    rows: Sequence[Row], runs: dict[str, Model], how: SpeedSettings, path: Path, stop: Stop
) -> Timed:
    """The rows' images timed, with a progress bar."""
    with sweep_bar() as bar:
        step = interruptible(bar.advance, stop)
        return time_rows(rows, runs, how, path, bar.start, step)


def _compared(row: Row, run: Model) -> Compared:
    name = Path(row["run"]).name
    kind = f"denoiser, {row['sampler']}"
    if run.builder.stochastic:
        kind = "denoising diffusion GAN"
    return Compared(name, kind, sum(p.numel() for p in run.network.parameters()), read_row(row))


def _lead(study: TrilemmaStudy) -> str:
    return (
        f"GANs trained for {study.recipe.steps} steps, the denoiser for {study.denoiser.steps}, on "
        f"the same data; images are not guided (w = 0 of the GANs, {study.denoiser_w:g} of the "
        "denoiser). In the picture points are labelled with "
        "their steps T; bars are one standard error, and the fastest and slowest round."
    )
