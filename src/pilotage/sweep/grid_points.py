"""The settings of a sweep: all checked, each with everything that decides its row."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from accelerate import PartialState

from pilotage.errors import PilotageError
from pilotage.models.classifier import Classifier, load_classifier
from pilotage.models.model import Model, load_run
from pilotage.models.run_folder import weights_hash
from pilotage.models.sampling_spec import ResolvedSpec
from pilotage.settings import SweepSettings
from pilotage.settings.samplers import Sampler
from pilotage.sweep.baselines import Table, write_bicubic, write_floor
from pilotage.sweep.eval_prompts import EvalPrompts, eval_prompts
from pilotage.sweep.evaluator import Evaluator, check_enough, make_evaluator, real_images
from pilotage.sweep.table import Row, read_rows, row_id, table_path

SHOWN_CAPTIONS = 16
NO_SHORT_FORMS = {"v": None, "eta": None}  # rows have both since the first version


class Cell(NamedTuple):
    """One setting of one run.

    Attributes:
        row: all but its numbers.
        prompts: evaluation prompts of a run on captions; None of any other.
        found: the whole row, if the run's table has it already.
    """

    folder: Path
    run: Model
    resolved: ResolvedSpec
    evaluator: Evaluator
    row: Row
    prompts: EvalPrompts | None = None
    found: Row | None = None

    @property
    def network_calls(self) -> int:
        """Calls of the network for all images."""
        calls = self.resolved.sampler.calls_per_step * self.resolved.steps
        return calls * len(self.resolved.batches())


class Place(NamedTuple):
    """Where in the grid a cell is."""

    steps: int
    sampler: Sampler
    w: float


def open_cells(
    settings: SweepSettings, state: PartialState, say: Callable[[str], None]
) -> Iterator[Cell]:
    """Check everything, prepare what measures, write the baselines, and list every setting."""
    loaded = [(folder, load_run(folder, device=str(state.device))) for folder in settings.runs]
    guide = None
    if settings.classifier is not None:
        guide = load_classifier(settings.classifier, device=state.device)
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
        reads = run.conditioner.noun == "captions"
        how = (name, train, held_out, say, settings.per_caption)
        prompts = eval_prompts(run, _seeds(settings), *how) if reads else None
        known = {row["id"]: row for row in read_rows(table_path(folder))}
        if state.is_main_process:
            table = Table(folder, known)
            write_floor(table, evaluator, held_out, settings)
            if prompts is not None and "low_res" in prompts.condition:
                write_bicubic(table, evaluator, prompts, (run.shape[1], run.shape[2]), settings)
        cells = [
            _cell(folder, run, guide, evaluator, prompts, settings, place)
            for place in _places(settings, run)
        ]
        cells = [cell._replace(found=known.get(cell.row["id"])) for cell in cells]
        todo = sum(cell.found is None for cell in cells)
        say(f"{folder}: {todo} of {len(cells)} settings to measure")
        yield from cells


def _check_run(folder: Path, run: Model, guide: Classifier | None, settings: SweepSettings) -> None:
    """Refuse a run that cannot be measured, or not be guided so.

    Raises:
        PilotageError: saying why.
    """
    if run.card.data.points:
        raise PilotageError(
            f"runs has {folder}: its data are points, which sample (.npz) and evaluate measure."
        )
    captions = run.conditioner.noun == "captions"
    if guide is not None and captions:
        raise PilotageError(
            f"classifier is {guide.folder}: {folder} is a run on captions, which only captions "
            "guide, so give none."
        )
    if guide is not None:
        guide.check_fits(run.card)
    several = {"per_caption": settings.per_caption} if settings.per_caption > 1 else {}
    for name, value in (_words(settings) | several).items():
        if not captions:
            raise PilotageError(f"{name} is {value!r}: {folder} has labels, so give none.")


def _places(settings: SweepSettings, run: Model) -> Iterator[Place]:
    steps = settings.steps or (run.default_steps,)
    return itertools.starmap(Place, itertools.product(steps, settings.samplers, settings.w))


def _seeds(settings: SweepSettings) -> range:
    return range(settings.first_seed, settings.first_seed + settings.samples)


def _cell(
    folder: Path,
    run: Model,
    guide: Classifier | None,
    evaluator: Evaluator,
    prompts: EvalPrompts | None,
    settings: SweepSettings,
    place: Place,
) -> Cell:
    resolved = _resolve(run, guide, prompts, settings, place)
    seeds = _seeds(settings)
    decides = {
        "kind": "sample",
        "run_hash": weights_hash(folder),
        "step": run.step,
        "steps": place.steps,
        **NO_SHORT_FORMS,
        **resolved.sampler.record(),
        "n": settings.samples,
        "seeds": [seeds.start, seeds.stop],
        "force": settings.force,
        **(prompts.decides if prompts else {}),
        **resolved.guidance.row(),
        **evaluator.manifest,
    }
    also = {
        "run": str(folder),
        "p_uncond": run.card.recipe.p_uncond,
        **({"first_captions": list(prompts.captions[:SHOWN_CAPTIONS])} if prompts else {}),
        **resolved.guidance.record(),
    }
    row = {"id": row_id(decides), **decides, **also}
    return Cell(folder, run, resolved, evaluator, row, prompts)


def _resolve(
    run: Model,
    guide: Classifier | None,
    prompts: EvalPrompts | None,
    settings: SweepSettings,
    place: Place,
) -> ResolvedSpec:
    """The images of a setting, all labels or captions in turn."""
    how = {
        **place._asdict(),
        "batch_size": settings.batch_size,
        "rule": settings.rule,
        "guidance_interval": settings.guidance_interval,
    }
    if prompts is not None:
        return prompts.resolve(run, _seeds(settings), **_words(settings), **how)
    return run.resolve(
        seeds=_seeds(settings),
        classifier=guide,
        classifier_free_w=settings.classifier_free_w,
        classifier_shift=settings.classifier_shift,
        **how,
    )


def _words(settings: SweepSettings) -> Row:
    """A negative prompt and an image guidance scale, if they are given."""
    words = {"negative": settings.negative, "image_w": settings.image_w}
    return {name: value for name, value in words.items() if value is not None}
