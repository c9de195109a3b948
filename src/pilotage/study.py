"""Studies: several runs, one sweep, one report; every part goes on where it was stopped."""

from collections.abc import Callable
from pathlib import Path

from pilotage.processes import process_state
from pilotage.progress import sweep_bar, training_bar
from pilotage.report import write_report
from pilotage.settings import GridSettings, Recipe, SweepSettings
from pilotage.sweep.grid import headline, sweep
from pilotage.training.fit import fit


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
    sweep_runs(runs, grid)
    return write_report(runs, out / "report.html") if process_state().is_main_process else []


def train_run(recipe: Recipe, out: Path, stop: Callable[[], bool] = lambda: False) -> bool:
    """Train into a run folder with a progress bar; whether it reached its last step."""
    step = recipe.steps  # what a finished run is at, from which no step is taken
    with training_bar(recipe.steps, process_state().is_main_process) as (advance, say):
        for record in fit(recipe, out, say=say, stop=stop):
            advance(record)
            step = record.step
    return step == recipe.steps


def sweep_runs(runs: tuple[Path, ...], grid: GridSettings) -> None:
    """Measure a grid on every run, with one progress bar over all."""
    settings = SweepSettings(**{**dict(grid), "runs": runs})
    with sweep_bar(process_state().is_main_process) as bar:
        for row in sweep(settings, bar.say, bar.start, bar.advance):
            bar.say(headline(row))
