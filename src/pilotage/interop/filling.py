"""Foreign tensors into a network of ours, by a table of names."""

from collections.abc import Mapping
from functools import reduce
from typing import TypeVar

import torch
from torch import Tensor, nn

from pilotage.errors import PilotageError
from pilotage.interop.adm.names import Pair
from pilotage.interop.foreign_weights import listing

Network = TypeVar("Network", bound=nn.Module)


def filled(network: Network, tensors: Mapping[str, Tensor], table: list[Pair]) -> Network:
    """The network, until now on the meta device, with the weights, in evaluation mode.

    It comes to be on the device and in the type of the tensors (the widest, where they are mixed).

    Raises:
        PilotageError: listing the tensors that are missing, left over or of another shape.
    """
    _check(tensors, network, table)
    device = next(iter(tensors.values())).device
    network = network.to(_widest(tensors)).to_empty(device=device)
    network.load_state_dict({pair.ours: pair.load(tensors[pair.adm]) for pair in table})
    return network.eval()


def _check(tensors: Mapping[str, Tensor], network: nn.Module, table: list[Pair]) -> None:
    parameters = dict(network.named_parameters())
    shapes = {pair.adm: tuple(pair.export(parameters[pair.ours]).shape) for pair in table}
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
