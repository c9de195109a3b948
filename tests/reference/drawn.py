"""Tensors that need no file: a seed's normal numbers, as the recorded networks were filled."""

import hashlib
import math
from typing import Any

import torch
from torch import Tensor


def drawn(entry: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of one entry of a case's ``drawn``, under their whole names.

    Args:
        entry: ``seed`` of the generator; ``skip``, how many numbers it has given before; ``shapes``
            by name, in the order in which they are drawn; ``prefix`` of the names; ``matrices``, as
            for `filled`, or None where the tensors are the normal numbers themselves; ``rows``,
            (dimension, indices) of what is kept of each, or None.
    """
    generator = torch.Generator().manual_seed(entry["seed"])
    torch.rand(entry["skip"], generator=generator)
    made = {}
    for name, shape in entry["shapes"].items():
        whole = filled(name, shape, generator, entry["matrices"])
        made[entry["prefix"] + name] = part(whole, entry["rows"])
    return made


def filled(
    name: str, shape: list[int], generator: torch.Generator, matrices: list[float] | None
) -> Tensor:
    """A parameter: norm weights 1 + 0.1 n, other vectors 0.1 n, matrices a n.

    Args:
        name: tells a norm's weight from other vectors.
        shape: of the tensor; that of a matrix begins with its outputs.
        generator: gives n.
        matrices: (gain, least, most): a is gain / √inputs, within those bounds. None gives n.
    """
    normal = torch.randn(shape, generator=generator)
    if matrices is None:
        return normal
    if len(shape) == 1:
        return 1 + 0.1 * normal if name.endswith(".weight") else 0.1 * normal
    gain, least, most = matrices
    return normal * min(max(gain * math.prod(shape[1:]) ** -0.5, least), most)


def part(tensor: Tensor, rows: tuple[int, list[int]] | None) -> Tensor:
    """Some rows of a tensor along a dimension."""
    return tensor if rows is None else tensor.index_select(rows[0], torch.tensor(rows[1]))


def fingerprint(tensors: dict[str, Tensor]) -> str:
    """Of all bits: processors without AVX2 draw numbers whose last bit is another."""
    digest = hashlib.sha256()
    for tensor in tensors.values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
