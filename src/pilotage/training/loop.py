"""The training loop as a generator of step records (2207.12598, Algorithm 1)."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from pilotage.model import Model
from pilotage.seeding import derived_generator, derived_seed
from pilotage.settings import TrainingRecipe
from pilotage.training.batches import Batches


class Objective(Protocol):
    """What is minimised: random numbers for a whole batch, and terms per example."""

    def draw(self, count: int, shape: tuple[int, ...], generator: torch.Generator) -> Any:
        """The random numbers of ``count`` examples; ``rows(slice)`` gives some of them."""
        ...

    def terms(self, model: Any, x: Tensor, labels: Tensor, draws: Any) -> dict[str, Tensor]:
        """Terms per example (B,): "loss", whose mean is minimised, and others to be logged."""
        ...


class StepRecord(NamedTuple):
    """What one optimiser step did.

    Attributes:
        step: counted from 1.
        loss: mean over the whole batch, of all processes.
        grad_norm: of the whole gradient, before clipping.
        learning_rate: that was used.
        terms: means of the objective's other terms.
    """

    step: int
    loss: float
    grad_norm: float
    learning_rate: float
    terms: dict[str, float]


class TrainingDivergedError(RuntimeError):
    """The loss or the gradient is no longer a finite number; the weights are still those before."""


class Training:
    """All that changes while a run trains.

    Attributes:
        model: the network being trained, as a denoiser or a classifier.
        network: the bare network behind it, on every process alike.
        optimizer: its AdamW.
        ema: its average.
        step: optimiser steps done.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        recipe: TrainingRecipe,
        model: Model,
        ema: AveragedModel,
        step: int = 0,
    ) -> None:
        self.accelerator = accelerator
        self.recipe = recipe
        self.network: nn.Module = model.network
        self.ema = ema.to(accelerator.device)
        self.step = step
        optimizer = adamw(self.network.to(accelerator.device), recipe)
        wrapped, self.optimizer = accelerator.prepare(self.network, optimizer)
        self.model = model.around(wrapped)


def adamw(network: nn.Module, recipe: TrainingRecipe) -> torch.optim.AdamW:
    """The optimiser of a recipe, with all parameters updated in one fused call.

    A schedule that is learned with the network does not decay: its ends are not weights.
    """
    levels = [p for name, p in network.named_parameters() if name.startswith("schedule.")]
    weights = [p for name, p in network.named_parameters() if not name.startswith("schedule.")]
    groups = [{"params": weights}, {"params": levels, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        groups[: 1 + bool(levels)],
        lr=recipe.learning_rate,
        betas=recipe.betas,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def train(training: Training, objective: Objective, batches: Batches) -> Iterator[StepRecord]:
    """Train up to ``recipe.steps``; after each optimiser step, when all is consistent, yield.

    The random numbers of a step are drawn for the whole batch on every process, each of which then
    uses its own rows: any number of processes computes the same step.

    Raises:
        TrainingDivergedError: before a step whose loss or gradient is NaN or infinite is taken.
    """
    training.model.network.train()
    while training.step < training.recipe.steps:
        yield _one_step(training, objective, batches)


def _one_step(training: Training, objective: Objective, batches: Batches) -> StepRecord:
    recipe, accelerator, number = training.recipe, training.accelerator, training.step + 1
    x, labels = batches.at(number)
    generator = derived_generator(recipe.seed, "step", number, device=accelerator.device)
    draws = objective.draw(recipe.batch_size, tuple(x.shape[1:]), generator)
    draws = draws.rows(batches.own_rows)
    if recipe.network.dropout:
        torch.manual_seed(derived_seed(recipe.seed, "dropout", number, accelerator.process_index))

    means = _backward(training, objective, x, labels, draws)
    mean_loss = means.pop("loss")
    norm = float(accelerator.clip_grad_norm_(training.model.network.parameters(), recipe.clip_norm))
    if not math.isfinite(mean_loss + norm):
        raise TrainingDivergedError(
            f"training diverged at step {number}: the loss is {mean_loss} and the gradient's norm "
            f"{norm}."
        )

    rate = recipe.learning_rate_at(number)
    for group in training.optimizer.param_groups:
        group["lr"] = rate
    training.optimizer.step()
    training.optimizer.zero_grad()
    training.ema.update_parameters(training.network)
    training.step = number
    return StepRecord(number, mean_loss, norm, rate, means)


def _backward(
    training: Training, objective: Objective, x: Tensor, labels: Tensor, draws: Any
) -> dict[str, float]:
    """Leave the gradient of the whole batch in the weights, part by part; the terms' means."""
    parts, accelerator = training.recipe.accumulate, training.accelerator
    totals: dict[str, Tensor] = {}
    size = len(x) // parts
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        with accelerator.accumulate(training.model.network):
            terms = objective.terms(training.model, x[part], labels[part], draws.rows(part))
            means = {name: term.mean() for name, term in terms.items()}
            accelerator.backward(means["loss"])
        for name, mean in means.items():
            totals[name] = totals.get(name, 0) + mean.detach() / parts
    summed = accelerator.reduce(torch.stack(list(totals.values())), "mean")
    return dict(zip(totals, summed.tolist(), strict=True))
