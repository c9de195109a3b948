"""``pilotage sweep``: every setting of a grid, measured once and written as it finishes."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import numpy as np
from accelerate import PartialState

from pilotage.metrics import Sample, compare, join, row_parts
from pilotage.models.model import Model
from pilotage.settings import SweepSettings
from pilotage.sweep.grid_points import Cell, open_cells
from pilotage.sweep.per_sample import caption_diversity
from pilotage.sweep.rows import checked
from pilotage.sweep.table import Row, append_row, table_path
from pilotage.utils.distributed import gathered, own_share, process_state
from pilotage.utils.files import check_writable, only_writer
from pilotage.utils.images import save_npz, save_png, tile, to_uint8

PREVIEW_ROWS = 2
IN_HEADLINE = {
    "attribute_all": "caption accuracy",
    "condition_psnr": "PSNR of the condition, in dB,",
}


def sweep(
    settings: SweepSettings,
    say: Callable[[str], None] = print,
    on_start: Callable[[int], None] = lambda _: None,
    on_step: Callable[[], None] = lambda: None,
    on_known: Callable[[Row], None] = lambda _: None,
) -> Iterator[Row]:
    """Measure every setting that is not in the runs' tables yet; yield each row once it is there.

    Whole batches are dealt to the processes, so any number of them gives the same rows.

    Args:
        settings: the grid.
        say: receives one-line notes, on the main process.
        on_start: receives how many sampling steps this process will do in all.
        on_step: called after every sampling step.
        on_known: receives each row of the grid that was in the tables already, on the main process.

    Raises:
        PilotageError: for bad input, before anything is sampled.
    """
    state = process_state()
    say = say if state.is_main_process else (lambda _: None)
    every = list(open_cells(settings, state, say))
    cells = [cell for cell in every if cell.found is None]
    for cell in every:
        if cell.found is not None and state.is_main_process:
            on_known(cell.found | {"run": str(cell.folder)})  # which may have been moved
    shares = [len(own_share(c.resolved.batches(), state)) * c.resolved.steps for c in cells]
    on_start(sum(shares))
    with ExitStack() as held:
        for folder in {cell.folder for cell in cells} if state.is_main_process else ():
            check_writable(table_path(folder).parent, "run")
            table_path(folder).parent.mkdir(exist_ok=True)
            held.enter_context(only_writer(table_path(folder).parent, "sweeping"))
        yield from _rows(cells, settings, state, on_step)


def _rows(
    cells: Sequence[Cell], settings: SweepSettings, state: PartialState, on_step: Callable[[], None]
) -> Iterator[Row]:
    """Measure cells; yield each row once it is in its table."""
    for cell in cells:
        begin = time.perf_counter()
        sample, preview = _sample(cell, settings.keep, state, on_step)
        if state.is_main_process:
            metrics = compare(cell.evaluator.real, sample, force=settings.force)
            row = cell.row | {
                **row_parts(metrics),
                "network_calls": cell.network_calls,
                "seconds": round(time.perf_counter() - begin, 3),
                "preview": _save_preview(cell, preview),
            }
            append_row(table_path(cell.folder), checked(row))
            yield row
        state.wait_for_everyone()


def headline(row: Row) -> str:
    """A row in a line: where it was measured, its distance, and what it has right."""
    value, error = row["metrics"]["frechet"]
    where = f"{row['run']}: w {row['w']:g}, {row['steps']} {row['sampler']} steps"
    name = "FID" if row["extractor"]["name"] == "inception-2015" else "Fréchet distance"
    said = [f"{name} ({row['extractor']['name']}) {value:.4g} ± {error:.2g}"]
    found = {key: row["metrics"][key] for key in IN_HEADLINE if key in row["metrics"]}
    said += [f"{IN_HEADLINE[key]} {pair[0]:.4g} ± {pair[1]:.2g}" for key, pair in found.items()]
    return f"{where}: {'; '.join(said)}"


def _sample(
    cell: Cell, keep: bool, state: PartialState, on_step: Callable[[], None]
) -> tuple[Sample, np.ndarray]:
    """Features of all images, and the first few images, on the main process."""
    shown = PREVIEW_ROWS * _preview_columns(cell.run)
    per_caption = 1 if cell.prompts is None else cell.prompts.per_caption
    own = []
    rows = own_share(cell.resolved.batches(), state)
    for batch in cell.run.stream(cell.resolved, rows, on_step):
        images = to_uint8(batch.images)
        wanted = len(images) if keep or per_caption > 1 else max(0, shown - batch.rows.start)
        first = images[:wanted].permute(0, 2, 3, 1).cpu().numpy()
        sample = cell.evaluator.extractor.sample(images)
        if cell.prompts is not None:
            sample = sample._replace(per_sample=cell.prompts.per_sample(batch.rows, images))
        own.append((batch.rows.start, (sample, first)))
    parts = gathered(own, state)
    arrays, labels = np.concatenate([images for _, images in parts]), _labels(cell)
    if keep and state.is_main_process:
        _save_images(cell, arrays, labels)
    sample = join(part for part, _ in parts)._replace(labels=labels)
    if per_caption > 1:
        apart = caption_diversity(arrays, per_caption)
        scores = {**(sample.per_sample or {}), "caption_diversity": apart}
        sample = sample._replace(per_sample=scores)
    return sample, arrays[:shown]


def _labels(cell: Cell) -> np.ndarray | None:
    """The class that each image should show: that of its caption, if the data have classes."""
    if cell.prompts is not None:
        return cell.prompts.labels
    return np.array(cell.resolved.conditions) if cell.run.classes else None


def _save_images(cell: Cell, images: np.ndarray, labels: np.ndarray | None) -> None:
    """All images of a setting, with their labels and captions."""
    path = cell.folder / "sweep" / "images" / f"{cell.row['id']}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    conditions = {} if labels is None else {"labels": labels}
    if cell.prompts is not None:
        conditions["captions"] = np.array(cell.prompts.captions)
    save_npz(path, images=images, seeds=np.array(cell.resolved.seeds), **conditions)


def _preview_columns(run: Model) -> int:
    return min(16, len(run.classes) or 8)


def _save_preview(cell: Cell, images: np.ndarray) -> str:
    path = cell.folder / "sweep" / "previews" / f"{cell.row['id']}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(tile(images, _preview_columns(cell.run)), path)
    return str(path.relative_to(cell.folder))
