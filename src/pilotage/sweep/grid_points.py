"""The settings of a sweep: all checked, each with everything that decides its row."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from accelerate import PartialState

from pilotage.errors import PilotageError
from pilotage.models.classifier import NoisyRun, load_classifier
from pilotage.models.load import load_run
from pilotage.models.model import Run
from pilotage.models.sampling_spec import Request
from pilotage.models.text_run import TextRun
from pilotage.models.weights import weights_hash
from pilotage.settings import SweepSettings
from pilotage.sweep.baselines import Table, write_bicubic, write_floor
from pilotage.sweep.eval_prompts import Asked, ask
from pilotage.sweep.evaluator import Evaluator, check_enough, make_evaluator, real_images
from pilotage.sweep.table import Row, read_rows, row_id, table_path

SHOWN_CAPTIONS = 16


class Cell(NamedTuple):
    """One setting of one run.

    Attributes:
        row: all but its numbers.
        asked: what a run on captions is asked for; None of any other.
        found: the whole row, if the run's table has it already.
    """

    folder: Path
    run: Run
    request: Request
    evaluator: Evaluator
    row: Row
    asked: Asked | None = None
    found: Row | None = None


class Place(NamedTuple):
    """Where in the grid a cell is."""

    steps: int
    sampler: str
    w: float


def open_cells(
    settings: SweepSettings, state: PartialState, say: Callable[[str], None]
) -> Iterator[Cell]:
    """Check everything, prepare what measures, write the baselines, and list every setting."""
    loaded = [(folder, load_run(folder, device=str(state.device))) for folder in settings.runs]
    guide = settings.classifier and load_classifier(settings.classifier, device=str(state.device))
    for folder, run in loaded:
        _check_run(folder, run, guide, settings)
    evaluators: dict[str, Evaluator] = {}
    for folder, run in loaded:
        with state.main_process_first():
            name, train, held_out = real_images(settings, run)
            key = f"{train.fingerprint} {held_out.fingerprint}"
            if key not in evaluators:
                evaluators[key] = make_evaluator(settings.extractor, name, train, held_out, say)
        evaluator = evaluators[key]
        check_enough(settings, name, len(train), evaluator.extractor.dimensions)
        reads = isinstance(run, TextRun)
        how = (name, train, held_out, say, settings.per_caption)
        asked = ask(run, _seeds(settings), *how) if reads else None
        known = {row["id"]: row for row in read_rows(table_path(folder))}
        if state.is_main_process:
            table = Table(folder, known)
            write_floor(table, evaluator, held_out, settings)
            if asked is not None and "low_res" in asked.beside:
                write_bicubic(table, evaluator, asked, run.shape[1:], settings)
        cells = [
            _cell(folder, run, guide, evaluator, asked, settings, place)
            for place in _places(settings, run)
        ]
        cells = [cell._replace(found=known.get(cell.row["id"])) for cell in cells]
        todo = sum(cell.found is None for cell in cells)
        say(f"{folder}: {todo} of {len(cells)} settings to measure")
        yield from cells


def _check_run(folder: Path, run: Run, guide: NoisyRun | None, settings: SweepSettings) -> None:
    """Refuse a run that cannot be measured, or not be guided so.

    Raises:
        PilotageError: saying why.
    """
    if len(run.shape) == 1:
        raise PilotageError(
            f"runs has {folder}: its data are points, which sample (.npz) and evaluate measure."
        )
    if guide is not None and isinstance(run, TextRun):
        raise PilotageError(
            f"classifier is {guide.folder}: {folder} is a run on captions, which only captions "
            "guide, so give none."
        )
    if guide is not None:
        guide.check_fits(run.card)
    several = {"per_caption": settings.per_caption} if settings.per_caption > 1 else {}
    for name, value in (_words(settings) | several).items():
        if not isinstance(run, TextRun):
            raise PilotageError(f"{name} is {value!r}: {folder} has labels, so give none.")


def _places(settings: SweepSettings, run: Run) -> Iterator[Place]:
    steps = settings.steps or (run.default_steps,)
    return itertools.starmap(Place, itertools.product(steps, settings.sampler, settings.w))


def _seeds(settings: SweepSettings) -> range:
    return range(settings.first_seed, settings.first_seed + settings.samples)


def _cell(
    folder: Path,
    run: Run,
    guide: NoisyRun | None,
    evaluator: Evaluator,
    asked: Asked | None,
    settings: SweepSettings,
    place: Place,
) -> Cell:
    request = _request(run, guide, asked, settings, place)
    seeds = _seeds(settings)
    decides = {
        "kind": "sample",
        "run_hash": weights_hash(folder),
        "step": run.step,
        "w": place.w,
        "steps": place.steps,
        "sampler": place.sampler,
        "v": request.v if place.sampler == "ancestral" else None,
        "eta": settings.eta if place.sampler == "ddim" else None,
        "n": settings.samples,
        "seeds": [seeds.start, seeds.stop],
        "force": settings.force,
        **_guide(request),
        **(asked.decides if asked else {}),
        **_words(settings),
        **evaluator.manifest,
    }
    told = {
        "run": str(folder),
        "p_uncond": run.card.recipe.p_uncond,
        **({"first_captions": list(asked.captions[:SHOWN_CAPTIONS])} if asked else {}),
        **request.guidance.record(),
    }
    row = {"id": row_id(decides), **decides, **told}
    return Cell(folder, run, request, evaluator, row, asked)


def _request(
    run: Run, guide: NoisyRun | None, asked: Asked | None, settings: SweepSettings, place: Place
) -> Request:
    """The images of a setting, all labels or captions in turn."""
    how = {
        **place._asdict(),
        "batch_size": settings.batch_size,
        "v": settings.v if place.sampler == "ancestral" else None,
        "eta": settings.eta if place.sampler == "ddim" else 0.0,
        "guidance_interval": settings.guidance_interval,
    }
    if asked is not None:
        return asked.request(run, _seeds(settings), **_words(settings), **how)
    return run.request(
        "all",
        _seeds(settings),
        guide,
        classifier_free_w=settings.classifier_free_w,
        classifier_shift=settings.classifier_shift,
        **how,
    )


def _words(settings: SweepSettings) -> Row:
    """A negative caption and an image's own strength; nothing without, as in earlier rows."""
    words = {"negative": settings.negative, "image_w": settings.image_w}
    return {name: value for name, value in words.items() if value is not None}


def _guide(request: Request) -> Row:
    """What an interval and a classifier add to a setting; nothing without, as in earlier rows."""
    how = request.guidance
    where = {} if how.interval is None else {"guidance_interval": list(how.interval)}
    if how.classifier is None:
        return where
    return {
        **where,
        "guidance": "classifier",
        "classifier_hash": weights_hash(how.classifier.folder),
        "classifier_free_w": how.classifier_free_w,
        "classifier_shift": how.classifier_shift,
    }
