"""Frozen text encoders of transformers, loaded from safetensors."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pilotage.errors import PilotageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_BATCH = 32  # captions per encoder call
_NOT_HASHED = {"architectures", "dtype", "torch_dtype", "transformers_version"}
_UNUSED = "pooler."  # not used for the features; often in no file, and then random
_PROBE = "A Red square, 2 CATS & a café!"  # case, digits, accents: tokenizers differ in these


class TransformersText:
    """A model of transformers as an `Encoder`, loaded by `load_encoder`."""

    def __init__(
        self,
        name: str,
        tokenizer: "PreTrainedTokenizerBase",
        model: "PreTrainedModel",
        settings: dict[str, Any],
        context: int,
        device: torch.device | str,
    ):
        self.name, self.context = name, context
        self._tokenizer = tokenizer
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        self._model, self._device = model.eval().requires_grad_(False), device
        self.width = model.config.hidden_size
        probe = tokenizer([_PROBE])["input_ids"]
        self.hash = _hash(model, [_decisive(settings), tokenizer.get_vocab(), probe])

    def lengths(self, captions: Sequence[str]) -> list[int]:
        """Return the untruncated number of tokens of each caption."""
        return [len(ids) for ids in self._tokenizer(list(captions), verbose=False)["input_ids"]]

    def __call__(self, captions: Sequence[str]) -> Iterator[Tensor]:
        """Yield the features (n, D) of each caption's tokens, truncated to L, in order."""
        self._model.to(self._device)
        for start in range(0, len(captions), _BATCH):
            yield from self._features(captions[start : start + _BATCH])
        self._model.cpu()

    def _features(self, captions: Sequence[str]) -> list[Tensor]:
        cut = {"truncation": True, "max_length": self.context, "padding": True}
        tokens = self._tokenizer(list(captions), return_tensors="pt", **cut)
        ids, mask = tokens["input_ids"].long(), tokens["attention_mask"].bool()
        if not mask.any():  # some models fail on empty input
            return [torch.zeros(0, self.width) for _ in captions]
        device = self._device
        with torch.no_grad():
            output = self._model(input_ids=ids.to(device), attention_mask=mask.to(device))
        features = output.last_hidden_state.cpu()
        return [row[kept] for row, kept in zip(features, mask, strict=True)]


def load_encoder(
    name_or_path: str | PathLike[str], context: int, device: torch.device | str
) -> TransformersText:
    """Load the text encoder of a model; the arguments are those of `frozen_text`.

    Raises:
        PilotageError: if transformers is not installed, the model cannot be loaded, or context is
            above the model's.
    """
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        raise PilotageError(
            f"encoder is {str(name_or_path)!r}: it needs transformers, which is not installed; "
            "install the extra text: pip install 'pilotage[text]'."
        ) from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(name_or_path))
        how = {"use_safetensors": True, "output_loading_info": True}
        model, info = AutoModel.from_pretrained(str(name_or_path), **how)
        settings, _ = model.config.get_config_dict(str(name_or_path))
    except Exception as error:  # several libraries, with several exceptions each
        reason = " ".join(str(error).split())[:300]
        raise PilotageError(
            f"encoder is {str(name_or_path)!r}: it cannot be loaded ({reason}); it must be a hub "
            "id or a folder with config.json, model.safetensors and tokenizer.json (without the "
            "last it may need: pip install sentencepiece protobuf)."
        ) from None
    folder = Path(name_or_path)
    name = str(folder.resolve() if folder.is_dir() else name_or_path)
    part = _text_part(model.float())
    _check_whole(name, model, part, set(info["missing_keys"]))
    longest = getattr(part.config, "max_position_embeddings", None) or context
    if context > longest:
        raise PilotageError(
            f"context is {context}: it must be at most {longest}, the limit of the encoder {name}."
        )
    return TransformersText(name, tokenizer, part, settings, context, device)


def _text_part(model: "PreTrainedModel") -> "PreTrainedModel":
    if hasattr(model, "encoder") and hasattr(model, "decoder"):
        return model.encoder
    return getattr(model, "text_model", model)


def _check_whole(name: str, model: nn.Module, part: nn.Module, missing: set[str]) -> None:
    """Refuse a file that lacks weights, which the library would initialise at random."""
    used = {id(weight) for key, weight in part.named_parameters() if not key.startswith(_UNUSED)}
    found = [key for key, weight in model.named_parameters() if id(weight) in used]
    lacking = [key for key in found if key in missing]
    if lacking:
        raise PilotageError(
            f"encoder is {name!r}: its file lacks {len(lacking)} of {len(found)} weights, such as "
            f"{lacking[0]}; they must have the names of this version of transformers."
        )


def _decisive(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of config.json without how, where and when it was written.

    The file's settings, not the model's, to which each version of transformers adds defaults.
    """
    return {
        key: _decisive(value) if isinstance(value, dict) else value
        for key, value in settings.items()
        if key not in _NOT_HASHED and not key.startswith("_")
    }


def _hash(model: nn.Module, facts: Any) -> str:
    """Return the SHA-256 of JSON facts and of the weights that features depend on."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    weights = {k: v for k, v in model.state_dict().items() if not k.startswith(_UNUSED)}
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name}/{tensor.dtype}/{tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
