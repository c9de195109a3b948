"""Studies: several runs, one sweep, one report; every part goes on where it was stopped."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pilotage.report import write_report
from pilotage.settings import ClassifierRecipe, GridSettings, Recipe, SweepSettings, TrainingRecipe
from pilotage.sweep.grid import headline, sweep
from pilotage.sweep.table import Row
from pilotage.training.fit import fit
from pilotage.utils.distributed import process_state
from pilotage.utils.progress import sweep_bar, training_bar

# what a classifier has to share with the model that it guides
SHARED = (
    "data",
    "size",
    "image_column",
    "label_column",
    "held_out",
    "flip",
    "schedule",
    "timesteps",
    "lam_min",
    "lam_max",
    "seed",
)


def study_p_uncond(
    recipe: Recipe,
    out: Path,
    rates: tuple[float, ...],
    grid: GridSettings,
    stop: Callable[[], bool] = lambda: False,
) -> list[Path]:
    """Train one model per dropping rate, sweep w over all, report (2207.12598, Table 1).

    Args:
        recipe: all other settings of the models.
        out: a folder; the runs go to ``p_uncond-RATE`` in it, the report beside them.
        rates: the values of p_uncond.
        grid: the sweep.
        stop: asked after every training step; if true the study ends, saved.

    Returns:
        The files of the report; none if it was stopped.
    """
    runs = tuple(out / f"p_uncond-{rate:g}" for rate in rates)
    for rate, run in zip(rates, runs, strict=True):
        train_run(recipe.replace(p_uncond=rate), run, stop)
        if stop():
            return []
    sweep_runs(runs, grid, stop)
    return write_report(runs, out / "report.html") if process_state().is_main_process else []


class ClassifierStudy(NamedTuple):
    """What :func:`study_classifier` trains and measures.

    Attributes:
        recipe: of the models; the conditional one drops labels at its p_uncond.
        classifier: of the classifier, but for data and noise levels, which are the models'.
        classifier_w: the classifier's strengths; 0 is no guidance.
        grid: the sweep, whose w are the classifier-free strengths.
    """

    recipe: Recipe
    classifier: ClassifierRecipe
    classifier_w: tuple[float, ...]
    grid: GridSettings


def study_classifier(
    study: ClassifierStudy, out: Path, stop: Callable[[], bool] = lambda: False
) -> list[Path]:
    """{conditional, unconditional} x classifier strengths, and classifier-free guidance beside it.

    Table 4 of 2105.05233 at the user's scale, and the two kinds of guidance at matched Inception
    score.

    Args:
        study: what is trained and measured.
        out: a folder for the runs ``conditional``, ``unconditional`` and ``classifier``, and the
            report.
        stop: asked after every training step; if true the study ends, saved.

    Returns:
        The files of the report; none if it was stopped.
    """
    conditional, unconditional, guide = (
        out / name for name in ("conditional", "unconditional", "classifier")
    )
    shared = {name: getattr(study.recipe, name) for name in SHARED}
    for recipe, run in (
        (study.recipe, conditional),
        (study.recipe.replace(p_uncond=1.0), unconditional),
        (study.classifier.replace(**shared), guide),
    ):
        train_run(recipe, run, stop)
        if stop():
            return []
    sweep_runs((conditional,), study.grid, stop)
    guided = study.grid.replace(classifier=guide, w=study.classifier_w)
    sweep_runs((conditional, unconditional), guided, stop)
    runs = (conditional, unconditional, guide)
    return write_report(runs, out / "report.html") if process_state().is_main_process else []


def train_run(recipe: TrainingRecipe, out: Path, stop: Callable[[], bool] = lambda: False) -> bool:
    """Train into a run folder with a progress bar; whether it reached its last step."""
    step = recipe.steps  # what a finished run is at, from which no step is taken
    with training_bar(recipe.steps, process_state().is_main_process) as (advance, say):
        for record in fit(recipe, out, say=say, stop=stop):
            advance(record)
            step = record.step
    return step == recipe.steps


def sweep_runs(
    runs: tuple[Path, ...], grid: GridSettings, stop: Callable[[], bool] = lambda: False
) -> list[Row]:
    """Measure a grid on every run, with one progress bar over all.

    Args:
        runs: the run folders.
        grid: the settings.
        stop: asked after every sampling step; if true, KeyboardInterrupt is raised.

    Returns:
        All rows of the grid, on the main process; those that the tables had already come first.
    """
    settings = SweepSettings(**{**dict(grid), "runs": runs})
    rows: list[Row] = []
    with sweep_bar(process_state().is_main_process) as bar:
        step = interruptible(bar.advance, stop)
        for row in sweep(settings, bar.say, bar.start, step, rows.append):
            rows.append(row)
            bar.say(headline(row))
    return rows


def interruptible(advance: Callable[[], None], stop: Callable[[], bool]) -> Callable[[], None]:
    """Advance, but raise KeyboardInterrupt if ``stop`` says so."""

    def step() -> None:
        advance()
        if stop():
            raise KeyboardInterrupt

    return step
