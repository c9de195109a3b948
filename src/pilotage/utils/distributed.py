"""Which processes and devices there are, through Accelerate."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import gather_object

from pilotage.errors import PilotageError

T = TypeVar("T")
_chosen = "auto"


def use_device(name: str) -> None:
    """Choose the device of this process, before anything runs on one.

    Args:
        name: auto (a GPU if there is one), cpu, cuda (the process's own GPU) or cuda:N.

    Raises:
        PilotageError: if it is none of these, or there is no such GPU.
    """
    global _chosen
    kind, _, number = name.partition(":")
    count = torch.cuda.device_count()
    known = name in ("auto", "cpu") or (kind == "cuda" and name.count(":") == bool(number))
    if not known or (number and not number.isdecimal()):
        raise PilotageError(f"device is {name!r}: it must be auto, cpu, cuda or cuda:N.")
    if kind == "cuda" and int(number or 0) >= count:
        raise PilotageError(f"device is {name!r}: it must be one of the {count} GPUs here.")
    if number:
        torch.cuda.set_device(int(number))
    if kind != _chosen:
        PartialState._reset_state()  # another command of this process may have used another
    _chosen = kind


def process_device() -> str:
    """The chosen device; by default a GPU if there is one, else the CPU."""
    if _chosen != "auto":
        return _chosen
    return "cuda" if torch.cuda.is_available() else "cpu"


def process_state() -> PartialState:
    """This process's place among all that were launched, on its device.

    Accelerate joins processes on CPUs only with ``cpu``; without that, each would believe itself
    alone and write the same files.
    """
    return PartialState(cpu=process_device() == "cpu")


def own_share(batches: Sequence[T], state: PartialState) -> Sequence[T]:
    """This process's batches; whole ones are dealt, so that their images are the same."""
    return batches[state.process_index :: state.num_processes]


def gathered(own: Iterable[tuple[int, T]], state: PartialState) -> list[T]:
    """What all processes made, in order, on every process.

    Args:
        own: this process's parts, each after the number of its first row.
        state: of the processes.
    """
    parts = list(own)
    if state.num_processes > 1:
        parts = gather_object(parts)
    return [part for _, part in sorted(parts, key=lambda part: part[0])]
