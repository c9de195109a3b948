"""Which images a training step sees: a function of (seed, step) alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pilotage.data import ImageData
from pilotage.diffusion import batching
from pilotage.utils.images import from_uint8
from pilotage.utils.seeding import derived_generator


class Batches:
    """Batches of an endless stream of epochs, each a permutation of the data.

    Step k takes the images at places (k − 1)·B to k·B of the stream, so that a resumed run goes on
    exactly where it was without a saved sampler.

    Args:
        data: the training images.
        batch_size: B, over all processes.
        seed: of the run.
        flip: mirror each image left to right with probability one half.
        process: this process's index, and
        processes: how many there are; each gets B/processes consecutive rows.
        device: where batches go.
        conditions: image numbers to their conditions; the labels if not given.
    """

    def __init__(
        self,
        data: ImageData,
        batch_size: int,
        seed: int,
        flip: bool = False,
        process: int = 0,
        processes: int = 1,
        device: torch.device | str = "cpu",
        conditions: Callable[[np.ndarray], Any] | None = None,
    ) -> None:
        self.data = data
        self.batch_size = batch_size
        self.seed = seed
        self.flip = flip
        self.device = device
        share = batch_size // processes
        self.own_rows = slice(process * share, (process + 1) * share)
        self._conditions = conditions or (lambda indices: torch.from_numpy(data.labels[indices]))
        self._orders: dict[int, np.ndarray] = {}

    def at(self, step: int) -> tuple[Tensor, Any]:
        """This process's images or points in [−1, 1], (B/P, *shape), and conditions, of a step."""
        first = (step - 1) * self.batch_size
        places = np.arange(first, first + self.batch_size)[self.own_rows]
        indices = self._indices(places)
        x = self.data.batch(indices).to(self.device)
        x = x if x.is_floating_point() else from_uint8(x)
        if self.flip:
            x = torch.where(self._mirrored(step)[:, None, None, None], x.flip(-1), x)
        return x, batching.to(self._conditions(indices), self.device)

    def _indices(self, places: np.ndarray) -> np.ndarray:
        epochs, offsets = np.divmod(places, len(self.data))
        indices = np.empty_like(places)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            indices[here] = self._order(int(epoch))[offsets[here]]
        return indices

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            generator = derived_generator(self.seed, "order", epoch)
            # only the current epoch and its neighbour can be asked for
            self._orders = {e: o for e, o in self._orders.items() if e >= epoch - 1}
            self._orders[epoch] = torch.randperm(len(self.data), generator=generator).numpy()
        return self._orders[epoch]

    def _mirrored(self, step: int) -> Tensor:
        generator = derived_generator(self.seed, "flip", step)
        coins = torch.rand(self.batch_size, generator=generator) < 0.5
        return coins[self.own_rows].to(self.device)
