"""Tensors of foreign checkpoints: reading, renaming, loading and exporting."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import reduce
from os import PathLike
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pilotage.errors import PilotageError

Weights = str | PathLike[str] | Mapping[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)


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
        raise PilotageError(
            f"weights hold other things than tensors, in {listing(others)}: they must be tensors "
            "only."
        )
    return dict(named)


def listing(names: list[str], limit: int = 20) -> str:
    """List names in one line, and the number of omitted ones."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def check_known(what: str, names: Iterable[object], allowed: Collection[str]) -> None:
    """Raise a `PilotageError` that lists the names which are not among the allowed ones."""
    unknown = [str(name) for name in names if name not in allowed]
    if unknown:
        raise PilotageError(f"{what} {listing(unknown)}: allowed are {', '.join(allowed)}.")


# the layout of a parameter there and here


def _same(tensor: Tensor) -> Tensor:
    return tensor


class Layout(NamedTuple):
    """The conversion of a tensor from their layout to ours, and back.

    Attributes:
        load: their tensor to ours.
        export: our tensor to theirs.
    """

    load: Callable[[Tensor], Tensor] = _same
    export: Callable[[Tensor], Tensor] = _same


SAME = Layout()


def _to_linear(tensor: Tensor) -> Tensor:
    return tensor.squeeze(-1) if tensor.ndim == 3 else tensor


def _to_conv(tensor: Tensor) -> Tensor:
    return tensor.unsqueeze(-1) if tensor.ndim == 2 else tensor


# a 1x1 convolution over a row of pixels there, a linear map here; biases are the same
POINTWISE = Layout(_to_linear, _to_conv)


def by_head(heads: int, parts: int, inner: Layout = SAME) -> Layout:
    """Rows by (head, part, channel) there, by (part, head, channel) here.

    Args:
        heads: number of attention heads.
        parts: what the rows project to: 3 of q, k and v, or 2 of k and v.
        inner: the layout of each row.
    """
    return Layout(
        lambda tensor: _swapped(inner.load(tensor), heads, parts),
        lambda tensor: inner.export(_swapped(tensor, parts, heads)),
    )


def _swapped(tensor: Tensor, outer: int, inner: int) -> Tensor:
    """Rows by (outer, inner, channel) to rows by (inner, outer, channel)."""
    rows = tensor.reshape(outer, inner, -1, *tensor.shape[1:])
    return rows.transpose(0, 1).flatten(0, 2)


class Pair(NamedTuple):
    """One parameter under both names, and the two parts of its `Layout`."""

    ours: str
    theirs: str
    load: Callable[[Tensor], Tensor] = _same
    export: Callable[[Tensor], Tensor] = _same


def module_pairs(
    module: nn.Module, ours: str, theirs: str, layout: Layout = SAME
) -> Iterator[Pair]:
    """Iterate over a module's own parameters, whose last names are the same in both."""
    for name, _ in module.named_parameters(recurse=False):
        yield Pair(f"{ours}.{name}", f"{theirs}.{name}", *layout)


# loading and exporting


def loaded(
    build: Callable[[], Network],
    tensors: Mapping[str, Tensor],
    pairs: Callable[[Network], Iterable[Pair]],
) -> Network:
    """Build a network with foreign tensors as weights, in evaluation mode.

    It has the device and the dtype of the tensors (the widest, where they are mixed).

    Args:
        build: builds the network; called on the meta device.
        tensors: all weights, under the foreign names.
        pairs: network -> the table of names, a pair per parameter.

    Raises:
        PilotageError: listing the tensors that are missing, left over or of another shape, or as
            ``build`` does.
    """
    with torch.device("meta"):
        network = build()
    table = list(pairs(network))
    _check(tensors, network, table)
    device = next(iter(tensors.values())).device
    network = network.to(_widest(tensors)).to_empty(device=device)
    network.load_state_dict({pair.ours: pair.load(tensors[pair.theirs]) for pair in table})
    return network.eval()


def exported(network: nn.Module, pairs: Iterable[Pair]) -> dict[str, Tensor]:
    """Copy the network's weights under the foreign names and in the foreign layout."""
    own = network.state_dict()
    return {
        pair.theirs: pair.export(own[pair.ours]).clone(memory_format=torch.contiguous_format)
        for pair in pairs
    }


def _check(tensors: Mapping[str, Tensor], network: nn.Module, table: list[Pair]) -> None:
    parameters = dict(network.named_parameters())
    shapes = {pair.theirs: tuple(pair.export(parameters[pair.ours]).shape) for pair in table}
    missing = [name for name in shapes if name not in tensors]
    extra = [name for name in tensors if name not in shapes]
    misshaped = [
        f"{name} ({tuple(tensors[name].shape)}, not {shape})"
        for name, shape in shapes.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    whole = [name for name in shapes if name in tensors and not tensors[name].is_floating_point()]
    found = (
        ("missing", missing),
        ("left over", extra),
        ("of another shape", misshaped),
        ("not of a floating type", whole),
    )
    wrong = [f"{what}: {listing(names)}" for what, names in found if names]
    if wrong:
        raise PilotageError(f"weights do not fit the config; {'; '.join(wrong)}.")


def _widest(tensors: Mapping[str, Tensor]) -> torch.dtype:
    return reduce(torch.promote_types, (tensor.dtype for tensor in tensors.values()))


def _read(path: Path) -> object:
    if path.suffix not in _READERS:
        raise PilotageError(
            f"weights is {str(path)!r}: it must end in {', '.join(_READERS)}, or be a state dict."
        )
    if not path.is_file():
        raise PilotageError(f"weights is {str(path)!r}: there is no such file.")
    try:
        return _READERS[path.suffix](path)
    except Exception as error:  # readers raise various exceptions for damaged files
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
