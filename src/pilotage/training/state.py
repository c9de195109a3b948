"""Checkpoints: all of a training on disk, and back to the bit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from pilotage.errors import PilotageError
from pilotage.models.run_folder import Card, checkpoints, read_card, state_folder
from pilotage.models.weights import fill, fill_from
from pilotage.training.learner import Learner, Trainable, average
from pilotage.training.tasks import task_of
from pilotage.training.trainer import Training
from pilotage.utils.files import (
    read_tensors,
    sync,
    whole_file,
    whole_folder,
    write_tensors,
    write_text,
)
from pilotage.utils.parsing import parse_json

KEPT_CHECKPOINTS = 2
DISCRIMINATOR = "discriminator.safetensors"


def start(
    card: Card, accelerator: Accelerator, fresh: bool = True, network: nn.Module | None = None
) -> Training:
    """A training at step 0; unless a checkpoint is to follow, with the weights of ``start_from``.

    Args:
        card: what is trained.
        accelerator: Accelerate's view of devices and processes.
        fresh: whether no checkpoint is to follow.
        network: in place of the recipe's, with its weights as they are.

    Raises:
        PilotageError: if the weights of ``start_from`` are not there or do not fit.
    """
    recipe, task = card.recipe, task_of(card)
    models = task.models(card, network)
    if recipe.start_from is not None and fresh:
        _start_from(Path(recipe.start_from), models, card)
    ema = average(models["model"].network, recipe.ema_decay)
    learners = [
        Learner(name, model, accelerator, recipe, task.learning_rate(recipe, name))
        for name, model in models.items()
    ]
    random_layers = network is not None or recipe.network.dropout > 0
    return Training(accelerator, recipe, learners, ema, random_layers)


def _start_from(source: Path, models: dict[str, Trainable], card: Card) -> None:
    """Put another run's averaged weights, and its discriminator's if it has one, into ours."""
    kept = _same_labels(card, read_card(source))
    fill_from(models["model"].network, source / "ema.safetensors", kept)
    if "discriminator" in models and (source / DISCRIMINATOR).exists():
        fill_from(models["discriminator"].network, source / DISCRIMINATOR, kept)


def _same_labels(card: Card, source: Card) -> dict[int, int]:
    """Labels of a card by their number in another: classes of one name, and the null."""
    mine, theirs = card.data.classes, source.data.classes
    kept = {k: theirs.index(name) for k, name in enumerate(mine) if name in theirs}
    if card.recipe.null_label and source.recipe.null_label:
        kept[len(mine)] = len(theirs)
    return kept


def restore_newest(training: Training, out: Path, say: Callable[[str], None]) -> Path | None:
    """Put the newest whole checkpoint of a run into a training; where it is, or None without any.

    Raises:
        PilotageError: if there are checkpoints, but none is whole.
    """
    found = [path for _, path in reversed(checkpoints(out))]
    for path in found:
        try:
            restore(training, path)
        except PilotageError as error:
            if path == found[-1]:
                raise
            say(f"{error} Going on from the checkpoint before it.")
        else:
            return path
    return None


def restore(training: Training, checkpoint: Path) -> None:
    """Put a checkpoint into a training.

    Raises:
        PilotageError: naming the file that is damaged.
    """
    try:
        state = parse_json((checkpoint / "state.json").read_bytes())
        step, updates = int(state["step"]), int(state["ema_updates"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PilotageError(f"{checkpoint / 'state.json'} is damaged ({error!r}).") from None
    fill(training.ema.module, checkpoint / "ema.safetensors")
    for learner in training.learners:
        fill(learner.network, checkpoint / f"{learner.name}.safetensors")
        _load_optimizer(learner, checkpoint / _optimizer_file(learner))
    training.ema.n_averaged.fill_(updates)
    training.step = step


def set_aside_newer(out: Path, step: int) -> None:
    """Rename the checkpoints after a step, which could not be read, to make room for new ones."""
    for newer, path in checkpoints(out):
        if newer > step:
            path.rename(path.with_name(f"damaged-{path.name}"))


def save(training: Training, out: Path) -> None:
    """One checkpoint: complete under its name, or not there; then the run's public weights."""
    if training.accelerator.is_main_process:
        checkpoint = state_folder(out, training.step)
        if not checkpoint.exists():
            for log in out.glob("*.jsonl"):
                sync(log)  # what it says of the steps so far lasts as long as the checkpoint
            with whole_folder(checkpoint) as folder:
                _write(training, folder)
        publish(checkpoint, out)
        for _, old in checkpoints(out)[:-KEPT_CHECKPOINTS]:
            shutil.rmtree(old)
    training.accelerator.wait_for_everyone()


def publish(checkpoint: Path, out: Path) -> None:
    """Copy a checkpoint's weights to where readers of the run look."""
    for name in ("model.safetensors", "ema.safetensors", DISCRIMINATOR):
        if (checkpoint / name).exists():
            with whole_file(out / name) as temporary:
                shutil.copyfile(checkpoint / name, temporary)


def _write(training: Training, folder: Path) -> None:
    step = str(training.step)
    write_tensors(folder / "ema.safetensors", training.ema.module.state_dict(), step=step)
    for learner in training.learners:
        weights = learner.network.state_dict()
        write_tensors(folder / f"{learner.name}.safetensors", weights, step=step)
        write_tensors(folder / _optimizer_file(learner), _optimizer_tensors(learner), step=step)
    state = {"step": training.step, "ema_updates": int(training.ema.n_averaged)}
    write_text(folder / "state.json", json.dumps(state))


def _optimizer_file(learner: Learner) -> str:
    of = "" if learner.name == "model" else f"{learner.name}-"
    return f"{of}optimizer.safetensors"


def _optimizer_tensors(learner: Learner) -> dict[str, torch.Tensor]:
    state = learner.optimizer.state_dict()["state"]
    return {f"{i}.{name}": value for i, slot in state.items() for name, value in slot.items()}


def _load_optimizer(learner: Learner, path: Path) -> None:
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in read_tensors(path).items():
        index, name = key.split(".", 1)
        slots.setdefault(int(index), {})[name] = value
    groups = learner.optimizer.state_dict()["param_groups"]
    learner.optimizer.load_state_dict({"state": slots, "param_groups": groups})
