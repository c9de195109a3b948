"""Byte-level BPE: trained on a run's captions, or loaded from a file of the tokenizers library."""

import hashlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from pilotage.errors import PilotageError
from pilotage.networks.plan import positive_int

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END = "<|endoftext|>"
_PADS = ("<pad>", "[PAD]", "<|pad|>", "<|padding|>")
_ENDS = (END, "<|end|>", "</s>", "<eos>", "[EOS]")
_BYTES = 256


class ByteLevelBPE:
    """Byte-level BPE tokenizer of captions (1508.07909): no text is out of vocabulary.

    Made by :meth:`train` or :meth:`load`. Its file holds everything: normalisation (NFC, lower
    case, stripped), merges, ids, padding and context.

    Attributes:
        size: number of ids.
        end: the id that pads.
        context: number of tokens of a padded caption.
        hash: SHA-256 of the file that :meth:`save` writes.
    """

    def __init__(self, text: str):
        """Read a tokenizer from a file's text, padding and context included."""
        self._text = text
        self._bpe = _parsed(text)
        padding, truncation = self._bpe.padding or {}, self._bpe.truncation or {}
        self.end: int = padding["pad_id"]
        self.context: int = truncation["max_length"]
        self.size = max(self._bpe.get_vocab().values()) + 1
        self.hash = hashlib.sha256(text.encode()).hexdigest()
        self._bpe.no_padding()
        self._bpe.no_truncation()
        self._bpe.encode_special_tokens = True  # a caption that spells the end token is text

    @classmethod
    def train(
        cls, captions: Sequence[str], size: int = 1024, context: int = 64, lower: bool = True
    ) -> "ByteLevelBPE":
        """Train a tokenizer on captions; their order does not matter.

        Args:
            captions: the training texts.
            size: vocabulary limit; less is used when no pair of tokens occurs twice any more. The
                last id is the end of text, which pads.
            context: number of tokens of a padded caption.
            lower: convert to lower case.

        Raises:
            PilotageError: if there are no captions, one is not text, size is below 257 or context
                below 1.
        """
        positive_int("context", context)
        if positive_int("size", size) <= _BYTES:
            raise PilotageError(
                f"size is {size}: it must be at least 257, for all bytes and the end of text."
            )
        texts = sorted(_text(caption) for caption in captions)
        if not any(text.strip() for text in texts):
            raise PilotageError("captions is empty: it must have text to train a tokenizer on.")
        return cls(_padded(_trained(texts, size - 1, lower), context))

    @classmethod
    def load(cls, file: str | PathLike[str], context: int | None = None) -> "ByteLevelBPE":
        """Load a ``tokenizer.json``, of this or another kind.

        It pads with its padding token, else with its end of text, else with an added token.
        Special tokens that the file would put around a text are left out.

        Args:
            file: written by :meth:`save` or the tokenizers library.
            context: number of tokens of a padded caption; None takes the file's.

        Raises:
            PilotageError: if the file cannot be read or holds no tokenizer, context is below 1, or
                neither gives one.
        """
        path = Path(file)
        try:
            text = path.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise PilotageError(
                f"tokenizer is {str(path)!r}: it cannot be read ({error})."
            ) from None
        bpe = _parsed(text, str(path))
        stored = (bpe.truncation or {}).get("max_length") or (bpe.padding or {}).get("length")
        if context is None and stored is None:
            raise PilotageError(
                f"context is None: it must be given, as {str(path)!r} has no maximal length."
            )
        length = positive_int("context", stored if context is None else context)
        return cls(text if _has_padding(bpe, length) else _padded(bpe, length))

    def save(self, file: str | PathLike[str]) -> None:
        """Write the file, a ``tokenizer.json`` of the tokenizers library."""
        Path(file).write_bytes(self._text.encode())

    def ids(self, caption: str) -> list[int]:
        """Return all tokens of a caption, untruncated; the empty caption has none.

        Raises:
            PilotageError: if it is not text that UTF-8 can encode.
        """
        return self._bpe.encode(_text(caption), add_special_tokens=False).ids


def _trained(captions: Sequence[str], size: int, lower: bool) -> "Tokenizer":
    """Train with GPT-2's pre-tokenizer, and merges of pairs that occur at least twice."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    steps = [normalizers.NFC(), *([normalizers.Lowercase()] if lower else []), normalizers.Strip()]
    bpe.normalizer = normalizers.Sequence(steps)
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(captions, trainer)
    return bpe


def _has_padding(bpe: "Tokenizer", context: int) -> bool:
    """Whether the file already pads and truncates to this context."""
    padding, truncation = bpe.padding, bpe.truncation
    return bool(
        padding
        and truncation
        and truncation["max_length"] == context
        and bpe.token_to_id(padding["pad_token"]) == padding["pad_id"]
    )


def _padded(bpe: "Tokenizer", context: int) -> str:
    """Return the file's text with padding and truncation to the context."""
    token = bpe.padding["pad_token"] if bpe.padding else None
    known = bpe.get_vocab()
    token = next((t for t in (token, *_PADS, *_ENDS) if t in known), END)
    if token not in known:
        bpe.add_special_tokens([token])
    bpe.enable_padding(pad_id=bpe.token_to_id(token), pad_token=token, length=context)
    bpe.enable_truncation(context)
    return bpe.to_str(pretty=True)


def _parsed(text: str, name: str = "tokenizer") -> "Tokenizer":
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing more precise
        raise PilotageError(
            f"tokenizer is {name!r}: it must be a tokenizer.json of the tokenizers library "
            f"({error})."
        ) from None


def _text(caption: str) -> str:
    """Return the caption, checked to be text that UTF-8 can encode."""
    try:
        caption.encode()
    except (AttributeError, UnicodeEncodeError):
        raise PilotageError(
            f"captions has {caption!r}: each must be text, without lone surrogates."
        ) from None
    return caption
