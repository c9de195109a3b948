"""Which processes and devices there are, through Accelerate."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import gather_object

T = TypeVar("T")


def process_device() -> str:
    """A GPU if there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def process_state() -> PartialState:
    """This process's place among all that were launched, on a GPU if any.

    Accelerate joins processes on CPUs only when it is told to use them; without that, each would
    believe itself alone and write the same files.
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
