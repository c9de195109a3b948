"""Captions as conditions, as tokens."""

import warnings
from collections.abc import Sequence
from os import PathLike
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool
from torch import Tensor

from pilotage.conditions.stored import write_facts
from pilotage.diffusion import batching
from pilotage.errors import PilotageError
from pilotage.networks.plan import positive_int
from pilotage.networks.text_cond import TextCond

TOKENIZER_FILE = "tokenizer.json"


@runtime_checkable
class Tokenizer(Protocol):
    """A tokenizer of captions.

    Attributes:
        size: number of ids; all lie in 0..size−1.
        end: the id that pads.
        context: number of tokens of a padded caption.
    """

    size: int
    end: int
    context: int

    def ids(self, caption: str) -> list[int]:
        """Return all tokens of a caption, untruncated; the empty caption has none."""
        ...


class Tokens:
    """Captions as tokens; the null is the empty caption: all padding, and its mask False.

    A batch is a :class:`~pilotage.networks.text_cond.TextCond` without images.

    Args:
        tokenizer: e.g. a :class:`~pilotage.conditions.bpe.ByteLevelBPE` of the run's captions.
        context: number of tokens L of a padded caption; None is the tokenizer's.

    Raises:
        PilotageError: if context is below 1.
    """

    def __init__(self, tokenizer: Tokenizer, context: int | None = None):
        self.tokenizer = tokenizer
        self.context = positive_int("context", tokenizer.context if context is None else context)

    @property
    def hash(self) -> str:
        """SHA-256 of the tokenizer."""
        found: str = getattr(self.tokenizer, "hash", "")
        return found

    @property
    def size(self) -> int:
        """Number of token ids."""
        return self.tokenizer.size

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

        Captions of more than ``context`` tokens are truncated, with a warning.

        Raises:
            PilotageError: if the tokenizer refuses a caption.
        """
        texts = [caption or "" for caption in captions]
        found = [self.tokenizer.ids(text) for text in texts]
        warn_of_cuts(texts, [len(ids) for ids in found], self.context)
        tokens = torch.full((len(found), self.context), self.tokenizer.end, dtype=torch.int64)
        for row, ids in zip(tokens, found, strict=True):
            kept = ids[: self.context]
            row[: len(kept)] = torch.tensor(kept, dtype=torch.int64)
        lengths = torch.tensor([len(ids) for ids in found], dtype=torch.int64)
        return TextCond(tokens, torch.arange(self.context) < lengths[:, None])

    def drop(self, batch: TextCond, dropped: Bool[Tensor, " B"]) -> TextCond:
        """Replace captions by the empty one where ``dropped``; images stay."""
        found: TextCond = batching.where(dropped, batching.expanded(self.null, batch), batch)
        return found

    def save(self, folder: str | PathLike[str]) -> None:
        """Write the tokenizer, its hash and the context for ``load_space``.

        Raises:
            PilotageError: if the tokenizer cannot be saved.
        """
        if not hasattr(self.tokenizer, "save"):
            raise PilotageError(
                f"tokenizer is a {type(self.tokenizer).__name__}, which cannot be saved: it must "
                "be a ByteLevelBPE."
            )
        facts = {"kind": "tokens", "context": self.context, "sha256": self.hash}
        folder = write_facts(folder, facts)
        self.tokenizer.save(folder / TOKENIZER_FILE)


def checked_captions(given: Any) -> list[str]:
    """Return a checked list of captions from one or several; None is the empty caption.

    Raises:
        PilotageError: if there are none, or one is not text.
    """
    given = "" if given is None else given
    captions = [given] if isinstance(given, str) else list(given)
    if not captions:
        raise PilotageError("captions is empty: it must have at least one; '' is the null.")
    for caption in captions:
        if not isinstance(caption, str) or any("\ud800" <= c <= "\udfff" for c in caption):
            raise PilotageError(
                f"captions has {caption!r}: each must be text, without lone surrogates."
            )
    return captions


def warn_of_cuts(captions: Sequence[str], lengths: Sequence[int], context: int) -> None:
    """Warn once of all captions that are longer than ``context`` tokens, if there are any."""
    cut = [pair for pair in zip(captions, lengths, strict=True) if pair[1] > context]
    if cut:
        (caption, length), are = cut[0], "is" if len(cut) == 1 else "are"
        warnings.warn(
            f"{len(cut)} of {len(captions)} captions {are} longer than {context} tokens and {are} "
            f"truncated, such as {caption[:40] + '…'!r} with {length}.",
            stacklevel=3,
        )
