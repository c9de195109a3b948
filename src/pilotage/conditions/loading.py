"""Loading of condition spaces."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from pilotage.conditions.bpe import ByteLevelBPE
from pilotage.conditions.frozen import FrozenText, frozen_text
from pilotage.conditions.labels import Labels
from pilotage.conditions.multi import Several
from pilotage.conditions.pixels import Images, KnownPixels
from pilotage.conditions.space import Space
from pilotage.conditions.stored import FILE, read_facts
from pilotage.conditions.tokens import TOKENIZER_FILE, Tokens
from pilotage.errors import PilotageError


def load_space(folder: str | PathLike[str]) -> Space:
    """Load the condition space that its ``save`` wrote into the folder.

    Raises:
        PilotageError: if a file is missing or altered, or the kind is unknown.
    """
    facts = read_facts(folder)
    make = MAKERS.get(facts["kind"])
    if make is None:
        raise PilotageError(
            f"{str(Path(folder, FILE))!r} has kind {facts['kind']!r}: it must be one of "
            f"{', '.join(MAKERS)}."
        )
    try:
        return make(facts, Path(folder))
    except KeyError as error:
        raise PilotageError(f"{str(Path(folder, FILE))!r} lacks {error}.") from None


def _labels(facts: dict[str, Any], folder: Path) -> Labels:
    return Labels(tuple(facts["classes"]))


def _tokens(facts: dict[str, Any], folder: Path) -> Tokens:
    path = folder / TOKENIZER_FILE
    tokenizer = ByteLevelBPE.load(path)
    if tokenizer.hash != facts["sha256"]:
        raise PilotageError(
            f"{str(path)!r} has the SHA-256 {tokenizer.hash}: it must be the file that was saved, "
            f"{facts['sha256']}."
        )
    return Tokens(tokenizer, facts["context"])


def _frozen_text(facts: dict[str, Any], folder: Path) -> FrozenText:
    space = frozen_text(facts["model"], facts["context"])
    if space.hash != facts["sha256"]:
        raise PilotageError(
            f"the text encoder {facts['model']!r} has the SHA-256 {space.hash}: it must be "
            f"the one that was saved, {facts['sha256']}."
        )
    return space


def _images(facts: dict[str, Any], folder: Path) -> Images:
    return Images(facts["shape"])


def _known_pixels(facts: dict[str, Any], folder: Path) -> KnownPixels:
    return KnownPixels(facts["shape"])


def _several(facts: dict[str, Any], folder: Path) -> Several:
    parts = {name: load_space(folder / name) for name in facts["parts"]}
    return Several(parts, facts["together"])


# by the "kind" that ``save`` wrote; register your own space here
MAKERS: dict[str, Callable[[dict[str, Any], Path], Space]] = {
    "labels": _labels,
    "tokens": _tokens,
    "frozen_text": _frozen_text,
    "images": _images,
    "known_pixels": _known_pixels,
    "several": _several,
}
