"""Batches of conditions: None, a tensor (B, ...), or a tuple, NamedTuple or dict of batches."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from pilotage.errors import PilotageError


def count(cond: Any) -> int:
    """Return the number of rows, B.

    Raises:
        PilotageError: if there is no tensor to count, or two tensors differ in their rows.
    """
    names = {len(leaf): name for name, leaf in _leaves(cond, "cond")}
    if not names:
        raise PilotageError("cond is None: it must be a batch, to have rows.")
    if len(names) > 1:
        counts = " and ".join(f"{rows} rows in {name}" for rows, name in names.items())
        raise PilotageError(f"cond has {counts}: all tensors must have the same number.")
    return next(iter(names))


def take(cond: Any, rows: slice | Tensor) -> Any:
    """Select rows by a slice, or a tensor of indices or bools."""
    return _each(lambda leaf: leaf[rows], [cond])


def to(cond: Any, device: torch.device | str) -> Any:
    """Move a batch to a device."""
    return _each(lambda leaf: leaf.to(device), [cond])


def joined(conds: Sequence[Any]) -> Any:
    """Concatenate batches, in order.

    Raises:
        PilotageError: if there are none, or they differ in structure or in the shape of a row.
    """
    if not conds:
        raise PilotageError("conds is empty: it must have at least one batch.")
    return _each(lambda *leaves: torch.cat(leaves), conds)


def where(mask: Bool[Tensor, " B"], a: Any, b: Any) -> Any:
    """Take rows of ``a`` where mask is True, and of ``b`` elsewhere.

    Raises:
        PilotageError: if a and b differ in structure or in the shape of a row.
    """

    def chosen(of_a: Tensor, of_b: Tensor) -> Tensor:
        return torch.where(mask.reshape(-1, *[1] * (of_a.ndim - 1)), of_a, of_b)

    return _each(chosen, [a, b])


def repeated(cond: Any, rows: int) -> Any:
    """Expand a batch of a single row to ``rows``; leave a batch of that many as it is.

    Raises:
        PilotageError: if it has another number of rows.
    """
    found = count(cond)
    if found not in (1, rows):
        raise PilotageError(
            f"cond has {found} rows: it must have 1, or {rows}, the size of the batch."
        )
    return _each(lambda leaf: leaf.expand(rows, *leaf.shape[1:]), [cond])


def expanded(null: Any, cond: Any) -> Any:
    """Expand a null condition to every row of ``cond``.

    Args:
        null: of the structure of ``cond``, with numbers, or tensors of B rows, of one row or
            without a row dimension. None within it keeps that part of the condition.
        cond: a batch of B conditions.

    Raises:
        PilotageError: if null itself is None, or its structure or a shape does not fit.
    """
    if null is None:
        raise PilotageError("null is None: it must be a value of the condition space.")
    return _expanded(null, cond, "null")


def _expanded(null: Any, cond: Any, name: str) -> Any:
    if null is None:
        return cond
    if isinstance(cond, Tensor) and isinstance(null, int | float | Tensor):
        return _filled(null, cond, name)
    if not _alike([null, cond]):
        raise PilotageError(
            f"{name} is {_kind(null)} and its conditions are {_kind(cond)}: a null must have the "
            "structure of the conditions."
        )
    parts = _parts(null)
    filled = {k: _expanded(parts[k], part, f"{name}[{k!r}]") for k, part in _parts(cond).items()}
    return _rebuilt(cond, filled)


def _filled(null: float | Tensor, cond: Tensor, name: str) -> Tensor:
    """Expand the null to the shape and device of a tensor of conditions."""
    if not isinstance(null, Tensor):
        return torch.full_like(cond, null)
    try:
        return null.to(cond.device).expand_as(cond)
    except RuntimeError:
        raise PilotageError(
            f"{name} has shape {tuple(null.shape)}: it must be that of its conditions, "
            f"{tuple(cond.shape)}, with as many rows, one row or no row dimension."
        ) from None


def _each(change: Callable[..., Tensor], conds: Sequence[Any], name: str = "cond") -> Any:
    """Apply ``change`` to corresponding tensors of batches of one structure."""
    if all(cond is None for cond in conds):
        return None
    if all(isinstance(cond, Tensor) for cond in conds):
        _check_shapes(conds, name)
        return change(*conds)
    if not _alike(conds):
        kinds = " and ".join(dict.fromkeys(map(_kind, conds)))
        raise PilotageError(
            f"{name} is {kinds}: conditions must be None, tensors, or tuples or dicts of these, "
            "and have the same structure."
        )
    every = [_parts(cond) for cond in conds]
    changed = {k: _each(change, [parts[k] for parts in every], f"{name}[{k!r}]") for k in every[0]}
    return _rebuilt(conds[0], changed)


def _leaves(cond: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Iterate over every tensor, with its name."""
    if isinstance(cond, Tensor):
        yield name, cond
    elif cond is not None:
        for key, part in _parts(cond).items():
            yield from _leaves(part, f"{name}[{key!r}]")


def _parts(cond: Any) -> dict[Any, Any]:
    """Return the parts of a dict by key, of a NamedTuple by field, of a tuple by index."""
    if isinstance(cond, tuple):
        return dict(zip(getattr(cond, "_fields", range(len(cond))), cond, strict=True))
    return cond if isinstance(cond, dict) else {}


def _alike(conds: Sequence[Any]) -> bool:
    """Whether all are tuples, or all dicts, of parts of the same names."""
    first = conds[0]
    return isinstance(first, tuple | dict) and all(
        type(cond) is type(first) and _parts(cond).keys() == _parts(first).keys() for cond in conds
    )


def _rebuilt(like: Any, parts: dict[Any, Any]) -> Any:
    """Put the parts into a container like the one they come from."""
    if isinstance(like, dict):
        return parts
    return like._make(parts.values()) if hasattr(like, "_make") else tuple(parts.values())


def _check_shapes(leaves: Sequence[Tensor], name: str) -> None:
    if any(leaf.ndim == 0 for leaf in leaves):
        raise PilotageError(f"{name} is a single number: it must have a row per example.")
    if len({leaf.shape[1:] for leaf in leaves}) > 1:
        shapes = " and ".join(str(tuple(leaf.shape)) for leaf in leaves)
        raise PilotageError(f"{name} has shapes {shapes}: only the number of rows may differ.")


def _kind(cond: Any) -> str:
    """Describe a condition, for a message."""
    if isinstance(cond, Tensor):
        return "a tensor"
    if isinstance(cond, dict):
        return f"a dict of {', '.join(map(str, cond)) or 'nothing'}"
    return "None" if cond is None else f"a {type(cond).__name__}"
