"""Memory that runs out, as one sentence that says what helps."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pilotage.errors import PilotageError


@contextmanager
def bounded_memory(what: str, remedy: str) -> Iterator[None]:
    """Turn an allocator's failure, on any device, into a :class:`PilotageError`.

    Args:
        what: the work, as the start of the message.
        remedy: the settings that need less.

    Raises:
        PilotageError: if memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _ran_out(error):
            raise
        raise PilotageError(f"{what} ran out of memory: {remedy}.") from None


def _ran_out(error: Exception) -> bool:
    # torch's allocator on a CPU has no exception of its own, only these words
    words = ("can't allocate memory", "not enough memory", "CUDA out of memory")
    of_torch = any(word in str(error) for word in words)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or of_torch
