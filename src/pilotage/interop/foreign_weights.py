"""Reading the tensors of a checkpoint that Pilotage did not write."""

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from pilotage.errors import PilotageError

Weights = str | PathLike[str] | Mapping[str, Tensor]


def read_weights(weights: Weights) -> dict[str, Tensor]:
    """Name every tensor of a ``.safetensors``, ``.pt`` or ``.pth`` file, or of a state dict.

    Nothing but tensors is unpickled from a ``.pt`` or ``.pth`` file.

    Raises:
        PilotageError: if the file is absent, of another kind or unreadable, or if it holds anything
            else than named tensors.
    """
    named = weights if isinstance(weights, Mapping) else _read(Path(weights))
    if not isinstance(named, Mapping):
        raise PilotageError(
            f"weights hold a {type(named).__name__}: they must be a state dict, names to tensors."
        )
    others = [str(name) for name, value in named.items() if not isinstance(value, Tensor)]
    if others:
        raise PilotageError(f"weights hold more than tensors, in {listing(others)}.")
    return dict(named)


def listing(names: list[str], limit: int = 20) -> str:
    """The names in one line, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _read(path: Path) -> object:
    if path.suffix not in _READERS:
        raise PilotageError(
            f"weights is {str(path)!r}: it must end in {', '.join(_READERS)}, or be a state dict."
        )
    if not path.is_file():
        raise PilotageError(f"weights is {str(path)!r}: there is no such file.")
    try:
        return _READERS[path.suffix](path)
    except Exception as error:  # each reader has its own, and several for a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PilotageError(
            f"weights is {str(path)!r}: it must hold tensors only and be readable ({reason})."
        ) from error


def _load_torch(path: Path) -> object:
    return torch.load(path, map_location="cpu", weights_only=True)


_READERS: dict[str, Callable[[Path], object]] = {
    ".safetensors": load_file,
    ".pt": _load_torch,
    ".pth": _load_torch,
}
