"""A trained classifier of noisy images: load it, and guide by it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from pilotage.diffusion import NoisyClassifier
from pilotage.diffusion.guidance import LogProb
from pilotage.errors import PilotageError
from pilotage.models.build import ClassifierBuilder
from pilotage.models.run_folder import Card, fill, read_card, stored_step, weights_hash
from pilotage.utils.distributed import process_device


@dataclass(frozen=True)
class Classifier:
    """A classifier with what is needed to use it.

    Attributes:
        card: its recipe and data facts.
        network: in eval mode, on its device.
        step: optimiser steps that it was trained for.
        folder: where it is from.
        weights: which of the folder's weights.
    """

    card: Card
    network: nn.Module
    step: int
    folder: Path
    weights: Literal["ema", "model"] = "ema"

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names; logit k is of classes[k]."""
        return self.card.data.classes

    @property
    def classifier(self) -> NoisyClassifier:
        """The network as p(c | z, λ)."""
        return ClassifierBuilder().around(self.card, self.network)

    @property
    def log_prob(self) -> LogProb:
        """log p(c | z, λ), (z, λ, c) to (B,)."""
        return self.classifier.log_prob

    @property
    def hash(self) -> str:
        """SHA-256 of its weights."""
        return weights_hash(self.folder, self.weights)

    def check_fits(self, card: Card) -> None:
        """Whether it can guide the model of a card.

        Raises:
            PilotageError: naming what differs: classes, image size, or noise schedule.
        """
        own, other = self.card, card
        differ = {
            "classes": (own.data.classes, other.data.classes or own.data.classes),
            "image shape": (own.data.shape, other.data.shape),
            "noise levels": (own.recipe.noise_levels, other.recipe.noise_levels),
        }
        for name, (mine, wanted) in differ.items():
            if mine != wanted:
                raise PilotageError(
                    f"classifier is {self.folder}: its {name} {_text(mine)} are not the run's, "
                    f"{_text(wanted)}."
                )


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {setting}" for name, setting in value.items())
    text = ", ".join(str(part) for part in value) if isinstance(value, tuple) else str(value)
    return text if len(text) < 80 else f"{text[:77]}..."


def load_classifier(
    path: str | Path, *, weights: Literal["ema", "model"] = "ema", device: Any = None
) -> Classifier:
    """A classifier's run folder, ready to guide.

    Args:
        path: the run folder.
        weights: the averaged ("ema") or the latest ("model") ones.
        device: where it runs; a GPU if there is one.

    Raises:
        PilotageError: if the folder is missing, damaged, or holds no classifier.
    """
    folder = Path(path)
    card = read_card(folder, "classifier")
    if card.recipe.task != "classifier":
        raise PilotageError(f"classifier is {folder}: it holds a denoiser, not a classifier.")
    network = ClassifierBuilder().network(card)
    step = stored_step(folder, weights)
    fill(network, folder / f"{weights}.safetensors")
    network = network.eval().requires_grad_(False).to(device or process_device())
    return Classifier(card, network, step, folder, weights)
