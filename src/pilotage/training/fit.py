"""Training into a run folder: start or resume, log, checkpoint, sample."""

import importlib.util
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from filecmp import dircmp
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
import yaml
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from pilotage.conditions import CaptionSpace, Labels, Space
from pilotage.data import LabelledData
from pilotage.errors import PilotageError
from pilotage.models.build import build_labels
from pilotage.models.data import Datasets, OwnData, facts, load_recipe_data, own_data, placed
from pilotage.models.run_folder import (
    CONDITIONS,
    OWN_DATA,
    Card,
    checkpoints,
    read_card,
    trained,
    write_card,
)
from pilotage.settings import TrainingRecipe, conflict
from pilotage.training.batches import Batches, reader
from pilotage.training.callbacks import Callback, Run, Shown, evaluated
from pilotage.training.log import MetricsLog, forget_after
from pilotage.training.state import publish, restore_newest, save, set_aside_newer, start
from pilotage.training.tasks import TASKS, task_of
from pilotage.training.trainer import StepRecord, Training, train
from pilotage.utils.distributed import process_state
from pilotage.utils.files import only_writer, remove_leftovers, whole_folder
from pilotage.utils.images import shape_text
from pilotage.utils.memory import bounded_memory

TRAINING_REMEDY = (
    "a smaller --batch-size or --size, a larger --accumulate, or a smaller network needs less"
)


class Own(NamedTuple):
    """A user's own objects in a training; see :func:`fit`."""

    data: Datasets | None = None
    network: nn.Module | None = None
    space: Space | None = None


def fit(
    recipe: TrainingRecipe,
    out: str | Path,
    *,
    data: Datasets | None = None,
    network: nn.Module | None = None,
    space: Space | None = None,
    callbacks: Sequence[Callback] = (),
    say: Callable[[str], None] = print,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[StepRecord]:
    """Train a recipe into a run folder, or resume a run; yield every step's record.

    A killed run, rerun, ends with the same bits as one that was never interrupted (CPU, one
    process, the same number of threads). Any number of processes computes the same training, except
    for dropout, whose masks each process draws independently.

    Args:
        recipe: all settings.
        out: the run folder.
        data: a map-style data set of (image, condition) in place of the recipe's, or a pair of such
            data sets, the second held out. Images are (C, H, W), uint8 or floating-point in
            [−1, 1]; conditions are labels 0, 1, ..., or what ``space`` collates; captions, for
            a recipe on captions. See :class:`~pilotage.models.data.OwnData`.
        network: replaces the recipe's denoiser network: called as ``network(z, time, cond)``, it
            returns (B, C, H, W), or (B, 2C, H, W) with a learned variance. z is (B, C, H, W), time
            (B,) is the noise conditioning from 0 to 1000, and cond a batch of conditions, including
            dropped ones. :func:`pilotage.load_run` then needs a network of the same architecture.
        space: the condition space of ``data``; labels by default. It is saved with the run.
        callbacks: called in addition to those of the recipe's kind of training.
        say: receives one-line notes, on the main process.
        stop: called after every step; if it is true on any process, the run is saved and ends.

    Raises:
        PilotageError: for bad input, before anything is written.
        TrainingDivergedError: see :func:`pilotage.training.trainer.train`.
    """
    _check_callbacks(callbacks)
    accelerator = make_accelerator(recipe, Path(out))
    say = say if accelerator.is_main_process else _silent
    with accelerator.main_process_first():  # the others then read the data from the cache
        run = _opened(recipe, Path(out), Own(data, network, space), say)
    _check_folder(run)
    training = start(run.card, accelerator, fresh=not checkpoints(run.out), network=network)
    batches = _batches(run, accelerator)
    if network is not None:
        _check_output(run.card, training, batches)
    task = task_of(run.card)
    turns = task.turns(run.card, training, run.space)
    called = [*task.callbacks(run), *callbacks]
    with _prepared_folder(run, training, called):
        say(_headline(run, training))
        missed = [shown for shown in called if isinstance(shown, Shown) and shown.missed(training)]
        accelerator.wait_for_everyone()  # all have seen what is missing
        for shown in missed:
            shown(training)
        log = MetricsLog(run.out, recipe.log_every, accelerator)
        for record in _within_memory(train(training, turns, batches)):
            stopped = _any_process(accelerator, stop())
            last = record.step == recipe.steps
            log.add(record)
            if stopped or last or record.step % recipe.checkpoint_every == 0:
                log.flush()
                save(training, run.out)
            for callback in called:
                if not stopped and (last or record.step % callback.every == 0):
                    callback(training, record)
            yield record
            if stopped:
                break
        accelerator.wait_for_everyone()
        accelerator.end_training()


def _within_memory(records: Iterator[StepRecord]) -> Iterator[StepRecord]:
    """Yield the same records; raise one sentence if memory runs out in a step."""
    while True:
        with bounded_memory("training", TRAINING_REMEDY):
            record = next(records, None)
        if record is None:
            return
        yield record


def plan(recipe: TrainingRecipe, out: Path | None) -> str:
    """Return what :func:`fit` would train: the recipe as YAML, sizes as comments; write nothing.

    Args:
        recipe: all settings.
        out: the run folder, if it is to be checked too.

    Raises:
        PilotageError: for bad input, as :func:`fit` does.
    """
    make_accelerator(recipe, out or Path())
    run = _opened(recipe, out or Path(), Own(), _silent)
    steps = 0
    if out is not None:
        _check_folder(run)
        steps = max((step for step, _ in checkpoints(out)), default=0)
    models = task_of(run.card).models(run.card)
    sizes = [
        f"{name}: {sum(p.numel() for p in model.network.parameters()):,} parameters"
        for name, model in models.items()
    ]
    goal = "nothing was written" if out is None else f"would write {out}; nothing was written"
    lines = [*sizes, _data_text(run), f"from step {steps} to {recipe.steps}; {goal}"]
    settings = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return "\n".join([*(f"# {line}" for line in lines), settings.rstrip()])


def make_accelerator(recipe: TrainingRecipe, out: Path) -> Accelerator:
    """Make the Accelerator of a recipe, logging to TensorBoard where it is installed."""
    process_state()
    AcceleratorState._reset_state()  # another run in this process may have had another precision
    tensorboard = importlib.util.find_spec("tensorboard") is not None
    accelerator = Accelerator(
        mixed_precision=recipe.precision,
        gradient_accumulation_steps=recipe.accumulate,
        log_with="tensorboard" if tensorboard else None,
        project_dir=out,
    )
    shares = accelerator.num_processes * recipe.accumulate
    if recipe.batch_size % shares:
        raise PilotageError(
            f"batch_size is {recipe.batch_size}: it must be a multiple of {shares}, for "
            f"{accelerator.num_processes} processes with accumulate {recipe.accumulate}."
        )
    return accelerator


def _opened(recipe: TrainingRecipe, out: Path, own: Own, say: Callable[[str], None]) -> Run:
    """Load the data and the condition space of a run."""
    task = TASKS[recipe.task]
    _check_own(recipe, own)
    train: LabelledData
    held_out: LabelledData
    if own.data is None:
        recipe = placed(recipe)
        train, held_out = load_recipe_data(recipe, say)
    else:
        recipe = recipe.replace(data=OWN_DATA)
        train, held_out = own_data(own.data, _classes(recipe, own.space))
    space = task.space(recipe, train, out) if own.space is None else own.space
    name = None if own.network is None else type(own.network).__name__
    card = Card(recipe, facts(train, held_out, space), name)
    task.check(card)
    run = Run(card, out, (train, held_out), build_labels(card) if space is None else space, say)
    if isinstance(train, OwnData):
        reader(train, run.space)(train.sample)  # refuses conditions outside the space
    return run


def _check_own(recipe: TrainingRecipe, own: Own) -> None:
    """Refuse objects that would not be used."""
    task, schedule = TASKS[recipe.task], recipe.noise_levels["schedule"]
    network, space = own.network is not None, own.space is not None
    known, words = (CaptionSpace, "captions") if task.captions else (Labels, "labels")
    wrong = [
        (
            network and not task.own_network,
            f"network is given: it must be None for a {recipe.noun} of the task {recipe.task}; "
            "only denoisers on labels may have another network.",
        ),
        (
            network and schedule in ("learned", "learned_ends"),
            f"schedule is {schedule}: it must be a fixed one if a network is given, since it is "
            "learned as part of the recipe's network.",
        ),
        (
            space and own.data is None,
            "space is given: it must come with data, whose conditions it collates.",
        ),
        (
            space and not network and not isinstance(own.space, known),
            f"space is a {type(own.space).__name__}: it must be one of {words} for the recipe's "
            "network, or come with a network.",
        ),
    ]
    for name in ("size", "image_column", "label_column"):
        unused = own.data is not None and getattr(recipe, name) is not None
        why = f"{name} is {getattr(recipe, name)}: it must be None if data is given."
        wrong.append((unused, why))
    for is_wrong, why in wrong:
        if is_wrong:
            raise PilotageError(why)


def _check_callbacks(callbacks: Sequence[Callback]) -> None:
    """Refuse objects that are no callbacks."""
    for found in callbacks:
        if not (callable(found) and hasattr(found, "name") and getattr(found, "every", 0) >= 1):
            raise PilotageError(
                f"callbacks has {found!r}: it must be callable with (training, record), and have "
                "name and every, the number of steps between calls."
            )


def _classes(recipe: TrainingRecipe, space: Space | None) -> tuple[str, ...] | None:
    """Return the class names of a user's data; None if they are to be inferred."""
    if isinstance(space, Labels):
        return space.classes
    return None if space is None and not TASKS[recipe.task].captions else ()


def _check_output(card: Card, training: Training, batches: Batches) -> None:
    """Refuse a network with a wrong output shape."""
    x, cond = batches.at(1)
    with torch.no_grad(), evaluated(training.network) as network:
        output = network(x, x.new_full((len(x),), 500.0), cond)
    channels = x.shape[1] * (2 if card.recipe.learned_variance else 1)
    expected = (len(x), channels, *x.shape[2:])
    if output.shape != expected:
        raise PilotageError(
            f"network returns {tuple(output.shape)}: it must be {expected} for {tuple(x.shape)}."
        )


def _silent(_: str) -> None:
    """Discard notes of other processes than the main one."""


def _check_folder(run: Run) -> None:
    """Refuse a folder that is no run, or a run of other settings or data."""
    out, card = run.out, run.card
    found = checkpoints(out)
    if (out / "recipe.yaml").exists() and trained(out):
        _check_same(run, read_card(out))
    elif (out / "recipe.yaml").exists():
        read_card(out)  # nothing was trained yet, so the recipe is free
    elif out.exists() and (not out.is_dir() or any(p.name[0] != "." for p in out.iterdir())):
        raise PilotageError(f"out is {out}: it must be a new or empty folder, or a run folder.")
    if found and found[-1][0] > card.recipe.steps:
        raise PilotageError(
            f"steps is {card.recipe.steps}: it must be at least {found[-1][0]}, the steps that the "
            f"run in {out} has done."
        )
    if not found and trained(out):
        raise PilotageError(
            f"out is {out}: it must have a checkpoint in state/ to be resumed, since training from "
            "the start would replace its weights."
        )


@contextmanager
def _prepared_folder(run: Run, training: Training, called: Sequence[Callback]) -> Iterator[None]:
    """Lock and clean the folder, and restore the training from its newest checkpoint."""
    accelerator, out = training.accelerator, run.out
    accelerator.wait_for_everyone()  # until all have checked it
    with ExitStack() as held:
        if accelerator.is_main_process:
            out.mkdir(parents=True, exist_ok=True)
            held.enter_context(only_writer(out))
        accelerator.wait_for_everyone()
        checkpoint = restore_newest(training, out, run.say)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            write_card(out, run.card)  # first: a folder without a card is refused
            for folder in (out, out / "state", out / "samples"):
                folder.mkdir(exist_ok=True)
                remove_leftovers(folder)
            if checkpoint is not None:
                set_aside_newer(out, training.step)
                publish(checkpoint, out)
            for name in (MetricsLog.name, *(callback.name for callback in called)):
                forget_after(out / f"{name}.jsonl", training.step)
            if checkpoint is None and (out / CONDITIONS).exists():
                shutil.rmtree(out / CONDITIONS)  # of a recipe that was never trained
            if not isinstance(run.space, Labels) and not (out / CONDITIONS).exists():
                with whole_folder(out / CONDITIONS) as folder:
                    run.space.save(folder)
        accelerator.wait_for_everyone()
        if accelerator.log_with:
            accelerator.init_trackers("tensorboard")
        yield


def _check_same(run: Run, old: Card) -> None:
    out, new = run.out, run.card
    if old.network != new.network:
        before, now = (card.network or "the recipe's" for card in (old, new))
        raise PilotageError(f"network is {now}: it must be {before}, as in the run in {out}.")
    problem = conflict(old.recipe, new.recipe)
    if problem:
        raise PilotageError(f"{problem} Set it as in {out}, or train into another folder.")
    if old.data != new.data:
        raise PilotageError(
            f"data is {new.recipe.data}: it must have the images, classes and captions that the "
            f"run in {out} was trained on."
        )
    saved = out / CONDITIONS  # for captions, the data facts have a hash
    if saved.exists() and not (isinstance(run.space, CaptionSpace) or _holds(saved, run.space)):
        raise PilotageError(f"space is changed: it must be that of the run in {out}.")


def _holds(folder: Path, space: Space) -> bool:
    """Whether a folder has exactly what the space would save."""
    with TemporaryDirectory() as temporary:
        space.save(temporary)
        found = dircmp(folder, temporary)
        return found.left_list == found.right_list and not found.diff_files


def _batches(run: Run, accelerator: Accelerator) -> Batches:
    recipe, data = run.card.recipe, run.data[0]
    return Batches(
        data,
        recipe.batch_size,
        recipe.seed,
        recipe.flip,
        accelerator.process_index,
        accelerator.num_processes,
        accelerator.device,
        reader(data, run.space),
    )


def _data_text(run: Run) -> str:
    data = run.card.data
    what = f"{'points' if data.points else 'images'} of {shape_text(data.shape)}"
    classes = f" in {len(data.classes)} classes" if data.classes else ""
    return f"{data.train} {what}{classes} ({data.held_out} held out)"


def _headline(run: Run, training: Training) -> str:
    size = sum(p.numel() for p in training.network.parameters()) / 1e6
    where = f"from step {training.step}" if training.step else "from the start"
    return (
        f"{_data_text(run)}; {size:.1f}M weights; "
        f"training {where} to step {run.card.recipe.steps} into {run.out}"
    )


def _any_process(accelerator: Accelerator, flag: bool) -> bool:
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device)) > 0)
