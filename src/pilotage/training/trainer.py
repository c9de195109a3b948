"""The training loop as a generator of step records (2207.12598, Algorithm 1)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from pilotage.diffusion import batching
from pilotage.errors import PilotageError
from pilotage.settings import TrainingRecipe
from pilotage.training.batches import Batches
from pilotage.training.learner import Learner
from pilotage.utils.seeding import derived_generator, derived_seed

NO_LIMITS: Mapping[str, float] = MappingProxyType({})


class Objective(Protocol):
    """An objective: random numbers for a whole batch, and terms per example."""

    def draw(self, count: int, shape: tuple[int, ...], generator: torch.Generator) -> Any:
        """Draw the random numbers of ``count`` examples; ``rows(slice)`` selects some."""
        ...

    def terms(self, model: Any, x: Tensor, cond: Any, draws: Any) -> dict[str, Tensor]:
        """Return terms per example (B,): "loss", whose mean is minimised, and others to log."""
        ...


class Turn(NamedTuple):
    """One optimiser update; a step has one per learner, the main learner's last.

    Attributes:
        learner: the updated learner.
        objective: its objective.
        limits: divergence thresholds: the largest magnitudes of means of terms.
    """

    learner: Learner
    objective: Objective
    limits: Mapping[str, float] = NO_LIMITS


class StepRecord(NamedTuple):
    """The record of one training step.

    Attributes:
        step: counted from 1.
        loss: the main learner's, averaged over the batch of all processes.
        grad_norm: of its gradient, before clipping.
        learning_rate: of this step.
        terms: means of all other terms; another learner's as "discriminator_loss" and so on.
    """

    step: int
    loss: float
    grad_norm: float
    learning_rate: float
    terms: dict[str, float]


class TrainingDivergedError(PilotageError, RuntimeError):
    """Raised when a loss or gradient is not finite, or a term is beyond its threshold."""

    exit_code: ClassVar[int] = 1


class Training:
    """All state that changes during training.

    Attributes:
        learners: all learners, the main one first, whose network is the run's model.
        ema: the exponential moving average of the main network.
        random_layers: whether networks draw random numbers, as dropout does.
        step: number of steps done.
        terms: the latest mean of every term.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        recipe: TrainingRecipe,
        learners: list[Learner],
        ema: AveragedModel,
        random_layers: bool,
    ) -> None:
        self.accelerator = accelerator
        self.recipe = recipe
        self.learners = learners
        self.ema = ema.to(accelerator.device)
        self.random_layers = random_layers
        self.step = 0
        self.terms: dict[str, float] = {}

    @property
    def main(self) -> Learner:
        """The learner of the run's model."""
        return self.learners[0]

    @property
    def network(self) -> nn.Module:
        """The main learner's unwrapped network."""
        return self.main.network


def train(training: Training, turns: Sequence[Turn], batches: Batches) -> Iterator[StepRecord]:
    """Train up to ``recipe.steps``, yielding the record of each step in a consistent state.

    Every process draws the random numbers of the whole batch and uses its own rows: any number of
    processes computes the same step.

    Raises:
        TrainingDivergedError: before an update with a NaN or infinite loss or gradient, or a term
            beyond its divergence threshold.
    """
    for learner in training.learners:
        learner.model.network.train()
    while training.step < training.recipe.steps:
        yield _one_step(training, turns, batches)


def _one_step(training: Training, turns: Sequence[Turn], batches: Batches) -> StepRecord:
    recipe, number = training.recipe, training.step + 1
    x, cond = batches.at(number)
    if training.random_layers:
        process = training.accelerator.process_index
        torch.manual_seed(derived_seed(recipe.seed, "dropout", number, process))
    terms: dict[str, float] = {}
    for turn in turns:
        means, norm = _update(training, turn, x, cond, batches.own_rows)
        own = {"loss": means.pop("loss"), "grad_norm": norm}
        terms |= means
        if turn.learner is not training.main:
            terms |= {f"{turn.learner.name}_{name}": value for name, value in own.items()}
    training.ema.update_parameters(training.network)
    training.step = number
    training.terms |= terms
    return StepRecord(number, own["loss"], norm, recipe.learning_rate_at(number), terms)


def _update(
    training: Training, turn: Turn, x: Tensor, cond: Any, own_rows: slice
) -> tuple[dict[str, float], float]:
    """Take one learner's optimiser step; return the terms' means and the gradient norm."""
    recipe, learner, number = training.recipe, turn.learner, training.step + 1
    whose = () if learner is training.main else (learner.name,)
    device = training.accelerator.device
    generator = derived_generator(recipe.seed, "step", number, *whose, device=device)
    draws = turn.objective.draw(recipe.batch_size, tuple(x.shape[1:]), generator).rows(own_rows)
    means = _backward(training, turn, x, cond, draws)
    parameters = learner.model.network.parameters()
    norm = float(training.accelerator.clip_grad_norm_(parameters, recipe.clip_norm))
    _check(number, turn, means, norm)
    for group in learner.optimizer.param_groups:
        group["lr"] = learner.learning_rate * recipe.rate_factor(number)
    learner.optimizer.step()
    learner.optimizer.zero_grad()
    return means, norm


def _check(number: int, turn: Turn, means: dict[str, float], norm: float) -> None:
    """Raise if the loss or gradient is not finite, or a term beyond its threshold."""
    who = "" if turn.learner.name == "model" else f" of the {turn.learner.name}"
    if not math.isfinite(means["loss"] + norm):
        raise TrainingDivergedError(
            f"training diverged at step {number}: the loss{who} is {means['loss']} and the "
            f"gradient's norm {norm}."
        )
    for name, limit in turn.limits.items():
        if not abs(means[name]) <= limit:
            raise TrainingDivergedError(
                f"training diverged at step {number}: the mean {name}{who} is {means[name]:.4g}, "
                f"beyond the limit {limit:g}."
            )


def _backward(training: Training, turn: Turn, x: Tensor, cond: Any, draws: Any) -> dict[str, float]:
    """Accumulate the gradient of the whole batch; return the terms' means."""
    parts, accelerator = training.recipe.accumulate, training.accelerator
    totals: dict[str, Tensor] = {}
    size = len(x) // parts
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        with accelerator.accumulate(turn.learner.model.network):
            terms = turn.objective.terms(
                turn.learner.model, x[part], batching.take(cond, part), draws.rows(part)
            )
            means = {name: term.mean() for name, term in terms.items()}
            accelerator.backward(means["loss"])
        for name, mean in means.items():
            totals[name] = totals.get(name, 0) + mean.detach() / parts
    summed = accelerator.reduce(torch.stack(list(totals.values())), "mean")
    return dict(zip(totals, summed.tolist(), strict=True))
