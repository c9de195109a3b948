"""A trained network with its optimiser, and the exponential moving average of its weights."""

from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from pilotage.settings import TrainingRecipe

Tensors = list[Tensor] | tuple[Tensor, ...]


class Trainable(Protocol):
    """A denoiser, classifier, generator or discriminator around a network."""

    network: Any

    def around(self, network: Any) -> Any:
        """Return the same around another network, which may wrap this one's."""
        ...


class Learner:
    """A network with its optimiser.

    Attributes:
        name: of its weight file.
        network: the unwrapped network, the same on every process.
        model: a denoiser, classifier, generator or discriminator around it, or around its wrapper
            for several processes.
        plain: the same around the unwrapped network, for another learner's update.
        optimizer: its AdamW.
        learning_rate: the optimiser's, before warm-up and decay.
    """

    def __init__(
        self,
        name: str,
        model: Trainable,
        accelerator: Accelerator,
        recipe: TrainingRecipe,
        learning_rate: float,
    ) -> None:
        self.name = name
        self.network: nn.Module = model.network
        self.learning_rate = learning_rate
        optimizer = adamw(self.network.to(accelerator.device), recipe)
        wrapped, self.optimizer = accelerator.prepare(self.network, optimizer)
        self.model: Any = model.around(wrapped)
        self.plain: Any = model


def adamw(network: nn.Module, recipe: TrainingRecipe) -> torch.optim.AdamW:
    """Make the fused AdamW optimiser of a recipe.

    A learned schedule has no weight decay: its ends are not weights.
    """
    levels = [p for name, p in network.named_parameters() if name.startswith("schedule.")]
    weights = [p for name, p in network.named_parameters() if not name.startswith("schedule.")]
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": levels, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        groups[: 1 + bool(levels)],
        lr=recipe.learning_rate,
        betas=recipe.betas,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def average(model: nn.Module, decay: float) -> AveragedModel:
    """Make an EMA of a model; decay with warm-up: min(decay, (1 + n)/(10 + n)) after n updates.

    Without warm-up the random initial weights would linger: at a fixed 0.9999, their weight is
    still 37% after 10,000 steps. The count n is part of the checkpoint. The average is float32.
    """

    def update(averages: Tensors, weights: Tensors, count: Tensor | int) -> None:
        n = float(count)
        rate = 1 - min(decay, (1 + n) / (10 + n))
        torch._foreach_lerp_(list(averages), list(weights), rate)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=False)
