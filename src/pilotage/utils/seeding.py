"""Randomness without state: every number is a function of the seed and of what it is for."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derived_seed(seed: int, *purpose: str | int) -> int:
    """A seed in [0, 2**63) for one purpose, independent of those for any other.

    So the random numbers of training step k depend on (seed, k) only, and a resumed run needs no
    saved generator to go on exactly.
    """
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def derived_generator(
    seed: int, *purpose: str | int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator with that seed."""
    return torch.Generator(device).manual_seed(derived_seed(seed, *purpose))


@contextmanager
def seeded(seed: int, *purpose: str | int) -> Iterator[None]:
    """Torch's global generator of the CPU, seeded for one purpose and put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, *purpose))
        yield
