"""Studies of denoising diffusion GANs (2112.07804): the trilemma of its Figure 1, its ablations."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pilotage.data.points import is_mixture
from pilotage.errors import PilotageError
from pilotage.models.build import build_schedule, few_steps
from pilotage.models.model import Model, load_run
from pilotage.report import write_report
from pilotage.settings import (
    AblationsStudy,
    AdversarialRecipe,
    GridSettings,
    SeriesSettings,
    SpeedSettings,
    TrilemmaStudy,
)
from pilotage.sweep.rows import SampleRow
from pilotage.sweep.speed import Timed, time_rows
from pilotage.sweep.table import Row
from pilotage.tasks.comparison import Compared, Comparison, write_comparison
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
    """Compare quality, diversity and speed of GANs of several step counts and a denoiser.

    As Figure 1 and Table 1 of 2112.07804. All models sample with the same seeds, without guidance,
    and are timed in turns in one process.

    Args:
        study: the recipes and the sweep; its folder gets the runs ``ddgan-T...`` and
            ``denoiser``, the times ``trilemma.jsonl``, the comparison ``trilemma.md``, ``.csv`` and
            ``.png``, and the report.
        stop: called after every step of training and sampling; if true the study is saved and
            ends.

    Returns:
        The files of comparison and report, on the main process; none if training was stopped.

    Raises:
        PilotageError: for bad settings, before anything is trained.
        KeyboardInterrupt: if ``stop`` was true during sampling.
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
    """Ablate the parts of a denoising diffusion GAN (2112.07804, Table 2).

    Args:
        study: the recipe of the full model, from which every variant differs in one setting, and
            the sweep, without guidance; its folder gets the runs, named as in ``ABLATIONS``, the
            comparison ``ablations.md`` and ``.csv``, and the report.
        stop: as for :func:`study_trilemma`, as are returns and errors.
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
        f"Each variant was trained for {recipe.steps} steps and differs from the full model in one "
        "setting; images are not guided."
    )
    found = Comparison("Ablations of a denoising diffusion GAN", lead, models)
    return _written(found, out / "ablations", folders)


def _check_trilemma(
    study: TrilemmaStudy, gans: Iterable[AdversarialRecipe], grids: Sequence[GridSettings]
) -> None:
    """Refuse settings that could not be measured in the end."""
    _check_images(study.recipe)
    if len(set(study.T)) < len(study.T):
        raise PilotageError(f"T is {study.T}: it must have every number once.")
    for recipe in gans:
        few_steps(recipe)
    levels = build_schedule(study.denoiser)
    for grid in grids:
        for steps in grid.steps or ():
            levels.grid(steps)


def _check_full(recipe: AdversarialRecipe) -> None:
    """Refuse a recipe that is an ablation already."""
    _check_images(recipe)
    few_steps(recipe)
    full = {"with_latent": True, "direct": False, "predicts": "x"}
    for name, value in full.items():
        if getattr(recipe, name) != value:
            raise PilotageError(
                f"{name} is {getattr(recipe, name)}: it must be {value}, as in the full model, of "
                "which the study makes ablations."
            )
    if recipe.steps_T == 1:
        raise PilotageError("steps_T is 1: it must be at least 2; 1 is the ablation one-shot.")


def _check_images(recipe: AdversarialRecipe) -> None:
    if is_mixture(recipe.data):
        raise PilotageError(f"data is {recipe.data}: it must have images, and has points.")


def _grid(series: SeriesSettings, w: float = 0.0, **more: Any) -> GridSettings:
    return GridSettings(**dict(series), w=(w,), **more)


def _denoiser_grids(study: TrilemmaStudy) -> list[GridSettings]:
    """Return the sweeps of the denoiser."""
    ways = ("ancestral", study.ancestral_steps), ("ddim", study.ddim_steps)
    return [
        _grid(study.sweep, _denoiser_w(study), steps=steps, sampler=(sampler,))
        for sampler, steps in ways
        if steps
    ]


def _denoiser_w(study: TrilemmaStudy) -> float:
    """Return the w without guidance: 0, or -1 where no label was learned."""
    return -1.0 if study.recipe.p_uncond == 1 else 0.0


def _measured(folders: Sequence[Path], grid: GridSettings, stop: Stop) -> list[Row]:
    """Sweep, and sort the rows by run and steps."""

    def place(row: Row) -> tuple[int, int]:
        return folders.index(Path(row["run"])), grid.steps.index(row["steps"]) if grid.steps else 0

    return sorted(sweep_runs(tuple(folders), grid, stop), key=place)


def _timed(
    rows: Sequence[Row], runs: dict[str, Model], how: SpeedSettings, path: Path, stop: Stop
) -> Timed:
    """Time the sampling of the rows, with a progress bar."""
    with sweep_bar() as bar:
        step = interruptible(bar.advance, stop)
        return time_rows(rows, runs, how, path, bar.start, step)


def _written(found: Comparison, stem: Path, runs: Sequence[Path]) -> list[Path]:
    """Write the comparison and a report; return their files."""
    return [*write_comparison(found, stem), *write_report(runs, stem.with_name("report.html"))]


def _compared(row: Row, run: Model) -> Compared:
    name = Path(row["run"]).name
    kind = f"denoiser, {row['sampler']}"
    if run.builder.stochastic:
        kind = "denoising diffusion GAN"
    return Compared(name, kind, sum(p.numel() for p in run.network.parameters()), SampleRow(**row))


def _lead(study: TrilemmaStudy) -> str:
    return (
        f"GANs trained for {study.recipe.steps} steps, the denoiser for {study.denoiser.steps}, on "
        f"the same data; images are not guided (w = 0 of the GANs, {_denoiser_w(study):g} of the "
        "denoiser). In the picture points are labelled with "
        "their steps T; bars are one standard error, and the fastest and slowest round."
    )
