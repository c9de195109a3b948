"""The kernel distance (KID in Inception features): a squared maximum mean discrepancy."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pilotage.errors import PilotageError
from pilotage.metrics.arrays import Floats, pair, whole
from pilotage.metrics.features import Array

Estimator = Literal["unbiased", "biased", "u-statistic"]
Ints = NDArray[np.integer]


class KernelDistance(NamedTuple):
    """Mean over the subsets and their standard deviation (population, ddof 0).

    The deviation is that of one subset, not the standard error of the mean.
    """

    mean: float
    std: float


def kernel_distance(
    real: ArrayLike,
    fake: ArrayLike,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
    *,
    indices: tuple[ArrayLike, ArrayLike] | None = None,
) -> KernelDistance:
    """The unbiased MMD² with the kernel (x·y/D + 1)³, over random subsets without repetition.

    Unlike the Fréchet distance its expectation does not depend on n, and may be compared across
    sample sizes; it can fall below 0.

    Args:
        real: features (N, D).
        fake: features (M, D).
        subsets: how many.
        subset_size: rows of each set in a subset, at most the smaller of N and M.
        seed: of ``numpy.random.RandomState``, which draws for each subset first rows of ``real``,
            then of ``fake``: torch-fidelity's order.
        indices: rows of ``real`` and of ``fake``, (S, n) each, in the place of random subsets.

    Raises:
        PilotageError: if a set is smaller than ``subset_size``, or the sets differ in D.
    """
    a, b = _sets(real, fake)
    if indices is None:
        indices = random_subsets(len(a), len(b), subsets, subset_size, seed)
    values, _ = subset_distances(a, b, indices)
    return KernelDistance(float(np.mean(values)), float(np.std(values)))


def subset_distances(
    real: ArrayLike, fake: ArrayLike, indices: tuple[ArrayLike, ArrayLike]
) -> tuple[Floats, Floats]:
    """MMD² of each subset (S,), and how their mean moves with each fake sample (M,).

    The latter is the influence function up to a constant: with the real set fixed, the mean
    distance moves as the average of it. Arguments and errors are those of `kernel_distance`.
    """
    a, b = _sets(real, fake)
    i, j = _checked(indices, (len(a), len(b)))
    values, influence = [], np.zeros(len(b))
    for rows, others in zip(i, j, strict=True):
        value, moves = _unbiased(*(x.astype(np.float64) for x in (a[rows], b[others])))
        values.append(value)
        np.add.at(influence, others, (moves - moves.mean()) * (len(b) / (len(i) * len(others))))
    return np.array(values), influence


def random_subsets(
    real: int, fake: int, subsets: int = 100, subset_size: int = 1000, seed: int = 2020
) -> tuple[Ints, Ints]:
    """Rows of sets of so many samples, (subsets, subset_size) each; see `kernel_distance`."""
    subsets = whole(subsets, "subsets", 1)
    size = whole(subset_size, "subset_size", 2, min(real, fake), ", the samples of a set")
    random = np.random.RandomState(seed)
    drawn = [
        [random.choice(count, size, replace=False) for count in (real, fake)]
        for _ in range(subsets)
    ]
    i, j = zip(*drawn, strict=True)
    return np.stack(i), np.stack(j)


def _sets(real: ArrayLike, fake: ArrayLike) -> tuple[Array, Array]:
    """Both sets, of two samples at least."""
    a, b = pair(real, fake)
    if min(len(a), len(b)) < 2:
        raise PilotageError("a set has 1 sample: a kernel distance takes at least 2.")
    return a, b


def _checked(indices: tuple[ArrayLike, ArrayLike], counts: tuple[int, int]) -> list[Ints]:
    """The rows of both sets, refused where they are not rows or not as many subsets."""
    both = [np.asarray(rows) for rows in indices]
    whole_rows = all(rows.ndim == 2 and rows.size and rows.dtype.kind in "iu" for rows in both)
    if not whole_rows or len(both) != 2 or len(both[0]) != len(both[1]):
        raise PilotageError(
            f"indices have shapes {[rows.shape for rows in both]}: they must be rows of real and "
            "of fake, whole numbers (S, n) each, for as many subsets S."
        )
    for rows, count, name in zip(both, counts, ("real", "fake"), strict=True):
        if rows.min() < 0 or rows.max() >= count:
            raise PilotageError(
                f"indices of {name} go from {rows.min()} to {rows.max()}: "
                f"they must be 0 to {count - 1}."
            )
    return both


def mmd2(real: ArrayLike, fake: ArrayLike, estimator: Estimator = "unbiased") -> float:
    """MMD² of two whole sets with the kernel (x·y/D + 1)³.

    "biased" averages all pairs and is at least 0; "unbiased" leaves out each sample's pair with
    itself; "u-statistic" also leaves out the pairs (x_i, y_i) and takes sets of equal size. The
    first and the last are 0 for a set against itself.

    Args:
        real: features (N, D).
        fake: features (M, D).
        estimator: one of the three (Gretton et al., 2012, equations 3 to 5).

    Raises:
        PilotageError: for another estimator, a set of one sample, or unequal sizes where the
            estimator takes equal ones.
    """
    a, b = (x.astype(np.float64, copy=False) for x in pair(real, fake))
    n, m = len(a), len(b)
    if estimator == "biased":
        return float(_kernel(a, a).mean() + _kernel(b, b).mean() - 2 * _kernel(a, b).mean())
    if min(n, m) < 2:
        raise PilotageError(f"a set has {min(n, m)} sample: this estimator takes at least 2.")
    if estimator == "unbiased":
        return _unbiased(a, b)[0]
    if estimator == "u-statistic":
        if n != m:
            raise PilotageError(f"sets of {n} and {m}: the u-statistic takes equal sizes.")
        kernels = (_kernel(a, a), _kernel(b, b), _kernel(a, b))
        return float(np.dot((1, 1, -2), [_off_diagonal(k) for k in kernels]))
    raise PilotageError(
        f'estimator is {estimator!r}: it must be "unbiased", "biased" or "u-statistic".'
    )


def _unbiased(a: Floats, b: Floats) -> tuple[float, Floats]:
    """The unbiased MMD², and 2 (E k(y, b) − E k(y, a)) of each row y of b."""
    within, between = _kernel(b, b), _kernel(a, b)
    own = (within.sum(axis=1) - np.diag(within)) / (len(b) - 1)
    value = _off_diagonal(_kernel(a, a)) + own.mean() - 2 * between.mean()
    return float(value), 2 * (own - between.mean(axis=0))


def _kernel(a: Floats, b: Floats) -> Floats:
    k = a @ b.T
    k /= a.shape[1]
    k += 1
    return k * k * k


def _off_diagonal(k: Floats) -> float:
    """Mean of the entries off the diagonal."""
    n = len(k)
    return float(k.sum() - np.trace(k)) / (n * (n - 1))
