"""Checkpoints: all state of a training on disk, restored bit for bit."""

import json
import shutil
from collections.abc import Callable
from operator import index
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from pilotage.errors import PilotageError
from pilotage.models.run_folder import (
    Card,
    checkpoints,
    fill,
    fill_from,
    not_finite,
    read_card,
    state_folder,
)
from pilotage.training.learner import Learner, Trainable, average
from pilotage.training.tasks import task_of
from pilotage.training.trainer import Training, TrainingDivergedError
from pilotage.utils.files import (
    content_hash,
    read_metadata,
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
    """Make a training at step 0, initialised from ``start_from`` if it is fresh.

    Args:
        card: the recipe and the facts of the data.
        accelerator: Accelerate's devices and processes.
        fresh: whether no checkpoint will be restored.
        network: replaces the recipe's, with its current weights.

    Raises:
        PilotageError: if the weights of ``start_from`` are missing or do not fit.
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
    """Load another run's averaged weights, and its discriminator's if it has one."""
    kept = _same_labels(card, read_card(source))
    fill_from(models["model"].network, source / "ema.safetensors", kept)
    if "discriminator" in models and (source / DISCRIMINATOR).exists():
        fill_from(models["discriminator"].network, source / DISCRIMINATOR, kept)


def _same_labels(card: Card, source: Card) -> dict[int, int]:
    """Map labels of a card to those of another: classes of the same name, and the null."""
    mine, theirs = card.data.classes, source.data.classes
    kept = {k: theirs.index(name) for k, name in enumerate(mine) if name in theirs}
    if card.recipe.null_label and source.recipe.null_label:
        kept[len(mine)] = len(theirs)
    return kept


def restore_newest(training: Training, out: Path, say: Callable[[str], None]) -> Path | None:
    """Restore the newest intact checkpoint of a run; return its path, or None without any.

    Raises:
        PilotageError: if there are checkpoints, but none is intact.
    """
    found = [path for _, path in reversed(checkpoints(out))]
    for path in found:
        try:
            restore(training, path)
        except PilotageError as error:
            if path == found[-1]:
                raise
            say(f"{error} Resuming from the checkpoint before it.")
        else:
            return path
    return None


def restore(training: Training, checkpoint: Path) -> None:
    """Restore a training from a checkpoint.

    Raises:
        PilotageError: if a file is damaged, which is named.
    """
    state = _read_state(checkpoint)
    for path in checkpoint.glob("*.safetensors"):
        if read_metadata(path).get("step") != str(state["step"]):
            raise PilotageError(f"{path} is damaged: it is not of step {state['step']}.")
    fill(training.ema.module, checkpoint / "ema.safetensors")
    for learner in training.learners:
        fill(learner.network, checkpoint / f"{learner.name}.safetensors")
        _load_optimizer(learner, checkpoint / _optimizer_file(learner))
    training.ema.n_averaged.fill_(state["ema_updates"])
    training.terms = state["terms"]
    training.step = state["step"]


def _read_state(checkpoint: Path) -> dict[str, Any]:
    """What ``state.json`` has, checked; that of earlier versions has no checksum."""
    path = checkpoint / "state.json"
    try:
        state = parse_json(path.read_bytes())
        checksum = state.pop("sha256", None)
        if checksum not in (None, content_hash({}, state)):
            raise ValueError("it no longer holds what was written")
        terms = {name: float(value) for name, value in state.get("terms", {}).items()}
        step, updates = index(state["step"]), index(state["ema_updates"])
        if state_folder(Path(), step).name != checkpoint.name or not 0 <= updates < 2**63:
            raise ValueError(f"it is of step {step} and {updates} updates of the average")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PilotageError(f"{path} is damaged ({error}).") from None
    return {"step": step, "ema_updates": updates, "terms": terms}


def set_aside_newer(out: Path, step: int) -> None:
    """Rename unreadable checkpoints after a step, so that new ones can be written."""
    for newer, path in checkpoints(out):
        if newer > step:
            path.rename(path.with_name(f"damaged-{path.name}"))


def save(training: Training, out: Path) -> None:
    """Write a checkpoint atomically, then publish its weights.

    Raises:
        TrainingDivergedError: if a weight is no longer finite; nothing is written.
    """
    _check_finite(training)
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


def _check_finite(training: Training) -> None:
    networks = {learner.name: learner.network for learner in training.learners}
    for name, network in {**networks, "ema": training.ema.module}.items():
        wrong = not_finite(network.state_dict())
        if wrong is not None:
            raise TrainingDivergedError(
                f"training diverged at step {training.step}: the weights {wrong} ({name}) are no "
                "longer finite; the checkpoint before it, if any, stands."
            )


def publish(checkpoint: Path, out: Path) -> None:
    """Copy a checkpoint's weights to the run folder."""
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
    state = {
        "step": training.step,
        "ema_updates": int(training.ema.n_averaged),
        "terms": training.terms,
    }
    text = json.dumps({**state, "sha256": content_hash({}, state)})
    write_text(folder / "state.json", text)


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
