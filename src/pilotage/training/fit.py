"""Training into a run folder: start or go on, log, checkpoint, show samples."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from pilotage.conditions import CaptionSpace
from pilotage.data import ImageData
from pilotage.errors import PilotageError
from pilotage.models.data import facts, load_recipe_data
from pilotage.models.run_folder import Card, checkpoints, read_card, write_card
from pilotage.settings import AdversarialRecipe, TextRecipe, TrainingRecipe, conflict
from pilotage.training.batches import Batches
from pilotage.training.builders import build_turns, make_watch
from pilotage.training.log import MetricsLog
from pilotage.training.state import publish, restore_newest, save, set_aside_newer, start
from pilotage.training.trainer import StepRecord, Training, train
from pilotage.training.vocabulary import CaptionRows, make_space, save_space
from pilotage.utils.distributed import process_state
from pilotage.utils.files import only_writer, remove_leftovers
from pilotage.utils.images import shape_text


def fit(
    recipe: TrainingRecipe,
    out: Path,
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
        say: receives one-line notes, on the main process.
        stop: asked after every step; if true on any process, the run is saved and ends.

    Raises:
        PilotageError: for bad input, before anything is written.
        TrainingDivergedError: see :func:`pilotage.training.trainer.train`.
    """
    accelerator = make_accelerator(recipe, out)
    say = say if accelerator.is_main_process else _silent
    with accelerator.main_process_first():  # the others then find the data in the cache
        data = load_recipe_data(recipe, say)
    space = make_space(recipe, data[0], out) if isinstance(recipe, TextRecipe) else None
    card = Card(recipe, facts(*data, space))
    _check_data(card)
    _check_folder(out, card)
    training = start(card, accelerator, fresh=not checkpoints(out))
    batches = _batches(recipe, data[0], accelerator, space)
    turns = build_turns(card, training, space)
    with _prepared_folder(out, training, card, say):
        if space is not None and accelerator.is_main_process:
            save_space(space, out)
        say(_headline(training, card, out))
        log = MetricsLog(out, training.step, recipe.log_every, accelerator)
        watch = make_watch(training, card, out, data, say, space)
        for record in train(training, turns, batches):
            stopped = _any_process(accelerator, stop())
            last = record.step == recipe.steps
            log.add(record)
            if stopped or last or record.step % recipe.checkpoint_every == 0:
                log.flush()
                save(training, out)
            if not stopped and (last or record.step % recipe.sample_every == 0):
                watch.look()
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


def _check_data(card: Card) -> None:
    """Refuse data that the recipe cannot learn from.

    Raises:
        PilotageError: saying why.
    """
    low, size = getattr(card.recipe, "low_res", None), card.data.shape[1:]
    if low and any(a >= b or b % a for a, b in zip(low, size, strict=True)):
        raise PilotageError(
            f"low_res is {low}: it must be smaller than the images' {size}, and divide it."
        )
    if card.recipe.flip and card.recipe.data == "shapes":
        raise PilotageError(
            "flip is True: captions of shapes say what is left and right, so it must be False."
        )
    if len(card.data.shape) == 1 and not isinstance(card.recipe, AdversarialRecipe):
        raise PilotageError(
            f"data is {card.recipe.data}: it has points, which only objective ddgan learns."
        )


def _silent(_: str) -> None:
    """What the processes beside the main one say."""


def _check_folder(out: Path, card: Card) -> None:
    """Refuse a folder that is something else, or a run of other settings or data.

    Raises:
        PilotageError: naming what differs.
    """
    if (out / "recipe.yaml").exists():
        _check_same(out, read_card(out), card)
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
def _prepared_folder(
    out: Path, training: Training, card: Card, say: Callable[[str], None]
) -> Iterator[None]:
    """The folder, written by us alone and without what a killed writer left; training restored."""
    accelerator = training.accelerator
    accelerator.wait_for_everyone()  # all have checked it
    with ExitStack() as held:
        if accelerator.is_main_process:
            out.mkdir(parents=True, exist_ok=True)
            held.enter_context(only_writer(out))
        accelerator.wait_for_everyone()
        checkpoint = restore_newest(training, out, say)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            write_card(out, card)  # first: a folder with anything else but no card is refused
            for folder in (out, out / "state", out / "samples"):
                folder.mkdir(exist_ok=True)
                remove_leftovers(folder)
            if checkpoint is not None:
                set_aside_newer(out, training.step)
                publish(checkpoint, out)
        accelerator.wait_for_everyone()
        if accelerator.log_with:
            accelerator.init_trackers("tensorboard")
        yield


def _check_same(out: Path, old: Card, new: Card) -> None:
    problem = conflict(old.recipe, new.recipe)
    if problem:
        raise PilotageError(f"{problem} Give {out} its own setting, or train into another folder.")
    if old.data != new.data:
        raise PilotageError(
            f"data is {new.recipe.data}: its images, classes or captions are not those that the "
            f"run in {out} was trained on."
        )


def _batches(
    recipe: TrainingRecipe, data: ImageData, accelerator: Accelerator, space: CaptionSpace | None
) -> Batches:
    return Batches(
        data,
        recipe.batch_size,
        recipe.seed,
        recipe.flip,
        accelerator.process_index,
        accelerator.num_processes,
        accelerator.device,
        space and CaptionRows(space, data.captions),
    )


def _headline(training: Training, card: Card, out: Path) -> str:
    data, recipe = card.data, card.recipe
    size = sum(p.numel() for p in training.network.parameters()) / 1e6
    where = f"from step {training.step}" if training.step else "from the start"
    return (
        f"{data.train} {'points' if len(data.shape) == 1 else 'images'} of "
        f"{shape_text(data.shape)} in {len(data.classes)} classes "
        f"({data.held_out} held out); {size:.1f}M weights; training {where} to step {recipe.steps} "
        f"into {out}"
    )


def _any_process(accelerator: Accelerator, flag: bool) -> bool:
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device)) > 0)
