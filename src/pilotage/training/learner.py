"""A network that is trained, with its optimiser."""

from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from pilotage.settings import TrainingRecipe


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
        model: Any,
        accelerator: Accelerator,
        recipe: TrainingRecipe,
        learning_rate: float,
    ) -> None:
        self.name = name
        self.network: nn.Module = model.network
        self.learning_rate = learning_rate
        optimizer = adamw(self.network.to(accelerator.device), recipe)
        wrapped, self.optimizer = accelerator.prepare(self.network, optimizer)
        self.model, self.plain = model.around(wrapped), model


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
