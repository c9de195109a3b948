"""A tokenizer trained on a run's captions, or given as a file of the tokenizers library."""

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
    """Captions to tokens by merges of bytes (1508.07909), so that no text is unknown.

    :meth:`train` and :meth:`load` make it. The file holds all of it: normalisation (NFC, lower
    case, no space at the ends), merges, ids, padding and context.

    Attributes:
        size: number of ids.
        end: the id that pads.
        context: number of tokens of a padded caption.
        hash: SHA-256 of the file that :meth:`save` writes.
    """

    def __init__(self, text: str):
        """The tokenizer of a file's text, which says the padding and the context."""
        self._text = text
        self._bpe = _parsed(text)
        padding, truncation = self._bpe.padding or {}, self._bpe.truncation or {}
        self.end: int = padding["pad_id"]
        self.context: int = truncation["max_length"]
        self.size = max(self._bpe.get_vocab().values()) + 1
        self.hash = hashlib.sha256(text.encode()).hexdigest()
        self._bpe.no_padding()
        self._bpe.no_truncation()
        self._bpe.encode_special_tokens = True  # what a caption says is never the end of it

    @classmethod
    def train(
        cls, captions: Sequence[str], size: int = 1024, context: int = 64, lower: bool = True
    ) -> "ByteLevelBPE":
        """A tokenizer of these captions; the same for the same captions in any order.

        Args:
            captions: what to learn from.
            size: most ids that it may have; fewer where no pair of tokens is left that occurs
                twice. The last id is the end of text, which pads.
            context: number of tokens of a padded caption.
            lower: capitals are made small.

        Raises:
            PilotageError: if there are no captions, one is not text, size is below 257 or context
                below 1.
        """
        positive_int("context", context)
        if positive_int("size", size) <= _BYTES:
            raise PilotageError(f"size is {size}: it must be at least 257, all bytes and the end.")
        texts = sorted(_text(caption) for caption in captions)
        if not any(text.strip() for text in texts):
            raise PilotageError("captions is empty: a tokenizer needs text to learn from.")
        return cls(_agreed(_trained(texts, size - 1, lower), context))

    @classmethod
    def load(cls, file: str | PathLike[str], context: int | None = None) -> "ByteLevelBPE":
        """The tokenizer of a ``tokenizer.json``, of this or another kind.

        It pads with its token of padding, else with its end of text, else with one more token.
        Special tokens that the file would put around a text are left out.

        Args:
            file: what :meth:`save` or the tokenizers library wrote.
            context: number of tokens of a padded caption; None is what the file says.

        Raises:
            PilotageError: if the file cannot be read or holds no tokenizer, context is below 1, or
                nothing says it.
        """
        path = Path(file)
        try:
            text = path.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise PilotageError(f"tokenizer={str(path)!r} cannot be read ({error}).") from None
        bpe = _parsed(text, str(path))
        said = (bpe.truncation or {}).get("max_length") or (bpe.padding or {}).get("length")
        if context is None and said is None:
            raise PilotageError(
                f"context is None: {str(path)!r} says no length of a caption, so give one."
            )
        wanted = positive_int("context", said if context is None else context)
        return cls(text if _says(bpe, wanted) else _agreed(bpe, wanted))

    def save(self, file: str | PathLike[str]) -> None:
        """Write the file, a ``tokenizer.json`` of the tokenizers library."""
        Path(file).write_bytes(self._text.encode())

    def ids(self, caption: str) -> list[int]:
        """All tokens of a caption, however many; none of the empty caption.

        Raises:
            PilotageError: if it is not text that UTF-8 can hold.
        """
        return self._bpe.encode(_text(caption), add_special_tokens=False).ids


def _trained(captions: Sequence[str], size: int, lower: bool) -> "Tokenizer":
    """The division into words of GPT-2, and merges of pairs that occur at least twice."""
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


def _says(bpe: "Tokenizer", context: int) -> bool:
    """Whether the file itself says this context, and which of its ids pads."""
    padding, truncation = bpe.padding, bpe.truncation
    return bool(
        padding
        and truncation
        and truncation["max_length"] == context
        and bpe.token_to_id(padding["pad_token"]) == padding["pad_id"]
    )


def _agreed(bpe: "Tokenizer", context: int) -> str:
    """The file's text, once padding and context are part of it."""
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
            f"tokenizer={name!r} holds no tokenizer ({error}); give a tokenizer.json of the "
            "tokenizers library."
        ) from None


def _text(caption: str) -> str:
    """The caption, if it is text that UTF-8 can hold."""
    try:
        caption.encode()
    except (AttributeError, UnicodeEncodeError):
        raise PilotageError(
            f"captions has {caption!r}: each must be text, without halves of surrogate pairs."
        ) from None
    return caption
