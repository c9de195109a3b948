"""Precision, recall, density and coverage: who lies in whose nearest-neighbour balls.

Around each point of a set lies the ball that reaches its k-th nearest neighbour in that set, itself
not counted. All distances are squared Euclidean, and the border belongs to the ball.

**Exact, at the speed of a matrix product.** ‖a‖² + ‖b‖² − 2 a·b of centred rows is within a known
bound of the distance. A comparison that this bound leaves open, such as those with ties and with
duplicates, is decided by Σ(a−b)² of the two rows as they came. So the answer does not depend on the
block size, the order of the arguments or the library behind the product.

**Memory.** Besides its input and a float64 copy of both sets, 8 D (N + M) bytes, a call works in
``BLOCK_BYTES`` (256 MiB), whatever N and M: a block is as many whole rows of the distance matrix as
fit at 24 bytes per entry (at least one row). 50,000 × 50,000 at D = 2048 takes
1.6 GB of copies and 0.27 GB of blocks, in place of 20 GB per distance matrix.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pilotage.errors import PilotageError
from pilotage.metrics.arrays import Floats, matrix, pair, whole

BLOCK_BYTES = 256 * 2**20
_BYTES_PER_ENTRY = 24  # distances, the copy that is partitioned, and masks or pairs
_NEAR = 32
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
    (real_radii,) = sets.real.squared_radii((k,), "real")
    (fake_radii,) = sets.fake.squared_radii((k,), "fake")
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
    (radii,) = sets.real.squared_radii((k,), "real")
    covered = np.zeros(len(sets.real.rows), dtype=bool)
    memberships = 0
    for rows, distances in sets.blocks():
        inside = sets.inside(distances, rows, radii[None, :])
        memberships += int(np.count_nonzero(inside))
        covered |= inside.any(axis=0)
    return DensityCoverage(memberships / (k * len(sets.fake.rows)), float(covered.mean()))


class Neighbours(NamedTuple):
    """What precision, recall, density and coverage are, of fake and of parts of it.

    Attributes:
        in_real: whether each fake point is within the ball of some real point, (M,).
        memberships: real balls around each fake point, over k, (M,).
        recall: see `PrecisionRecall`.
        recall_of_halves: the same of parts of fake, (P,); NaN where one has no more than k points.
        coverage: see `DensityCoverage`.
        coverage_without: the same without each group of fake, (G,), see `_Cover.without`.
    """

    in_real: Bools
    memberships: Floats
    recall: float
    recall_of_halves: Floats
    coverage: float
    coverage_without: Floats


def neighbours(
    real: ArrayLike,
    fake: ArrayLike,
    groups: Ints,
    halves: Bools,
    k: int = 3,
    coverage_k: int = 5,
) -> Neighbours:
    """`precision_recall` and `density_coverage` from the same distances, with parts of fake.

    The parts' distances are up to rounding, and their points have their neighbours among the 32
    nearest of fake, as of halves all but one in ten million do.

    Args:
        real: features (N, D).
        fake: features (M, D).
        groups: the group 0..G−1 of each fake point, (M,).
        halves: which fake points are in each part, (P, M).
        k: of the balls for precision and recall.
        coverage_k: of those for density and coverage.

    Raises:
        PilotageError: as of `precision_recall`.
    """
    sets = _Pair(*pair(real, fake))
    real_radii, wider = sets.real.squared_radii((k, coverage_k), "real")
    (fake_radii,) = sets.fake.squared_radii((k,), "fake")
    half_radii = sets.fake.radii_within(halves, k)
    count = len(sets.real.rows)
    in_real, memberships = np.zeros(len(sets.fake.rows), dtype=bool), np.zeros(len(sets.fake.rows))
    in_fake, in_half = np.zeros(count, dtype=bool), np.zeros((len(halves), count), dtype=bool)
    cover = _Cover(groups, count)
    for rows, distances in sets.blocks():
        in_real[rows] = sets.inside(distances, rows, real_radii[None, :]).any(axis=1)
        in_fake |= sets.inside(distances, rows, fake_radii[rows, None]).any(axis=0)
        inside = sets.inside(distances, rows, wider[None, :])
        memberships[rows] = np.count_nonzero(inside, axis=1) / coverage_k
        for i, j in _entries(inside):
            cover.add(i + rows.start, j)
        sets.reach(distances, half_radii[:, rows], in_half)
    enough = halves.sum(axis=1) > k
    return Neighbours(
        in_real,
        memberships,
        float(in_fake.mean()),
        np.where(enough, in_half.mean(axis=1), np.nan),
        float((cover.counts > 0).mean()),
        cover.without(),
    )


class _Cover:
    """By which fake points, and which groups of them, the balls of N real points are covered."""

    def __init__(self, groups: Ints, count: int) -> None:
        self.groups = groups
        self.held = np.zeros((groups.max() + 1, count), dtype=bool)
        self.counts = np.zeros(count, np.intp)
        self.first, self.last = np.full(count, -1), np.full(count, -1)

    def add(self, i: Ints, j: Ints) -> None:
        """Fake points i, in order, that are within the balls of j."""
        self.held[self.groups[i], j] = True
        self.counts += np.bincount(j, minlength=len(self.counts))
        fresh = self.first[j] < 0
        self.first[j[fresh][::-1]] = i[fresh][::-1]
        self.last[j] = i

    def without(self) -> Floats:
        """Coverage without each group (G,), nearer to the whole's by a factor of the second order.

        A jackknife counts the balls that one point alone covers, and its variance V₁ is too large
        the more are covered: the series V₁ − V₂ + V₃ … goes on with the balls of just two points,
        of three (as Good and Toulmin's of unseen species does), and V₁ − V₂/2 is its Euler sum.
        """
        whole_set = (self.counts > 0).mean()
        kept = (self.held.sum(axis=0) - self.held > 0).mean(axis=1)
        alone = np.bincount(self.first[self.counts == 1], minlength=len(self.groups))
        one = np.sum((alone - alone.mean()) ** 2)
        two = self.counts == 2
        pairs = np.stack([self.first[two], self.last[two]])
        second = np.sum(np.unique(pairs, axis=1, return_counts=True)[1] ** 2)
        factor = np.sqrt(max(1 - second / (2 * one), 0.2)) if one else 1.0
        found: Floats = whole_set - factor * (whole_set - kept)
        return found


def squared_radii(features: ArrayLike, k: int = 3) -> Floats:
    """Squared distance of each row (N, D) to its k-th nearest neighbour, itself not counted."""
    rows = matrix(features, "features")
    (radii,) = _Set(rows, rows.mean(axis=0, dtype=np.float64)).squared_radii((k,), "features")
    return radii


class _Set:
    """Rows as they came, and centred in float64 with their squared norms."""

    def __init__(self, rows: NDArray[Any], centre: Floats) -> None:
        self.rows = rows
        self.centred = rows - centre
        self.norms = np.einsum("nd,nd->n", self.centred, self.centred)

    def squared_radii(self, ks: Sequence[int], name: str) -> list[Floats]:
        """Squared distances to the k-th nearest other row for every k, exact."""
        if len(self.rows) < 2:
            raise PilotageError(f"{name} has 1 sample: nearest neighbours take at least 2.")
        ks = [
            whole(k, "k", 1, len(self.rows) - 1, f", less than the samples of {name}") for k in ks
        ]
        error = _error_bound(self, self)
        radii = [np.empty(len(self.rows)) for _ in ks]
        for rows, distances in self._to_others(-np.inf):  # itself comes first
            for k, found in zip(ks, radii, strict=True):
                found[rows] = self._kth(distances, rows, k, error)
        return radii

    def radii_within(self, parts: Bools, k: int) -> Floats:
        """Squared distances to the k-th nearest other row of the same part, (P, N).

        They are −∞ for rows outside the part, and those to the ``_NEAR``-th row of all at most.
        """
        near = min(_NEAR, len(self.rows) - 1)
        radii = np.full(parts.shape, -np.inf)
        for rows, distances in self._to_others(np.inf):  # itself comes last
            nearest = np.argpartition(distances, near - 1, axis=1)[:, :near]
            values = np.take_along_axis(distances, nearest, axis=1)
            order = np.argsort(values, axis=1)
            nearest = np.take_along_axis(nearest, order, axis=1)
            values = np.take_along_axis(values, order, axis=1)
            for part, found in zip(parts, radii, strict=True):
                reached = np.cumsum(part[nearest], axis=1) >= k
                reached[:, -1] = True
                first = values[np.arange(len(values)), reached.argmax(axis=1)]
                found[rows] = np.where(part[rows], first, -np.inf)
        return radii

    def _to_others(self, itself: float) -> Iterator[tuple[slice, Floats]]:
        """Slices of rows, and their distances to all rows; ``itself`` in the place of 0."""
        for rows, distances in _distance_blocks(self, self):
            within = np.arange(rows.stop - rows.start)
            distances[within, within + rows.start] = itself
            yield rows, distances

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
        for i, j in _entries(unsure):
            values = _pairwise(self.fake.rows, self.real.rows, i + rows.start, j)
            inside[i, j] = values <= radii[i, j]
        return inside

    def reach(self, distances: Floats, radii: Floats, reached: Bools) -> None:
        """Note in ``reached`` (P, N) who lies within the balls of each part, ``radii`` (P, rows).

        Up to rounding: the border belongs to the ball as far as the bound goes.
        """
        radii = np.add(radii, self.error)
        near = distances <= radii.max(axis=0)[:, None]
        for i, j in _entries(near):
            values = distances[i, j]
            for radius, found in zip(radii, reached, strict=True):
                found[j[values <= radius[i]]] = True


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


def _entries(mask: Bools) -> Iterator[tuple[Ints, Ints]]:
    """The rows, in order, and columns of what is true, a quarter of the size at a time."""
    for part in _slices(np.count_nonzero(mask, axis=1), mask.size // 4):
        i, j = np.nonzero(mask[part])
        yield i + part.start, j


def _slices(counts: Ints, limit: int) -> Iterator[slice]:
    """Cut the rows so that each part's counts add up to about ``limit`` at most."""
    start, total = 0, 0
    for row, count in enumerate(counts.tolist()):
        if row > start and total + count > limit:
            yield slice(start, row)
            start, total = row, 0
        total += count
    yield slice(start, len(counts))
