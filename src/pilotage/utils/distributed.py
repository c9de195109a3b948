"""Which processes and devices there are, through Accelerate."""

import torch
from accelerate import PartialState

from pilotage.errors import PilotageError

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
