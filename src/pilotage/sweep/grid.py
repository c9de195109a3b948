"""``pilotage sweep``: every setting of a grid, measured once and written as it finishes."""

import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from accelerate import PartialState
from accelerate.utils import gather_object

from pilotage.data import ImageData
from pilotage.errors import PilotageError
from pilotage.images import save_npz, save_png, shape_text, tile, to_uint8
from pilotage.load import load_run
from pilotage.metrics.extractors import Extractor, StackedInDomain, load_extractor
from pilotage.noisy import NoisyRun, load_classifier
from pilotage.processes import process_state
from pilotage.request import Request
from pilotage.run import Run
from pilotage.settings import SweepSettings
from pilotage.sweep.measure import Sample, compare, extract, join, real_sample
from pilotage.sweep.table import Row, append_row, read_rows, row_id, table_path
from pilotage.training.fit import load
from pilotage.version import __version__

PREVIEW_ROWS = 2


class Yardstick(NamedTuple):
    """What samples are measured with.

    Attributes:
        extractor: images to features.
        real: features of the training images.
        manifest: which these are, for the rows.
        floor: features of the held-out images; None if there are too few.
    """

    extractor: Extractor
    real: Sample
    manifest: dict
    floor: Sample | None


class Cell(NamedTuple):
    """One setting of one run.

    Attributes:
        row: all but its numbers.
        found: the whole row, if the run's table has it already.
    """

    folder: Path
    run: Run
    request: Request
    yardstick: Yardstick
    row: Row
    found: Row | None = None


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
        on_start: is told how many sampling steps this process will do in all.
        on_step: called after every sampling step.
        on_known: receives each row of the grid that was in the tables already, on the main process.

    Raises:
        PilotageError: for bad input, before anything is sampled.
    """
    state = process_state()
    say = say if state.is_main_process else (lambda _: None)
    every = list(_open_cells(settings, state, say))
    cells = [cell for cell in every if cell.found is None]
    for cell in every:
        if cell.found is not None and state.is_main_process:
            on_known(cell.found | {"run": str(cell.folder)})  # which may have been moved
    on_start(sum(len(_own_batches(c.request, state)) * c.request.steps for c in cells))
    for cell in cells:
        begin = time.perf_counter()
        sample, preview = _sample(cell, settings.keep, state, on_step)
        if state.is_main_process:
            metrics = compare(cell.yardstick.real, sample, force=settings.force)
            row = cell.row | {
                "metrics": {name: list(pair) for name, pair in metrics.items()},
                "network_calls": cell.request.steps * len(cell.request.batches()),
                "seconds": round(time.perf_counter() - begin, 3),
                "preview": _save_preview(cell, preview),
            }
            append_row(table_path(cell.folder), row)
            yield row
        state.wait_for_everyone()


def headline(row: Row) -> str:
    """A row in a line: where it was measured, and its distance."""
    value, error = row["metrics"]["frechet"]
    where = f"{row['run']}: w {row['w']:g}, {row['steps']} {row['sampler']} steps"
    name = "FID" if row["extractor"]["name"] == "inception-2015" else "Fréchet distance"
    return f"{where}: {name} ({row['extractor']['name']}) {value:.4g} ± {error:.2g}"


def _open_cells(
    settings: SweepSettings, state: PartialState, say: Callable[[str], None]
) -> Iterator[Cell]:
    """Check everything, prepare what measures, and list every setting."""
    loaded = [(folder, load_run(folder, device=str(state.device))) for folder in settings.runs]
    for folder, run in loaded:
        if len(run.shape) == 1:
            raise PilotageError(
                f"runs has {folder}: its data are points, which sample (.npz) and evaluate measure."
            )
    guide = settings.classifier and load_classifier(settings.classifier, device=str(state.device))
    for _, run in loaded:
        if guide is not None:
            guide.check_fits(run.card)
    yardsticks: dict[str, Yardstick] = {}
    for folder, run in loaded:
        with state.main_process_first():
            name, train, held_out = _real_images(settings, run)
            key = f"{train.fingerprint} {held_out.fingerprint}"
            if key not in yardsticks:
                yardsticks[key] = make_yardstick(settings.extractor, name, train, held_out, say)
        yardstick = yardsticks[key]
        if len(train) < yardstick.extractor.dimensions and not settings.force:
            raise PilotageError(
                f"data is {name}: {len(train)} images are too few for a distance in "
                f"{yardstick.extractor.dimensions} dimensions, which needs at least as many (or "
                "--force)."
            )
        if settings.samples < yardstick.extractor.dimensions and not settings.force:
            raise PilotageError(
                f"samples is {settings.samples}: a distance in {yardstick.extractor.dimensions} "
                "dimensions needs at least as many (or --force)."
            )
        known = {row["id"]: row for row in read_rows(table_path(folder))}
        if state.is_main_process:
            _write_floor(folder, run, yardstick, settings, known)
        cells = [
            _cell(folder, run, guide, yardstick, settings, *place)
            for place in _places(settings, run)
        ]
        cells = [cell._replace(found=known.get(cell.row["id"])) for cell in cells]
        todo = sum(cell.found is None for cell in cells)
        say(f"{folder}: {todo} of {len(cells)} settings to measure")
        yield from cells


def _places(settings: SweepSettings, run: Run) -> Iterator[tuple[int, str, float]]:
    steps = settings.steps or (run.default_steps,)
    return itertools.product(steps, settings.sampler, settings.w)


def _real_images(settings: SweepSettings, run: Run) -> tuple[str, ImageData, ImageData]:
    recipe = run.card.recipe
    if settings.data is not None:
        recipe = recipe.model_copy(update={"data": settings.data})
    train, held_out = load(recipe, say=lambda _: None)
    if train.shape != run.shape:
        raise PilotageError(
            f"data is {recipe.data}: its images are {shape_text(train.shape)}, "
            f"the run's {shape_text(run.shape)}."
        )
    return recipe.data, train, held_out


def make_yardstick(
    spec: str, name: str, train: ImageData, held_out: ImageData, say: Callable[[str], None]
) -> Yardstick:
    """The extractor and the features of the real images, which the rows call ``name``."""
    extractor = load_extractor(spec, train, held_out, say=say)
    chance = 1 / len(train.classes)
    if extractor.accuracy is not None and extractor.accuracy < 2 * chance < 1:
        say(
            f"warning: the {extractor.name} extractor is right for {extractor.accuracy:.0%} of "
            f"held-out images, hardly better than chance ({chance:.0%}): its distances mean little"
        )
    floor = real_sample(held_out, extractor) if len(held_out) > extractor.dimensions else None
    stacked = isinstance(extractor, StackedInDomain)
    manifest = {
        "extractor": {
            "name": extractor.name,
            "hash": extractor.hash,
            "dimensions": extractor.dimensions,
            "resize": extractor.resize,
            "accuracy": extractor.accuracy,
            **({"digit_accuracy": extractor.planes.accuracy} if stacked else {}),
        },
        "reference": {
            "data": name,
            "split": "train",
            "n": len(train),
            "hash": train.fingerprint,
        },
        "code": __version__,
    }
    return Yardstick(extractor, real_sample(train, extractor), manifest, floor)


def _cell(
    folder: Path,
    run: Run,
    guide: NoisyRun | None,
    yardstick: Yardstick,
    settings: SweepSettings,
    steps: int,
    sampler: str,
    w: float,
) -> Cell:
    first = settings.first_seed
    request = run.request(
        "all",
        range(first, first + settings.samples),
        guide,
        w=w,
        classifier_free_w=settings.classifier_free_w,
        classifier_shift=settings.classifier_shift,
        steps=steps,
        sampler=sampler,
        batch_size=settings.batch_size,
        v=settings.v,
        eta=settings.eta,
    )
    decides = {
        "kind": "sample",
        "run_hash": _run_hash(folder),
        "step": run.step,
        "w": w,
        "steps": steps,
        "sampler": sampler,
        "v": request.v if sampler == "ancestral" else None,
        "eta": settings.eta if sampler == "ddim" else None,
        "n": settings.samples,
        "seeds": [first, first + settings.samples],
        "force": settings.force,
        **_guide(request),
        **yardstick.manifest,
    }
    told = {
        "run": str(folder),
        "p_uncond": run.card.recipe.p_uncond,
        **request.guidance.record(),
    }
    return Cell(folder, run, request, yardstick, {"id": row_id(decides), **decides, **told})


def _guide(request: Request) -> Row:
    """What a classifier adds to a setting; nothing without one, as in rows of earlier versions."""
    how = request.guidance
    if how.classifier is None:
        return {}
    return {
        "guidance": "classifier",
        "classifier_hash": _run_hash(how.classifier.folder),
        "classifier_free_w": how.classifier_free_w,
        "classifier_shift": how.classifier_shift,
    }


def _run_hash(folder: Path) -> str:
    with (folder / "ema.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_floor(
    folder: Path, run: Run, yardstick: Yardstick, settings: SweepSettings, known: dict[str, Row]
) -> None:
    """Real held-out images against real training images: no model can do better at that n."""
    if yardstick.floor is None:
        return
    decides = {
        "kind": "real",
        "n": len(yardstick.floor.clipped),
        "force": settings.force,
        **yardstick.manifest,
    }
    row_number = row_id(decides)
    if row_number not in known:
        metrics = compare(yardstick.real, yardstick.floor, force=settings.force)
        pairs = {name: list(pair) for name, pair in metrics.items()}
        row = {"id": row_number, **decides, "run": str(folder), "metrics": pairs, "preview": None}
        append_row(table_path(folder), row)


def _own_batches(request: Request, state: PartialState) -> list[slice]:
    return request.batches()[state.process_index :: state.num_processes]


def _sample(
    cell: Cell, keep: bool, state: PartialState, on_step: Callable[[], None]
) -> tuple[Sample, np.ndarray]:
    """Features of all images, and the first few images, on the main process."""
    shown = PREVIEW_ROWS * _preview_columns(cell.run)
    own = []
    for batch in cell.run.stream(cell.request, _own_batches(cell.request, state), on_step):
        images = to_uint8(batch.images)
        wanted = len(images) if keep else max(0, shown - batch.rows.start)
        arrays = images[:wanted].permute(0, 2, 3, 1).cpu().numpy()
        own.append((batch.rows.start, extract(images, cell.yardstick.extractor), arrays))
    parts = gather_object(own) if state.num_processes > 1 else own
    parts = sorted(parts, key=lambda part: part[0])
    images = np.concatenate([arrays for _, _, arrays in parts])
    labels = np.array(cell.request.labels) if cell.run.classes else None
    if keep and state.is_main_process:
        path = cell.folder / "sweep" / "images" / f"{cell.row['id']}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        told = {} if labels is None else {"labels": labels}
        save_npz(path, images=images, seeds=np.array(cell.request.seeds), **told)
    return join(part for _, part, _ in parts)._replace(labels=labels), images[:shown]


def _preview_columns(run: Run) -> int:
    return min(16, len(run.classes) or 8)


def _save_preview(cell: Cell, images: np.ndarray) -> str:
    path = cell.folder / "sweep" / "previews" / f"{cell.row['id']}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(tile(images, _preview_columns(cell.run)), path)
    return str(path.relative_to(cell.folder))
