"""Training batches and their conditions, as a function of (seed, step)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pilotage.conditions import CaptionSpace, Labels, Space
from pilotage.data import LabelledData
from pilotage.diffusion import batching
from pilotage.errors import PilotageError
from pilotage.models.data import OwnData
from pilotage.utils.images import from_uint8
from pilotage.utils.seeding import derived_generator, seeded

# indices of examples -> images as stored, or points, and their conditions
Read = Callable[[np.ndarray], tuple[Tensor, Any]]


def reader(data: LabelledData, space: Space | None = None) -> Read:
    """Return a function that reads examples of a data set by their indices.

    Every distinct caption of a recipe's data is kept in memory once: L tokens of 8 bytes, or with
    an encoder L·D numbers of 4 bytes. With L = 64 and D = 768 that is 0.2 MB, 10 GB for 50,000
    captions.

    Args:
        data: the examples.
        space: collates captions, and the conditions of data passed to :func:`fit`.
    """
    if isinstance(data, OwnData):
        return lambda indices: _own(data, space, indices)
    if isinstance(space, CaptionSpace):
        return _captioned(data, space)
    return lambda indices: (data.batch(indices), torch.from_numpy(data.labels[indices]))


def _captioned(data: LabelledData, space: CaptionSpace) -> Read:
    captions = np.array(data.captions, dtype=object)
    distinct, places = np.unique(captions, return_inverse=True)
    encoded = space.collate(distinct.tolist())

    def read(indices: np.ndarray) -> tuple[Tensor, Any]:
        rows = torch.from_numpy(places[indices])
        return data.batch(indices), batching.take(encoded, rows)

    return read


def _own(data: OwnData, space: Space | None, indices: np.ndarray) -> tuple[Tensor, Any]:
    """Read pairs of a user's data set."""
    images, conditions = data.pairs(indices)
    if space is None:
        raise PilotageError(
            "space is None: it must be given, to collate the conditions of the data."
        )
    try:
        if isinstance(space, Labels):  # which also collates the null label
            conditions = space.values(
                [c.item() if isinstance(c, Tensor) else c for c in conditions]
            )
        return images, space.collate(conditions)
    except (TypeError, ValueError, RuntimeError) as error:
        raise PilotageError(f"data has a condition that the space refuses: {error}") from None


def scaled(x: Tensor) -> Tensor:
    """Scale uint8 images to [−1, 1]; return floating-point images and points unchanged."""
    return x if x.is_floating_point() else from_uint8(x)


class Batches:
    """Batches of an endless stream of epochs, each a permutation of the data.

    Step k takes the images (k − 1)·B to k·B of the stream, so that a resumed run continues exactly
    without a saved sampler.

    Args:
        data: the training images.
        batch_size: B, over all processes.
        seed: of the run.
        flip: mirror each image left to right with probability one half.
        process: index of this process.
        processes: their number; each gets B/processes consecutive rows.
        device: of the batches.
        read: reads the data; with their labels by default.
    """

    def __init__(
        self,
        data: LabelledData,
        batch_size: int,
        seed: int,
        flip: bool = False,
        process: int = 0,
        processes: int = 1,
        device: torch.device | str = "cpu",
        read: Read | None = None,
    ) -> None:
        self.data = data
        self.batch_size = batch_size
        self.seed = seed
        self.flip = flip
        self.device = device
        share = batch_size // processes
        self.own_rows = slice(process * share, (process + 1) * share)
        self._read = read or reader(data)
        self._orders: dict[int, np.ndarray] = {}

    def at(self, step: int) -> tuple[Tensor, Any]:
        """Return this process's images or points in [−1, 1], (B/P, *shape), and conditions."""
        first = (step - 1) * self.batch_size
        places = np.arange(first, first + self.batch_size)[self.own_rows]
        with seeded(self.seed, "data", step):  # for data sets with random augmentation
            x, cond = self._read(self._indices(places))
        x = scaled(x.to(self.device))
        if self.flip:
            x = torch.where(self._mirrored(step)[:, None, None, None], x.flip(-1), x)
        return x, batching.to(cond, self.device)

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
            # a batch spans at most two epochs
            self._orders = {e: o for e, o in self._orders.items() if e >= epoch - 1}
            self._orders[epoch] = torch.randperm(len(self.data), generator=generator).numpy()
        return self._orders[epoch]

    def _mirrored(self, step: int) -> Tensor:
        generator = derived_generator(self.seed, "flip", step)
        coins = torch.rand(self.batch_size, generator=generator) < 0.5
        return coins[self.own_rows].to(self.device)
