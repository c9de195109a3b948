"""GLIDE's tokenizer: the byte-level BPE of GPT-2, on the text in lower case."""

import gzip
import zlib
from io import BytesIO
from os import PathLike
from pathlib import Path

from pilotage.conditions import ByteLevelBPE
from pilotage.errors import PilotageError
from pilotage.networks.plan import positive_int
from pilotage.utils.parsing import parse_json

END_OF_TEXT = "<|endoftext|>"
_LONGEST = 2**26  # bytes of a file once it is unpacked

# GLIDE lower-cases as Unicode does, with the final form of a sigma at the end of a word
_LAST_SIGMA = r"(?<=\p{Cased}\p{Case_Ignorable}*)Σ(?!\p{Case_Ignorable}*\p{Cased})"


def glide_tokenizer(
    vocabulary: str | PathLike[str], merges: str | PathLike[str], context: int = 128
) -> ByteLevelBPE:
    """Make the tokenizer of GLIDE (2112.10741) from its two published files.

    There is no token at the start or the end. A caption keeps its first ``context`` tokens; the
    rest is padded with the id of the end of text, and the mask is False there. The empty caption is
    all padding.

    Args:
        vocabulary: the file of ids, ``encoder.json`` or ``encoder.json.gz``.
        merges: the file of merges, ``vocab.bpe`` or ``vocab.bpe.gz``.
        context: number of tokens of a padded caption.

    Raises:
        PilotageError: if a file is unreadable or malformed, or context is below 1.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    positive_int("context", context)
    ids = _read_ids(Path(vocabulary))
    end = ids.setdefault(END_OF_TEXT, len(ids))
    pairs = _read_merges(Path(merges))
    try:
        bpe = Tokenizer(models.BPE(ids, pairs))
    except Exception as error:  # the library raises nothing more precise
        raise PilotageError(
            f"merges is {str(merges)!r}: it must be that of the vocabulary ({error})."
        ) from None
    small = [normalizers.Replace(Regex(_LAST_SIGMA), "ς"), normalizers.Lowercase()]
    bpe.normalizer = normalizers.Sequence(small)
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    bpe.decoder = decoders.ByteLevel()
    bpe.enable_padding(pad_id=end, pad_token=END_OF_TEXT, length=context)
    bpe.enable_truncation(context)
    return ByteLevelBPE(bpe.to_str())


def _read_ids(path: Path) -> dict[str, int]:
    text = _read("vocabulary", path)
    try:
        ids = parse_json(text)
    except ValueError as error:
        raise PilotageError(f"vocabulary is {str(path)!r}: it must be JSON ({error}).") from None
    if not isinstance(ids, dict) or not all(isinstance(number, int) for number in ids.values()):
        raise PilotageError(f"vocabulary is {str(path)!r}: it must hold tokens and their ids.")
    return ids


def _read_merges(path: Path) -> list[tuple[str, str]]:
    """Read one merge per line; the first line may be the version."""
    lines = _read("merges", path).split("\n")
    if lines[0].startswith("#version"):
        lines = lines[1:]
    merges = [line.split() for line in lines if line.strip()]
    if not merges or any(len(merge) != 2 for merge in merges):
        raise PilotageError(f"merges is {str(path)!r}: it must hold two tokens on every line.")
    return [(first, second) for first, second in merges]


def _read(name: str, path: Path) -> str:
    """Read the text of a file, which may be gzipped, whatever its suffix."""
    if not path.is_file():
        raise PilotageError(f"{name} is {str(path)!r}: there is no such file.")
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            with gzip.open(BytesIO(data)) as file:
                data = file.read(_LONGEST + 1)
        if len(data) > _LONGEST:
            raise OSError(f"it has more than {_LONGEST} bytes")
        return data.decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise PilotageError(
            f"{name} is {str(path)!r}: it must be UTF-8 text, plain or gzipped ({error})."
        ) from None
