"""Which processes and devices there are, through Accelerate."""

import torch
from accelerate import PartialState


def process_device() -> str:
    """A GPU if there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def process_state() -> PartialState:
    """This process's place among all that were launched, on a GPU if any.

    Accelerate joins processes on CPUs only when it is told to use them; without that, each would
    believe itself alone and write the same files.
    """
    return PartialState(cpu=process_device() == "cpu")
