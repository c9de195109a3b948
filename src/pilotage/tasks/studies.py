"""Studies: several runs, one sweep, one report; rerun to resume."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pilotage.report import write_report
from pilotage.settings import (
    ClassifierStudy,
    GridSettings,
    PUncondStudy,
    SweepSettings,
    TrainingRecipe,
)
from pilotage.sweep.grid import headline, sweep
from pilotage.sweep.table import Row
from pilotage.training import fit
from pilotage.utils.distributed import process_state
from pilotage.utils.progress import sweep_bar, training_bar

# settings that compared runs share
DATA = ("data", "size", "image_column", "label_column", "held_out", "flip", "seed")
# and those that a classifier and the model that it guides share as well
LEVELS = ("schedule", "timesteps", "lam_min", "lam_max")

Stop = Callable[[], bool]


def study_p_uncond(study: PUncondStudy, stop: Stop = lambda: False) -> list[Path]:
    """Train one model per dropping rate, sweep w over all, report (2207.12598, Table 1).

    Args:
        study: the models' recipe, their rates and the sweep; its folder gets the runs
            ``p_uncond-RATE`` and the report.
        stop: called after every training step; if true the study is saved and ends.

    Returns:
        The files of the report; none if it was stopped.
    """
    recipe = study.recipe
    trainings = {f"p_uncond-{rate:g}": recipe.replace(p_uncond=rate) for rate in study.rates}
    if not train_all(trainings, study.out, stop):
        return []
    runs = tuple(study.out / name for name in trainings)
    sweep_runs(runs, study.sweep, stop)
    return reported(runs, study.out)


def study_classifier(study: ClassifierStudy, stop: Stop = lambda: False) -> list[Path]:
    """Train two models and a classifier, sweep both kinds of guidance, report.

    {conditional, unconditional} x classifier strengths (Table 4 of 2105.05233), and classifier-free
    guidance at matched Inception score.

    Args:
        study: the recipes and the sweep; the runs ``conditional``, ``unconditional`` and
            ``classifier`` and the report go to its folder.
        stop: called after every training step; if true the study is saved and ends.

    Returns:
        The files of the report; none if it was stopped.
    """
    recipe = study.recipe
    trainings: dict[str, TrainingRecipe] = {
        "conditional": recipe,
        "unconditional": recipe.replace(p_uncond=1.0),
        "classifier": study.classifier.replace(**shared(recipe, *DATA, *LEVELS)),
    }
    if not train_all(trainings, study.out, stop):
        return []
    conditional, unconditional, guide = runs = tuple(study.out / name for name in trainings)
    sweep_runs((conditional,), study.sweep, stop)
    guided = study.sweep.replace(classifier=guide, w=study.classifier_w)
    sweep_runs((conditional, unconditional), guided, stop)
    return reported(runs, study.out)


def shared(recipe: TrainingRecipe, *names: str) -> dict[str, Any]:
    """Select settings of a recipe."""
    return {name: getattr(recipe, name) for name in names}


def reported(runs: Sequence[Path], out: Path) -> list[Path]:
    """Write a report on the runs, on the main process; return its files."""
    return write_report(runs, out / "report.html") if process_state().is_main_process else []


def train_all(trainings: Mapping[str, TrainingRecipe], out: Path, stop: Stop) -> bool:
    """Train every run into the folder of its name; return whether none was stopped."""
    for name, recipe in trainings.items():
        train_run(recipe, out / name, stop)
        if stop():
            return False
    return True


def train_run(recipe: TrainingRecipe, out: Path, stop: Stop = lambda: False) -> bool:
    """Train into a run folder with a progress bar; return whether it reached its last step."""
    step = recipe.steps  # a finished run takes no step
    with training_bar(recipe.steps, process_state().is_main_process) as (advance, say):
        for record in fit(recipe, out, say=say, stop=stop):
            advance(record)
            step = record.step
    return step == recipe.steps


def sweep_runs(runs: tuple[Path, ...], grid: GridSettings, stop: Stop = lambda: False) -> list[Row]:
    """Measure a grid on every run, with one progress bar over all.

    Args:
        runs: the run folders.
        grid: the settings.
        stop: called after every sampling step; if true, KeyboardInterrupt is raised.

    Returns:
        All rows of the grid, on the main process; those already in the tables come first.
    """
    settings = SweepSettings(**{**dict(grid), "runs": runs})
    rows: list[Row] = []
    with sweep_bar(process_state().is_main_process) as bar:
        step = interruptible(bar.advance, stop)
        for row in sweep(settings, bar.say, bar.start, step, rows.append):
            rows.append(row)
            bar.say(headline(row))
    return rows


def interruptible(advance: Callable[[], None], stop: Stop) -> Callable[[], None]:
    """Return a function that advances, then raises KeyboardInterrupt if ``stop`` is true."""

    def step() -> None:
        advance()
        if stop():
            raise KeyboardInterrupt

    return step
