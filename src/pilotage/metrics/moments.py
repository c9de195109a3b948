"""Count, mean and covariance of features, streamed and merged without keeping the features."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pilotage.errors import PilotageError
from pilotage.metrics.arrays import Floats, matrix, same_dims, write_npz
from pilotage.utils.npz import read_npz

_ROWS = 4096  # a chunk is widened to float64 and centred this many rows at a time


class Moments:
    """Running count n, mean μ and scatter S = Σ (x−μ)(x−μ)ᵀ, all float64.

    Chunks and partial results combine by the pairwise update of Chan, Golub and LeVeque (1979),
    which adds centred sums only: however the rows are split and in whatever order the parts are
    merged, the numbers agree to rounding (about 1e-13 relative). Memory is 8 D² bytes.

        moments = Moments()  # or Moments.of(features)
        for chunk in features:
            moments.update(chunk)
        total = moments + other  # from another process

    Attributes:
        count: n.
        mean: μ, (D,).
        scatter: S, (D, D).
    """

    __slots__ = ("count", "mean", "scatter")

    def __init__(self) -> None:
        self.count = 0
        self.mean: Floats = np.zeros(0)
        self.scatter: Floats = np.zeros((0, 0))

    @classmethod
    def of(cls, features: ArrayLike) -> "Moments":
        """The moments of features (N, D)."""
        return cls().update(features)

    @property
    def dims(self) -> int:
        """D, or 0 before the first row."""
        return len(self.mean)

    @property
    def covariance(self) -> Floats:
        """S / (n − 1), (D, D)."""
        if self.count < 2:
            raise PilotageError(f"the covariance of {self.count} samples: it takes at least 2.")
        return self.scatter / (self.count - 1)

    def update(self, features: ArrayLike) -> "Moments":
        """Add rows (N, D), in place; returns itself."""
        rows = matrix(features, "features")
        if self.count:
            same_dims(self.dims, rows.shape[1])
        for start in range(0, len(rows), _ROWS):
            chunk = rows[start : start + _ROWS].astype(np.float64)
            mean = chunk.mean(axis=0)
            chunk -= mean
            self._add(len(chunk), mean, chunk.T @ chunk)
        return self

    def merge(self, other: "Moments") -> "Moments":
        """The moments of both sets together; neither operand changes. Also ``a + b``."""
        both = Moments()
        for part in (self, other):
            if part.count:
                if both.count:
                    same_dims(both.dims, part.dims)
                both._add(part.count, part.mean, part.scatter.copy())
        return both

    def __add__(self, other: "Moments") -> "Moments":
        return self.merge(other) if isinstance(other, Moments) else NotImplemented

    def __repr__(self) -> str:
        return f"Moments(count={self.count}, dims={self.dims})"

    def _add(self, count: int, mean: Floats, scatter: Floats) -> None:
        """n, μ, S ← those of the union; takes ``scatter`` over."""
        if not self.count:
            self.count, self.mean, self.scatter = count, mean.copy(), scatter
            return
        total = self.count + count
        shift = mean - self.mean
        self.scatter += scatter
        self.scatter += np.outer(shift, shift * (self.count * count / total))
        self.mean = self.mean + shift * (count / total)
        self.count = total

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What ``save`` writes: count, mean and scatter by name."""
        return {"count": np.array(self.count), "mean": self.mean, "scatter": self.scatter}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Moments":
        """The inverse of ``arrays``.

        Raises:
            PilotageError: if a name is missing or the shapes do not belong together.
        """
        missing = sorted({"count", "mean", "scatter"} - set(arrays))
        if missing:
            raise PilotageError(f"moments without {missing[0]}: count, mean, scatter are needed.")
        count, mean, scatter = (np.asarray(arrays[key]) for key in ("count", "mean", "scatter"))
        if any(array.dtype.kind not in "iuf" for array in (count, mean, scatter)):
            raise PilotageError("moments have count, mean, scatter that are no numbers.")
        if count.ndim or mean.ndim != 1 or scatter.shape != mean.shape * 2:
            raise PilotageError(
                f"moments have count, mean, scatter of shapes {count.shape}, {mean.shape}, "
                f"{scatter.shape}: they must be (), (D,) and (D, D)."
            )
        moments = cls()
        moments.count = int(count)
        moments.mean = mean.astype(np.float64)
        moments.scatter = scatter.astype(np.float64)
        return moments

    def save(self, path: str | Path) -> None:
        """Write an ``.npz`` of ``arrays()`` at exactly this path."""
        with Path(path).open("wb") as file:
            write_npz(file, self.arrays())

    @classmethod
    def load(cls, path: str | Path) -> "Moments":
        """Read what ``save`` wrote.

        Raises:
            PilotageError: if the file is absent or is not such a file.
        """
        try:
            arrays = read_npz(path, "moments")
        except PilotageError as error:
            raise PilotageError(f"{path} is not a file of moments (.npz): {error}") from error
        return cls.from_arrays(arrays)
