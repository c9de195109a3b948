"""GLIDE's tokens: the byte-level BPE of GPT-2, on the text in lower case."""

import gzip
import json
import zlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pilotage.errors import PilotageError
from pilotage.networks.checks import positive_int
from pilotage.networks.text_cond import TextCond

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END_OF_TEXT = "<|endoftext|>"


class GlideTokenizer:
    """Captions to tokens, as GLIDE (2112.10741) was trained with.

    There is no token at the start or the end. A caption keeps its first ``context`` tokens; the
    rest is padded with the id of the end of text, and the mask is False there. The empty caption is
    all padding.

    Args:
        vocabulary: the file of ids, ``encoder.json`` or ``encoder.json.gz``.
        merges: the file of merges, ``vocab.bpe`` or ``vocab.bpe.gz``.
        context: number of tokens of a padded caption.

    Attributes:
        size: number of ids.
        end: the id that pads.

    Raises:
        PilotageError: if a file cannot be read or does not hold that, or context is below 1.
    """

    def __init__(
        self, vocabulary: str | PathLike[str], merges: str | PathLike[str], context: int = 128
    ):
        self.context = positive_int("context", context)
        ids = _read_ids(Path(vocabulary))
        self.end = ids.get(END_OF_TEXT, len(ids))
        self.size = max(len(ids), self.end + 1)
        self._bpe = _bpe(ids, _read_merges(Path(merges)))

    def ids(self, caption: str) -> list[int]:
        """All tokens of a caption, however many.

        Raises:
            PilotageError: if it is not text that UTF-8 can hold.
        """
        try:
            caption.encode()
        except UnicodeEncodeError:
            raise PilotageError(
                f"caption is {caption!r}: it must be text, without halves of surrogate pairs."
            ) from None
        return self._bpe.encode(caption.lower()).ids

    def __call__(self, captions: Sequence[str]) -> TextCond:
        """Tokens (B, context) int64 and mask (B, context) bool of B captions.

        Raises:
            PilotageError: if captions is one string, or a caption is not text.
        """
        if isinstance(captions, str):
            raise PilotageError(f"captions is {captions!r}: it must be a list of captions.")
        rows = [self.ids(caption)[: self.context] for caption in captions]
        tokens = torch.full((len(rows), self.context), self.end)
        mask = torch.zeros(tokens.shape, dtype=torch.bool)
        for index, row in enumerate(rows):
            tokens[index, : len(row)] = torch.tensor(row, dtype=torch.int64)
            mask[index, : len(row)] = True
        return TextCond(tokens, mask)


def _bpe(ids: dict[str, int], merges: list[tuple[str, str]]) -> "Tokenizer":
    """The merges of GPT-2 after its division into words, bytes standing for themselves."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel

    try:
        model = BPE(ids, merges)
    except Exception as error:  # the library raises nothing more precise
        raise PilotageError(f"merges must be those of the vocabulary ({error}).") from None
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=True)
    return tokenizer


def _read_ids(path: Path) -> dict[str, int]:
    try:
        ids = json.loads(_read("vocabulary", path))
    except json.JSONDecodeError as error:
        raise PilotageError(f"vocabulary is {str(path)!r}: it must be JSON ({error}).") from None
    if not isinstance(ids, dict) or not all(isinstance(number, int) for number in ids.values()):
        raise PilotageError(f"vocabulary is {str(path)!r}: it must hold tokens and their ids.")
    return ids


def _read_merges(path: Path) -> list[tuple[str, str]]:
    """One merge per line; the first line may be the version."""
    lines = _read("merges", path).split("\n")
    if lines[0].startswith("#version"):
        lines = lines[1:]
    merges = [tuple(line.split()) for line in lines if line.strip()]
    if not merges or any(len(merge) != 2 for merge in merges):
        raise PilotageError(f"merges is {str(path)!r}: it must hold two tokens on every line.")
    return merges


def _read(name: str, path: Path) -> str:
    """The text of a file, which may be compressed, whatever its name ends in."""
    if not path.is_file():
        raise PilotageError(f"{name} is {str(path)!r}: there is no such file.")
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return data.decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise PilotageError(
            f"{name} is {str(path)!r}: it must be UTF-8 text, as it is or gzipped ({error})."
        ) from None
