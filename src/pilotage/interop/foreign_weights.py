"""Tensors of foreign checkpoints: reading, renaming, loading and exporting."""

import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import reduce
from os import PathLike
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple, TypeVar
from zipfile import ZipFile, is_zipfile

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pilotage.errors import PilotageError

Weights = str | PathLike[str] | Mapping[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)

# what data parallelism, Lightning modules and averages put before the names of a network
PREFIXES = frozenset({"module", "model", "unet", "net", "network", "denoiser", "diffusion_model"})
PREFIXES |= {"ema", "ema_model", "model_ema", "online_model", "generator", "netG", "netD"}
PREFIXES |= {"discriminator", "denoise_fn", "_forward_module", "_fsdp_wrapped_module"}
_COMPILED = "_orig_mod."  # torch.compile's, before the names of any module
_NO_NETWORK = re.compile(r"optim|sched|scaler|callback|loops|rng|arg|config|hyper|hparam|metric")
_LORA = re.compile(r"lora|hada_w|lokr_", re.IGNORECASE)
_DEEPEST = 5
_SWELLS = 2  # times that a file of tensors may take of its size


def read_weights(weights: Weights, key: str | None = None) -> dict[str, Tensor]:
    """Name every tensor of a ``.safetensors``, ``.pt`` or ``.pth`` file, or of a state dict.

    Nothing but tensors is unpickled from a ``.pt`` or ``.pth`` file. What training loops wrap
    around a network is taken off: dictionaries of several things, such as those of Lightning, if
    one of them is a state dict, and prefixes that all names have (`PREFIXES`).

    Args:
        weights: the file or the state dict.
        key: which state dict of several, with dots between nested keys; or the prefix of the names
            that count, such as ``ema`` or ``state_dict.model.unet``.

    Raises:
        PilotageError: if the file is absent, of another kind or unreadable, or if it holds anything
            else than named tensors, several state dicts, or LoRA updates.
    """
    found = weights if isinstance(weights, Mapping) else _read(Path(weights))
    if not isinstance(found, Mapping):
        raise PilotageError(
            f"weights hold a {type(found).__name__}: they must be a state dict, names to tensors."
        )
    named = _unwrapped(found) if key is None else _under(key, found)
    _refuse_lora(named)
    return _without_prefixes(named)


def _unwrapped(found: Mapping[Any, Any]) -> Mapping[str, Tensor]:
    """The one state dict that there is."""
    others = [
        str(name)
        for name, value in found.items()
        if not (isinstance(value, Tensor) and isinstance(name, str))
    ]
    if not others:
        return found
    inside = {} if len(others) < len(found) else dict(_state_dicts(found))
    if not inside:
        raise PilotageError(
            f"weights hold other things than tensors, in {listing(others)}: they must be tensors "
            "only."
        )
    if len(inside) > 1:
        raise PilotageError(
            f"weights hold {len(inside)} state dicts: give key one of {listing(list(inside))}."
        )
    return next(iter(inside.values()))


def _state_dicts(
    found: Mapping[Any, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Every dictionary of tensors by its dotted key, but for what optimisers and such keep."""
    for key, value in found.items():
        nested = isinstance(value, Mapping) and value and isinstance(key, str)
        if not nested or _NO_NETWORK.search(key) or len(above) > _DEEPEST:
            continue
        if all(isinstance(x, Tensor) and isinstance(name, str) for name, x in value.items()):
            yield ".".join((*above, key)), value
        else:
            yield from _state_dicts(value, (*above, key))


def _under(key: str, found: Mapping[Any, Any]) -> Mapping[str, Tensor]:
    """The state dict of that key, or the tensors whose names begin with it."""
    inside = dict(_state_dicts(found))
    if key in inside:
        return inside[key]
    loose = {k: x for k, x in found.items() if isinstance(x, Tensor) and isinstance(k, str)}
    full = loose | {f"{place}.{name}": x for place in inside for name, x in inside[place].items()}
    before = f"{key}."
    if named := {k.removeprefix(before): x for k, x in full.items() if k.startswith(before)}:
        return named
    known = [*inside, *sorted({name.partition(".")[0] for name in loose})]
    raise PilotageError(f"key is {key!r}: the weights have {listing(known) or 'none'}.")


def _without_prefixes(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the prefixes that wrappers of a network put before all names."""
    names = [name.replace(_COMPILED, "") for name in named]
    while len(first := {name.partition(".")[0] for name in names}) == 1 and first <= PREFIXES:
        names = [name.partition(".")[2] or name for name in names]
        if names == list(first):  # of one tensor without any other name
            break
    return dict(zip(names, named.values(), strict=True))


def _refuse_lora(named: Mapping[str, Tensor]) -> None:
    updates = [name for name in named if _LORA.search(name)]
    if updates:
        raise PilotageError(
            f"weights hold LoRA updates, such as {updates[0]}: they change another checkpoint's "
            "weights, so merge them into that and give the result."
        )


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
        if isinstance(error, UnpicklingError):
            reason = "it has other objects, which are never unpickled, or is damaged"
        raise PilotageError(
            f"weights is {str(path)!r}: it must hold tensors only and be readable ({reason})."
        ) from error


def _load_torch(path: Path) -> object:
    if is_zipfile(path):
        with ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > _SWELLS * path.stat().st_size:
            raise ValueError(f"it would take {size} bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of protocols and of types, which are judged here
        found = torch.load(path, map_location="cpu", weights_only=True)
    for tensor in _tensors_in(found):
        if tensor.layout != torch.strided or tensor.nbytes > tensor.untyped_storage().nbytes():
            raise ValueError(f"a tensor {tuple(tensor.shape)} is not stored in full")
    return found


def _tensors_in(found: Any, depth: int = 0) -> Iterator[Tensor]:
    if isinstance(found, Tensor):
        yield found
    elif isinstance(found, Mapping) and depth <= _DEEPEST + 1:
        for value in found.values():
            yield from _tensors_in(value, depth + 1)


_READERS: dict[str, Callable[[Path], object]] = {
    ".safetensors": load_file,
    ".pt": _load_torch,
    ".pth": _load_torch,
}
