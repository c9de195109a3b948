"""A run folder as a model that is ready to sample."""

from pathlib import Path
from typing import Literal

from pilotage.conditions import CaptionSpace, load_space
from pilotage.errors import PilotageError
from pilotage.models.build import build_model
from pilotage.models.model import Run
from pilotage.models.run_folder import CONDITIONS, Card, read_card
from pilotage.models.text_run import TextRun
from pilotage.models.weights import fill, stored_step
from pilotage.settings import ClassifierRecipe, TextRecipe
from pilotage.utils.distributed import process_device


def load_run(
    path: str | Path, *, weights: Literal["ema", "model"] = "ema", device: str | None = None
) -> Run:
    """A run folder's model, ready to sample.

    Args:
        path: the run folder.
        weights: the averaged ("ema") or the latest ("model") ones.
        device: where it runs; a GPU if there is one.

    Raises:
        PilotageError: if the folder, its card or either weight file is missing or damaged, or if it
            holds a classifier.
    """
    folder = Path(path)
    card = read_card(folder)
    if isinstance(card.recipe, ClassifierRecipe):
        raise PilotageError(
            f"run is {folder}: it holds a classifier, which guides a denoiser's run "
            "(--classifier) but makes no images itself."
        )
    network = build_model(card).network
    step = stored_step(folder, weights)
    fill(network, folder / f"{weights}.safetensors")
    network = network.eval().requires_grad_(False).to(device or process_device())
    if isinstance(card.recipe, TextRecipe):
        return TextRun(card, network, step, captions_space(folder, card))
    return Run(card, network, step)


def captions_space(folder: Path, card: Card) -> CaptionSpace:
    """The condition space that the run was trained with.

    Raises:
        PilotageError: if it is not there, or another.
    """
    space = load_space(folder / CONDITIONS)
    if space.hash != card.data.tokenizer:
        what = "tokenizer" if card.recipe.encoder is None else "text encoder"
        raise PilotageError(
            f"{folder / CONDITIONS} has a {what} of SHA-256 {space.hash[:12]}…: it does not belong "
            f"to the run, whose {what} is {card.data.tokenizer[:12]}…."
        )
    return space
