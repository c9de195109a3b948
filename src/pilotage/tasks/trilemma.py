"""Studies of denoising diffusion GANs (2112.07804): the trilemma of its Figure 1, its ablations."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pilotage.data.points import is_mixture
from pilotage.errors import PilotageError
from pilotage.models.build import build_schedule, few_steps
from pilotage.models.model import Model, load_run
from pilotage.report import write_report
from pilotage.report.compared import Compared, Comparison, read_row, write_comparison
from pilotage.settings import (
    AblationsStudy,
    AdversarialRecipe,
    GridSettings,
    SeriesSettings,
    SpeedSettings,
    TrilemmaStudy,
)
from pilotage.sweep.speed import Timed, time_rows
from pilotage.sweep.table import Row
from pilotage.tasks.studies import DATA, Stop, interruptible, shared, sweep_runs, train_all
from pilotage.utils.distributed import process_state
from pilotage.utils.progress import sweep_bar

# what each ablation changes (2112.07804, Table 2)
ABLATIONS: dict[str, dict[str, Any]] = {
    "full": {},
    "one-shot": {"steps_T": 1},
    "no-latent": {"with_latent": False},
    "direct-denoising": {"direct": True},
    "noise-generation": {"predicts": "eps"},
}

TRILEMMA = "Quality, diversity and speed: denoising diffusion GANs and a denoiser"


def study_trilemma(study: TrilemmaStudy, stop: Stop = lambda: False) -> list[Path]:
    """GANs of several numbers of steps and a denoiser: quality, diversity and speed side by side.

    Figure 1 and Table 1 of 2112.07804 at the user's scale. All models make images with the same
    seeds, without guidance, and are timed in turns in one process.

    Args:
        study: what is trained and measured; its folder gets the runs ``ddgan-T...`` and
            ``denoiser``, the times ``trilemma.jsonl``, the comparison ``trilemma.md``, ``.csv`` and
            ``.png``, and the report.
        stop: asked after every step of training and sampling; if true the study ends, saved.

    Returns:
        The files of comparison and report, on the main process; none if training was stopped.

    Raises:
        PilotageError: for bad settings, before anything is trained.
        KeyboardInterrupt: if ``stop`` said so while images were sampled.
    """
    recipe, out = study.recipe, study.out
    gans = {f"ddgan-T{T}": recipe.replace(steps_T=T) for T in study.T}
    denoiser = study.denoiser.replace(**shared(recipe, *DATA, "p_uncond"))
    grids = _denoiser_grids(study)
    _check_trilemma(study, gans.values(), grids)
    if not train_all({**gans, "denoiser": denoiser}, out, stop):
        return []
    folders = [*(out / name for name in gans), out / "denoiser"]
    rows = _measured(folders[:-1], _grid(study.sweep), stop)
    for grid in grids:
        rows += _measured(folders[-1:], grid, stop)
    if not process_state().is_main_process:
        return []
    runs = {str(folder): load_run(folder) for folder in folders}
    timed = _timed(rows, runs, study.speed, out / "trilemma.jsonl", stop)
    models = [
        _compared(row, runs[row["run"]])._replace(calls=calls, seconds=seconds)
        for row, (calls, seconds) in zip(rows, timed.speeds, strict=True)
    ]
    found = Comparison(TRILEMMA, _lead(study), models, timed.how)
    return _written(found, out / "trilemma", folders)


def study_ablations(study: AblationsStudy, stop: Stop = lambda: False) -> list[Path]:
    """The parts of a denoising diffusion GAN, each taken away (2112.07804, Table 2).

    Args:
        study: the recipe of the full model, from which every variant differs in one setting, and
            the images that are measured, without guidance; its folder gets the runs, named as
            ``ABLATIONS`` is, the comparison ``ablations.md`` and ``.csv``, and the report.
        stop: as for :func:`study_trilemma`, and so are what is returned and raised.
    """
    recipe, out = study.recipe, study.out
    _check_full(recipe)
    trainings = {name: recipe.replace(**change) for name, change in ABLATIONS.items()}
    if not train_all(trainings, out, stop):
        return []
    folders = [out / name for name in trainings]
    rows = _measured(folders, _grid(study.sweep), stop)
    if not process_state().is_main_process:
        return []
    models = [_compared(row, load_run(row["run"])) for row in rows]
    lead = (
        f"Each variant was trained alike for {recipe.steps} steps and differs from the full model "
        "in one setting; images are not guided."
    )
    found = Comparison("Parts of a denoising diffusion GAN, each taken away", lead, models)
    return _written(found, out / "ablations", folders)


def _check_trilemma(
    study: TrilemmaStudy, gans: Iterable[AdversarialRecipe], grids: Sequence[GridSettings]
) -> None:
    """Refuse what could not be measured in the end."""
    _check_images(study.recipe)
    if len(set(study.T)) < len(study.T):
        raise PilotageError(f"T is {study.T}: each number of steps once is enough.")
    for recipe in gans:
        few_steps(recipe)
    levels = build_schedule(study.denoiser)
    for grid in grids:
        for steps in grid.steps or ():
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


def _grid(series: SeriesSettings, w: float = 0.0, **more: Any) -> GridSettings:
    return GridSettings(**dict(series), w=(w,), **more)


def _denoiser_grids(study: TrilemmaStudy) -> list[GridSettings]:
    """What is measured of the denoiser."""
    ways = ("ancestral", study.ancestral_steps), ("ddim", study.ddim_steps)
    return [
        _grid(study.sweep, _denoiser_w(study), steps=steps, sampler=(sampler,))
        for sampler, steps in ways
        if steps
    ]


def _denoiser_w(study: TrilemmaStudy) -> float:
    """Without guidance: 0, or -1 where no label was learned."""
    return -1.0 if study.recipe.p_uncond == 1 else 0.0


def _measured(folders: Sequence[Path], grid: GridSettings, stop: Stop) -> list[Row]:
    """The grid's rows in the order of runs and steps; a table has them as they were measured."""

    def place(row: Row) -> tuple[int, int]:
        return folders.index(Path(row["run"])), grid.steps.index(row["steps"]) if grid.steps else 0

    return sorted(sweep_runs(tuple(folders), grid, stop), key=place)


def _timed(
    rows: Sequence[Row], runs: dict[str, Model], how: SpeedSettings, path: Path, stop: Stop
) -> Timed:
    """The rows' images timed, with a progress bar."""
    with sweep_bar() as bar:
        step = interruptible(bar.advance, stop)
        return time_rows(rows, runs, how, path, bar.start, step)


def _written(found: Comparison, stem: Path, runs: Sequence[Path]) -> list[Path]:
    """The files of the comparison, and of a report beside it."""
    return [*write_comparison(found, stem), *write_report(runs, stem.with_name("report.html"))]


def _compared(row: Row, run: Model) -> Compared:
    name = Path(row["run"]).name
    kind = f"denoiser, {row['sampler']}"
    if run.builder.stochastic:
        kind = "denoising diffusion GAN"
    return Compared(name, kind, sum(p.numel() for p in run.network.parameters()), read_row(row))


def _lead(study: TrilemmaStudy) -> str:
    return (
        f"GANs trained for {study.recipe.steps} steps, the denoiser for {study.denoiser.steps}, on "
        f"the same data; images are not guided (w = 0 of the GANs, {_denoiser_w(study):g} of the "
        "denoiser). In the picture points are labelled with "
        "their steps T; bars are one standard error, and the fastest and slowest round."
    )
