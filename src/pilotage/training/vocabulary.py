"""The captions of a run as tokens, or as features."""

from pathlib import Path

import numpy as np
import torch

from pilotage.conditions import ByteLevelBPE, CaptionSpace, Tokens, frozen_text, load_space
from pilotage.data import ImageData
from pilotage.diffusion import batching
from pilotage.errors import PilotageError
from pilotage.models.builders import builder_of
from pilotage.models.run_folder import CONDITIONS, read_card
from pilotage.networks.text_cond import TextCond
from pilotage.settings import TextRecipe
from pilotage.utils.distributed import process_device
from pilotage.utils.files import whole_folder


def make_space(recipe: TextRecipe, data: ImageData, out: Path) -> CaptionSpace:
    """The captions' condition space.

    It is the run's own, else that of the run whose weights it starts from, else that of the
    encoder, the file or the captions given.

    Raises:
        PilotageError: if the tokenizer or encoder cannot be read or is not that of the weights, or
            the captions do not make a tokenizer.
    """
    if (out / CONDITIONS).exists():
        return load_space(out / CONDITIONS)
    if recipe.start_from is not None:
        return _space_of(Path(recipe.start_from), recipe)
    if recipe.encoder is not None:
        return frozen_text(recipe.encoder, recipe.context, process_device())
    if recipe.tokenizer == "bpe":
        if recipe.vocabulary <= 256:
            raise PilotageError(
                f"vocabulary is {recipe.vocabulary}: it must be at least 257, all bytes and the "
                "end of a text."
            )
        return Tokens(ByteLevelBPE.train(data.captions, recipe.vocabulary, recipe.context))
    if not Path(recipe.tokenizer).is_file():
        raise PilotageError(
            f"tokenizer is {recipe.tokenizer!r}: it must be bpe, or a tokenizer.json that exists."
        )
    return Tokens(ByteLevelBPE.load(recipe.tokenizer, recipe.context))


def _space_of(source: Path, recipe: TextRecipe) -> CaptionSpace:
    """The space that another run's weights were trained with."""
    card = read_card(source)
    if not isinstance(card.recipe, TextRecipe):
        raise PilotageError(f"start_from is {source}: it was not trained on captions.")
    for name in ("tokenizer", "encoder", "context"):
        asked, known = getattr(recipe, name), getattr(card.recipe, name)
        if asked != known:
            raise PilotageError(
                f"{name} is {asked!r}: it must be {known!r}, that of {source}, whose weights "
                "training starts from."
            )
    return builder_of(card).space(card, source)


def save_space(space: CaptionSpace, out: Path) -> None:
    """Put it into the run folder, if it is not there."""
    if not (out / CONDITIONS).exists():
        with whole_folder(out / CONDITIONS) as folder:
            space.save(folder)


class CaptionRows:
    """All captions of a data set, in tokens or features.

    Every distinct caption is held in memory once: L tokens of 8 bytes, or with an encoder L·D
    numbers of 4 bytes. With L = 64 and D = 768 that is 0.2 MB, 10 GB for 50,000 captions.

    Args:
        space: that tells them.
        captions: one per image.
    """

    def __init__(self, space: CaptionSpace, captions: tuple[str, ...]) -> None:
        distinct, self._places = np.unique(np.array(captions, dtype=object), return_inverse=True)
        self._told = space.collate(distinct.tolist())

    def __call__(self, indices: np.ndarray) -> TextCond:
        """Those of some images."""
        return batching.take(self._told, torch.from_numpy(self._places[indices]))
