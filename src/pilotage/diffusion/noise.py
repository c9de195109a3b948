"""Noise with one seed per image, independent of the batch."""

from collections.abc import Iterable

import torch
from torch import Tensor

from pilotage.errors import PilotageError

_DRAWS_AT_ONCE = 64
_NUMBERS_AT_ONCE = 2**16


class SeededNoise:
    """An endless iterator of N(0, I) draws (B, *shape) in which row i depends on seeds[i] alone.

    The same seed gives the same row at any batch size, in any order, on any number of processes and
    on any device (numbers are drawn on the CPU). The first draw is usually the initial state of a
    sampler:

        noise = SeededNoise(range(16), (1, 8, 8))
        states = sample(denoise, next(noise), lams, step, cond, noise)

    Several draws are made per generator call; their number depends on the shape only.

    Args:
        seeds: one integer per row, each in [0, 2**32): torch's CPU generator uses no more bits, so
            larger seeds would silently share their noise with smaller ones.
        shape: of one row.
        device: of the draws.
        dtype: of the draws; float32 and float64 are different streams.

    Raises:
        PilotageError: if a seed is out of range or there is none.
    """

    def __init__(
        self,
        seeds: Iterable[int],
        shape: Iterable[int],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.seeds = [int(seed) for seed in seeds]
        self.shape = tuple(int(n) for n in shape)
        if not self.seeds:
            raise PilotageError("seeds is empty: it must have at least one.")
        for seed in self.seeds:
            if not 0 <= seed < 2**32:
                raise PilotageError(f"seeds has {seed}: it must lie in [0, 2**32).")
        self.device = torch.device(device)
        self.dtype = dtype
        self._generators = [torch.Generator().manual_seed(seed) for seed in self.seeds]
        numbers = max(1, torch.Size(self.shape).numel())
        self._at_once = max(1, min(_DRAWS_AT_ONCE, _NUMBERS_AT_ONCE // numbers))
        self._ahead: list[Tensor] = []

    def __iter__(self) -> "SeededNoise":
        """Return itself: iteration resumes after the last draw."""
        return self

    def __next__(self) -> Tensor:
        """Return the next draw (B, *shape)."""
        if not self._ahead:
            block = torch.stack([self._draws(g) for g in self._generators], dim=1)
            self._ahead = list(block.to(self.device).unbind())[::-1]
        return self._ahead.pop()

    def _draws(self, generator: torch.Generator) -> Tensor:
        return torch.randn(self._at_once, *self.shape, generator=generator, dtype=self.dtype)
