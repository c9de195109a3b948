"""Training into a run folder: start or go on, log, checkpoint, show samples."""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from filecmp import dircmp
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
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
    write_card,
)
from pilotage.settings import TrainingRecipe, conflict
from pilotage.training.batches import Batches, reader
from pilotage.training.callbacks import Callback, Run, evaluated
from pilotage.training.log import MetricsLog, forget_after
from pilotage.training.state import publish, restore_newest, save, set_aside_newer, start
from pilotage.training.tasks import TASKS, task_of
from pilotage.training.trainer import StepRecord, Training, train
from pilotage.utils.distributed import process_state
from pilotage.utils.files import only_writer, remove_leftovers, whole_folder
from pilotage.utils.images import shape_text


class Own(NamedTuple):
    """What is a user's own in a training; see :func:`fit`."""

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
    """Train a recipe into a run folder, or go on with what is there; yield every step's record.

    A killed run, started again, ends with the same bits as one that was never interrupted (CPU, one
    process, the same number of threads). Any number of processes trains alike, but for dropout,
    whose masks each process draws for itself.

    Args:
        recipe: all settings.
        out: the run folder.
        data: a map-style data set of (image, condition) in place of the recipe's, or a pair of such
            data sets, the second held out. Images are (C, H, W), uint8 or floating-point in
            [−1, 1]; conditions are labels 0, 1, ..., or what ``space`` collates; captions, if the
            recipe is one of captions. See :class:`~pilotage.models.data.OwnData`.
        network: in place of the recipe's, for a recipe of a denoiser: called as
            ``network(z, time, cond)``, it gives (B, C, H, W), or (B, 2C, H, W) with a learned
            variance. z is (B, C, H, W), time (B,) from 0 to 1000 as other networks are told it, and
            cond a batch of conditions, dropped ones among them. :func:`pilotage.load_run` then
            needs one like it.
        space: the conditions of ``data``; labels if not given. The run folder keeps it.
        callbacks: called beside those of the recipe's kind of training.
        say: receives one-line notes, on the main process.
        stop: asked after every step; if true on any process, the run is saved and ends.

    Raises:
        PilotageError: for bad input, before anything is written.
        TrainingDivergedError: see :func:`pilotage.training.trainer.train`.
    """
    _check_callbacks(callbacks)
    accelerator = make_accelerator(recipe, Path(out))
    say = say if accelerator.is_main_process else _silent
    with accelerator.main_process_first():  # the others then find the data in the cache
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
        log = MetricsLog(run.out, recipe.log_every, accelerator)
        for record in train(training, turns, batches):
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


def make_accelerator(recipe: TrainingRecipe, out: Path) -> Accelerator:
    """Accelerate's view of devices and processes; TensorBoard joins in where it is installed."""
    process_state()
    AcceleratorState._reset_state()  # an earlier run of this process may have had another precision
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
            f"batch_size is {recipe.batch_size}: {accelerator.num_processes} processes with "
            f"accumulate {recipe.accumulate} need a multiple of {shares}."
        )
    return accelerator


def _opened(recipe: TrainingRecipe, out: Path, own: Own, say: Callable[[str], None]) -> Run:
    """The run with its data and its condition space."""
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
        reader(train, run.space)(train.sample)  # does the space take its conditions?
    return run


def _check_own(recipe: TrainingRecipe, own: Own) -> None:
    """Refuse what is given and would not be used."""
    task, schedule = TASKS[recipe.task], recipe.noise_levels["schedule"]
    network, space = own.network is not None, own.space is not None
    known, words = (CaptionSpace, "captions") if task.captions else (Labels, "labels")
    wrong = [
        (
            network and not task.own_network,
            f"network is given: the networks of the task {recipe.task} are its own; only those of "
            "the task denoiser may be others.",
        ),
        (
            network and schedule in ("learned", "learned_ends"),
            f"schedule is {schedule}: it is learned as a part of the recipe's network, so with a "
            "network given it must be another.",
        ),
        (
            space and own.data is None,
            "space is given: it collates conditions of data, so give data too.",
        ),
        (
            space and not network and not isinstance(own.space, known),
            f"space is a {type(own.space).__name__}: the recipe's network takes one of {words}, so "
            "give a network too.",
        ),
    ]
    for name in ("size", "image_column", "label_column"):
        in_vain = own.data is not None and getattr(recipe, name) is not None
        said = f"{name} is {getattr(recipe, name)}: it means nothing to data given in Python."
        wrong.append((in_vain, said))
    for is_so, said in wrong:
        if is_so:
            raise PilotageError(said)


def _check_callbacks(callbacks: Sequence[Callback]) -> None:
    """Refuse what is no callback."""
    for found in callbacks:
        if not (callable(found) and hasattr(found, "name") and getattr(found, "every", 0) >= 1):
            raise PilotageError(
                f"callbacks has {found!r}: each must be called with (training, record), and have a "
                "name and every, the steps between calls."
            )


def _classes(recipe: TrainingRecipe, space: Space | None) -> tuple[str, ...] | None:
    """Names of the labels of a user's data; None if they are to be found there."""
    if isinstance(space, Labels):
        return space.classes
    return None if space is None and not TASKS[recipe.task].captions else ()


def _check_output(card: Card, training: Training, batches: Batches) -> None:
    """Refuse a network whose output cannot be learned from."""
    x, cond = batches.at(1)
    with torch.no_grad(), evaluated(training.network) as network:
        output = network(x, x.new_full((len(x),), 500.0), cond)
    channels = x.shape[1] * (2 if card.recipe.learned_variance else 1)
    wanted = (len(x), channels, *x.shape[2:])
    if output.shape != wanted:
        raise PilotageError(
            f"network gives {tuple(output.shape)}: for {tuple(x.shape)} it must give {wanted}."
        )


def _silent(_: str) -> None:
    """What the processes beside the main one say."""


def _check_folder(run: Run) -> None:
    """Refuse a folder that is something else, or a run of other settings or data."""
    out, card = run.out, run.card
    if (out / "recipe.yaml").exists():
        _check_same(run, read_card(out))
    elif out.exists() and (not out.is_dir() or any(p.name[0] != "." for p in out.iterdir())):
        raise PilotageError(f"out is {out}: it exists, but is neither empty nor a run folder.")
    found = checkpoints(out)
    if found and found[-1][0] > card.recipe.steps:
        raise PilotageError(
            f"steps is {card.recipe.steps}: the run in {out} has already done {found[-1][0]}."
        )
    if not found and (out / "model.safetensors").exists():
        raise PilotageError(
            f"out is {out}: it has weights but no checkpoint in state/ to go on from, and training "
            "from the start would replace them."
        )


@contextmanager
def _prepared_folder(run: Run, training: Training, called: Sequence[Callback]) -> Iterator[None]:
    """The folder, written by us alone and without what a killed writer left; training restored."""
    accelerator, out = training.accelerator, run.out
    accelerator.wait_for_everyone()  # all have checked it
    with ExitStack() as held:
        if accelerator.is_main_process:
            out.mkdir(parents=True, exist_ok=True)
            held.enter_context(only_writer(out))
        accelerator.wait_for_everyone()
        checkpoint = restore_newest(training, out, run.say)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            write_card(out, run.card)  # first: a folder with all else but no card is refused
            for folder in (out, out / "state", out / "samples"):
                folder.mkdir(exist_ok=True)
                remove_leftovers(folder)
            if checkpoint is not None:
                set_aside_newer(out, training.step)
                publish(checkpoint, out)
            for name in (MetricsLog.name, *(callback.name for callback in called)):
                forget_after(out / f"{name}.jsonl", training.step)
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
        before, now = (card.network or "that of the recipe" for card in (old, new))
        raise PilotageError(f"network is {now}: the run in {out} has {before}.")
    problem = conflict(old.recipe, new.recipe)
    if problem:
        raise PilotageError(f"{problem} Give {out} its own setting, or train into another folder.")
    if old.data != new.data:
        raise PilotageError(
            f"data is {new.recipe.data}: its images, classes or captions are not those that the "
            f"run in {out} was trained on."
        )
    saved = out / CONDITIONS  # of captions, the data facts have a hash
    if saved.exists() and not (isinstance(run.space, CaptionSpace) or _holds(saved, run.space)):
        raise PilotageError(f"space is another than that of the run in {out}, or has changed.")


def _holds(folder: Path, space: Space) -> bool:
    """Whether a folder has just what the space would save."""
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


def _headline(run: Run, training: Training) -> str:
    data, recipe = run.card.data, run.card.recipe
    size = sum(p.numel() for p in training.network.parameters()) / 1e6
    where = f"from step {training.step}" if training.step else "from the start"
    what = f"{'points' if data.points else 'images'} of {shape_text(data.shape)}"
    classes = f" in {len(data.classes)} classes" if data.classes else ""
    return (
        f"{data.train} {what}{classes} ({data.held_out} held out); {size:.1f}M weights; "
        f"training {where} to step {recipe.steps} into {run.out}"
    )


def _any_process(accelerator: Accelerator, flag: bool) -> bool:
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device)) > 0)
