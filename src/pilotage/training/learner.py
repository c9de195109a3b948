"""A network that is trained, with its optimiser, and the average of its weights."""

from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from pilotage.settings import TrainingRecipe

Tensors = list[Tensor] | tuple[Tensor, ...]


class Trainable(Protocol):
    """A denoiser, classifier, generator or discriminator: what a network's output means."""

    network: Any

    def around(self, network: Any) -> Any:
        """The same for another network, which may wrap this one's."""
        ...


class Learner:
    """A network with what trains it.

    Attributes:
        name: of its weight file.
        network: the bare network, on every process alike.
        model: a denoiser, classifier, generator or discriminator around it, or around what wraps it
            for several processes.
        plain: the same around the bare network, for another learner's turn.
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
    """The optimiser of a recipe, with all parameters updated in one fused call.

    A schedule that is learned with the network does not decay: its ends are not weights.
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
    """torch's averaged copy of a model, with decay min(decay, (1 + n)/(10 + n)) after n updates.

    The warm-up keeps the random initial weights from lingering: with a fixed 0.9999, 37% of them
    would still be there after 10,000 steps. The count n is part of the state, so it survives a
    resume. The average is kept in float32.
    """

    def update(averages: Tensors, weights: Tensors, count: Tensor | int) -> None:
        n = float(count)
        rate = 1 - min(decay, (1 + n) / (10 + n))
        torch._foreach_lerp_(list(averages), list(weights), rate)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=False)
