"""Captions as conditions, as features of a frozen text encoder."""

import hashlib
import tempfile
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool
from safetensors.torch import load_file, save_file
from torch import Tensor

from pilotage.conditions.stored import write_facts
from pilotage.conditions.tokens import checked_captions, warn_of_cuts
from pilotage.conditions.transformers_text import load_encoder
from pilotage.diffusion import batching
from pilotage.networks.plan import positive_int
from pilotage.networks.text_cond import TextCond
from pilotage.utils.files import usable_folder, usual_folder


@runtime_checkable
class Encoder(Protocol):
    """A frozen text encoder.

    Attributes:
        name: the hub id or folder that it comes from.
        hash: of everything its features depend on.
        width: feature width D.
        context: maximal number of tokens L of a caption.
    """

    name: str
    hash: str
    width: int
    context: int

    def lengths(self, captions: Sequence[str]) -> list[int]:
        """Return the untruncated number of tokens of each caption."""
        ...

    def __call__(self, captions: Sequence[str]) -> Iterable[Tensor]:
        """Yield the features (n, D) of each caption's tokens, truncated to L, in order."""
        ...


class FrozenText:
    """Captions as features of a frozen encoder; the null is the empty caption, without tokens.

    A batch is a :class:`~pilotage.networks.text_cond.TextCond` without images, whose ``tokens`` are
    features (B, L, D), zero where padded. The empty caption is all padding. Every other one is
    encoded once and cached on disk.

    Args:
        encoder: a text encoder, as :func:`frozen_text` loads it.
        cache: folder of the features; None is ``~/.cache/pilotage/text``.
    """

    def __init__(self, encoder: Encoder, cache: str | PathLike[str] | None = None):
        self.encoder = encoder
        self._cache = usual_folder("text") if cache is None else usable_folder(Path(cache))

    @property
    def hash(self) -> str:
        """SHA-256 of the encoder."""
        return self.encoder.hash

    @property
    def size(self) -> int:
        """Width of the features, D."""
        return self.encoder.width

    @property
    def null(self) -> TextCond:
        """The empty caption, a batch of one."""
        return self.collate([""])

    def values(self, given: Any) -> list[str]:
        """Return a list of captions from one or several; None is the empty caption.

        Raises:
            PilotageError: if there are none, or one is not text.
        """
        return checked_captions(given)

    def collate(self, captions: Sequence[str | None]) -> TextCond:
        """Collate captions to a batch; None is the empty caption.

        Captions of more than L tokens are truncated, with a warning.
        """
        texts, context = [caption or "" for caption in captions], self.encoder.context
        files = {text: self._file(text) for text in texts if text.strip()}
        self._encode({text: file for text, file in files.items() if not file.exists()})
        lengths = self._lengths(list(files))
        warn_of_cuts(texts, [lengths.get(text, 0) for text in texts], context)
        features = torch.zeros(len(texts), context, self.encoder.width)
        mask = torch.zeros(len(texts), context, dtype=torch.bool)
        for k, text in enumerate(texts):
            if text in files:
                found = load_file(files[text])["sequence"]
                features[k, : len(found)], mask[k, : len(found)] = found, True
        return TextCond(features, mask)

    def drop(self, batch: TextCond, dropped: Bool[Tensor, " B"]) -> TextCond:
        """Replace captions by the empty one where ``dropped``; images stay."""
        found: TextCond = batching.where(dropped, batching.expanded(self.null, batch), batch)
        return found

    def save(self, folder: str | PathLike[str]) -> None:
        """Write the encoder's name, hash and context for ``load_space``, but not its weights."""
        e = self.encoder
        facts = {"kind": "frozen_text", "model": e.name, "context": e.context, "sha256": e.hash}
        write_facts(folder, facts)

    def _encode(self, files: dict[str, Path]) -> None:
        """Encode captions and cache their features."""
        if files:
            for file, features in zip(files.values(), self.encoder(list(files)), strict=True):
                _write_whole(file, features.float().cpu().contiguous())

    def _lengths(self, texts: list[str]) -> dict[str, int]:
        """Return the untruncated number of tokens of each text."""
        return dict(zip(texts, self.encoder.lengths(texts), strict=True)) if texts else {}

    def _file(self, text: str) -> Path:
        key = f"{self.encoder.hash}/{self.encoder.context}/{text}"
        name = hashlib.sha256(key.encode()).hexdigest()
        return self._cache / name[:2] / f"{name}.safetensors"


def _write_whole(path: Path, features: Tensor) -> None:
    """Write a file atomically, also with concurrent writers."""
    path.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        save_file({"sequence": features}, Path(folder, path.name))
        Path(folder, path.name).replace(path)


def frozen_text(
    name_or_path: str | PathLike[str],
    context: int = 77,
    device: torch.device | str = "cpu",
    cache: str | PathLike[str] | None = None,
) -> FrozenText:
    """Load a text encoder of transformers, from safetensors only: CLIP, T5, BERT and the like.

    From a model with a decoder or an image encoder, the text encoder is used.

    Args:
        name_or_path: a hub id or a folder.
        context: maximal number of tokens L of a caption, special tokens included.
        device: where to run; the model is moved there for each call only.
        cache: as for :class:`FrozenText`.

    Raises:
        PilotageError: if transformers is not installed, the model cannot be loaded, or context is
            below 1 or above the model's.
    """
    positive_int("context", context)
    return FrozenText(load_encoder(name_or_path, context, device), cache)
