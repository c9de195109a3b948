"""Which processes and devices there are, through Accelerate."""

import torch
from accelerate import PartialState


def process_state() -> PartialState:
    """This process's place among all that were launched, on a GPU or other accelerator if any.

    Accelerate joins processes on CPUs only when it is told to use them; without that, each would
    believe itself alone and write the same files.
    """
    return PartialState(cpu=not torch.accelerator.is_available())
