"""Precision, recall, density and coverage: who lies in whose nearest-neighbour balls.

Around each point of a set lies the ball that reaches its k-th nearest neighbour in that set, itself
not counted. All distances are squared Euclidean, and the border belongs to the ball.

**Exact, at the speed of a matrix product.** ‖a‖² + ‖b‖² − 2 a·b of centred rows is within a known
bound of the distance. A comparison that this bound leaves open, such as those with ties and with
duplicates, is decided by Σ(a−b)² of the two rows as they came. So the answer does not depend on the
block size, the order of the arguments or the library behind the product.

**Memory.** Beside its input and a float64 copy of both sets, 8 D (N + M) bytes, a call works in
``BLOCK_BYTES`` (256 MiB), whatever N and M: a block is as many whole rows of the distance matrix as
fit at 24 bytes per entry (at least one row). 50,000 × 50,000 at D = 2048 takes
1.6 GB of copies and 0.27 GB of blocks, in place of 20 GB per distance matrix.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pilotage.errors import PilotageError
from pilotage.metrics.arrays import Floats, matrix, pair, whole

BLOCK_BYTES = 256 * 2**20
_BYTES_PER_ENTRY = 24  # distances, the copy that is partitioned, and masks or pairs
_EPS = float(np.finfo(np.float64).eps)

Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]


class PrecisionRecall(NamedTuple):
    """Share of fake within the real balls, and of real within the fake balls."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """Real balls around a fake point, over k; and share of real balls with a fake point in them."""

    density: float
    coverage: float


def precision_recall(real: ArrayLike, fake: ArrayLike, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al., 2019).

    Precision is the share of fake points within the ball of some real point, recall the share of
    real points within the ball of some fake point; swapping the arguments swaps the two.

    Args:
        real: features (N, D).
        fake: features (M, D).
        k: which neighbour a ball reaches, less than N and M.

    Raises:
        PilotageError: if ``k`` does not fit, or the sets differ in D.
    """
    sets = _Pair(*pair(real, fake))
    real_radii, fake_radii = sets.real.squared_radii(k, "real"), sets.fake.squared_radii(k, "fake")
    in_real = np.zeros(len(sets.fake.rows), dtype=bool)
    in_fake = np.zeros(len(sets.real.rows), dtype=bool)
    for rows, distances in sets.blocks():
        in_real[rows] = sets.inside(distances, rows, real_radii[None, :]).any(axis=1)
        in_fake |= sets.inside(distances, rows, fake_radii[rows, None]).any(axis=0)
    return PrecisionRecall(float(in_real.mean()), float(in_fake.mean()))


def density_coverage(real: ArrayLike, fake: ArrayLike, k: int = 5) -> DensityCoverage:
    """Density and coverage (Naeem et al., 2020): balls around real points only.

    Density is Σ_j #{i: fake_j in ball_i} / (k M); it can exceed 1. Coverage is the share of real
    balls that hold a fake point. For two sets of one distribution the expected density is 1 and the
    expected coverage about 1 − 2^−k.

    Args:
        real: features (N, D).
        fake: features (M, D).
        k: which neighbour a ball reaches, less than N.

    Raises:
        PilotageError: if ``k`` does not fit, or the sets differ in D.
    """
    sets = _Pair(*pair(real, fake))
    radii = sets.real.squared_radii(k, "real")
    covered = np.zeros(len(sets.real.rows), dtype=bool)
    memberships = 0
    for rows, distances in sets.blocks():
        inside = sets.inside(distances, rows, radii[None, :])
        memberships += int(np.count_nonzero(inside))
        covered |= inside.any(axis=0)
    return DensityCoverage(memberships / (k * len(sets.fake.rows)), float(covered.mean()))


def squared_radii(features: ArrayLike, k: int = 3) -> Floats:
    """Squared distance of each row (N, D) to its k-th nearest neighbour, itself not counted."""
    rows = matrix(features, "features")
    return _Set(rows, rows.mean(axis=0, dtype=np.float64)).squared_radii(k, "features")


class _Set:
    """Rows as they came, and centred in float64 with their squared norms."""

    def __init__(self, rows: NDArray[Any], centre: Floats) -> None:
        self.rows = rows
        self.centred = rows - centre
        self.norms = np.einsum("nd,nd->n", self.centred, self.centred)

    def squared_radii(self, k: int, name: str) -> Floats:
        """Squared distance to the k-th nearest other row, exact."""
        if len(self.rows) < 2:
            raise PilotageError(f"{name} has 1 sample: nearest neighbours take at least 2.")
        k = whole(k, "k", 1, len(self.rows) - 1, f", less than the samples of {name}")
        error = _error_bound(self, self)
        radii = np.empty(len(self.rows))
        for rows, distances in _distance_blocks(self, self):
            within = np.arange(rows.stop - rows.start)
            distances[within, within + rows.start] = -np.inf  # itself comes first
            radii[rows] = self._kth(distances, rows, k, error)
        return radii

    def _kth(self, distances: Floats, rows: slice, k: int, error: float) -> Floats:
        """The k-th smallest (from 0) of each row, recomputed among those that could be it."""
        about = np.partition(distances, k, axis=1)[:, k, None].copy()
        below = np.count_nonzero(distances < about - 2 * error, axis=1)
        candidates = (distances >= about - 2 * error) & (distances <= about + 2 * error)
        exact = np.empty(len(about))
        for part in _slices(np.count_nonzero(candidates, axis=1), distances.size // 4):
            i, j = np.nonzero(candidates[part])
            exact[part] = self._select(i, j, rows.start + part.start, (k - below)[part])
        return exact

    def _select(self, i: Ints, j: Ints, offset: int, rank: Ints) -> Floats:
        """Among the pairs (offset + i, j), sorted by i, the rank-th smallest distance of each i.

        Where the first rank + 1 of them are copies of one row the answer is 0 and no more of them
        are computed: samples that have collapsed to one image make every pair a candidate.
        """
        first = np.searchsorted(i, np.arange(len(rank)))
        early = np.arange(len(i)) - first[i] <= rank[i]
        values = np.zeros(len(i))
        values[early] = _pairwise(self.rows, self.rows, i[early] + offset, j[early])
        rest = ~early & (np.maximum.reduceat(values, first) > 0)[i]
        values[rest] = _pairwise(self.rows, self.rows, i[rest] + offset, j[rest])
        chosen: Floats = values[np.lexsort((values, i))[first + rank]]
        return chosen


class _Pair:
    """The distances from each fake to each real row, block by block."""

    def __init__(self, real: NDArray[Any], fake: NDArray[Any]) -> None:
        means = (rows.mean(axis=0, dtype=np.float64) for rows in (real, fake))
        centre = sum(means) / 2  # the same whichever set comes first
        self.real, self.fake = _Set(real, centre), _Set(fake, centre)
        self.error = _error_bound(self.real, self.fake)

    def blocks(self) -> Iterator[tuple[slice, Floats]]:
        """Rows of fake, and their distances to all of real."""
        return _distance_blocks(self.fake, self.real)

    def inside(self, distances: Floats, rows: slice, squared_radii: Floats) -> Bools:
        """distance ≤ radius, exactly; ``squared_radii`` broadcasts against the block."""
        inside = distances <= squared_radii + self.error
        unsure = inside & (distances >= squared_radii - self.error)
        radii = np.broadcast_to(squared_radii, distances.shape)
        for part in _slices(np.count_nonzero(unsure, axis=1), distances.size // 4):
            i, j = np.nonzero(unsure[part])
            i += part.start
            values = _pairwise(self.fake.rows, self.real.rows, i + rows.start, j)
            inside[i, j] = values <= radii[i, j]
        return inside


def _distance_blocks(a: _Set, b: _Set) -> Iterator[tuple[slice, Floats]]:
    """Slices of a's rows with ‖a‖² + ‖b‖² − 2 a·b to all of b's rows."""
    step = max(1, BLOCK_BYTES // (_BYTES_PER_ENTRY * len(b.rows)))
    for start in range(0, len(a.rows), step):
        rows = slice(start, min(start + step, len(a.rows)))
        distances = a.centred[rows] @ b.centred.T
        distances *= -2
        distances += a.norms[rows, None]
        distances += b.norms
        yield rows, distances


def _error_bound(a: _Set, b: _Set) -> float:
    """How far a block's entry can lie from Σ(a−b)².

    A dot product of D terms is within D ε ‖a‖‖b‖, and ‖a‖‖b‖ ≤ (‖a‖² + ‖b‖²)/2; the norms and
    the direct sum add as much again, and centring ε per coordinate of what is left.
    """
    terms: int = a.rows.shape[1] + 8
    return 4 * terms * _EPS * float(a.norms.max() + b.norms.max())


def _pairwise(a: NDArray[Any], b: NDArray[Any], i: Ints, j: Ints) -> Floats:
    """Σ (a[i] − b[j])² in float64, as many pairs at a time as fit a quarter of a block."""
    values = np.empty(len(i))
    step = max(1, BLOCK_BYTES // (8 * 8 * a.shape[1]))
    for start in range(0, len(i), step):
        part = slice(start, start + step)
        difference = a[i[part]].astype(np.float64)
        difference -= b[j[part]]
        np.square(difference, out=difference)
        values[part] = difference.sum(axis=1)
    return values


def _slices(counts: Ints, limit: int) -> Iterator[slice]:
    """Cut the rows so that each part's counts add up to about ``limit`` at most."""
    start, total = 0, 0
    for row, count in enumerate(counts.tolist()):
        if row > start and total + count > limit:
            yield slice(start, row)
            start, total = row, 0
        total += count
    yield slice(start, len(counts))
