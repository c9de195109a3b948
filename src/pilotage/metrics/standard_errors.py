"""Standard errors: how far a metric would move with other samples of the same size.

The real images are held fixed. The samples are divided at random, decided by their number (and
their labels, where these go round in turn) alone, so that rows at the same seeds are divided alike.
A metric gets 20 *replicates* from it, numbers whose mean varies as the metric does: the standard
error is their standard deviation over √20, known to about 16%, and of the difference of two rows
that of the replicates' differences (`paired_error`). Which division suits a metric was decided by
simulation (``benchmarks/standard_errors.py``):

    from_influence  means, and what is nearly one (delta method): groups of samples averaged
    from_groups     the pseudo-values of a jackknife that leaves out one of 20 groups
    from_halves     the metric on 20 random halves
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pilotage.errors import PilotageError
from pilotage.metrics.arrays import Floats
from pilotage.metrics.features import Array

REPLICATES = 20
DIGITS = 6  # of a replicate in a row


class Measured(NamedTuple):
    """A metric of some samples.

    Attributes:
        value: the number.
        error: its standard error, None where it has none.
        replicates: what the error comes from, see `paired_error`; empty where there are none.
    """

    value: float
    error: float | None = None
    replicates: tuple[float, ...] = ()


def paired_error(one: Sequence[float], other: Sequence[float]) -> float:
    """The standard error of the difference of two metrics, from their replicates.

    It is smaller than that of two independent numbers as far as the samples vary together, as those
    of one model at the same seeds do.

    Raises:
        PilotageError: if they are not as many, or fewer than two.
    """
    if len(one) != len(other) or len(one) < 2:
        raise PilotageError(
            f"replicates have lengths {len(one)} and {len(other)}: both must be as many, 2 or more."
        )
    return _error_of(np.subtract(one, other))


def divide(
    count: int, labels: Array | None = None, parts: int = REPLICATES, seed: int = 0
) -> NDArray[np.intp]:
    """The part 0..parts−1 that each of ``count`` samples falls into, at random; sizes differ by 1.

    Labels that are equally frequent were set, not drawn, and other samples would have as many of
    each: then so has every part, as far as it can.
    """
    random = np.random.default_rng(seed)
    rounds = np.tile(np.arange(parts), (-(-count // parts), 1))
    dealt = random.permuted(rounds, axis=1).ravel()[:count]
    if labels is None or np.ptp(np.unique(labels, return_counts=True)[1]) > 1:
        return random.permutation(dealt)
    found = np.empty(count, np.intp)
    found[np.argsort(labels, kind="stable")] = dealt
    return found


def groups_of(count: int, labels: Array | None = None) -> NDArray[np.intp]:
    """The group of each sample (N,), of 20, or N if those are fewer."""
    return divide(count, labels, min(REPLICATES, count))


def halves_of(count: int, labels: Array | None = None) -> NDArray[np.bool_]:
    """Which samples are in each of 20 random halves, (20, N)."""
    return np.stack([divide(count, labels, 2, seed) == 0 for seed in range(REPLICATES)])


def from_influence(
    values: Array, labels: Array | None = None, value: float | None = None
) -> Measured:
    """A mean over samples, or a metric that moves as one does (the delta method).

    Args:
        values: the metric's influence function at each sample (N,), up to a constant; NaN where a
            sample has none.
        labels: of the samples (N,), see `divide`.
        value: the metric; the mean of ``values`` if not given.
    """
    groups, there = groups_of(len(values), labels), ~np.isnan(values)
    size = groups.max() + 1
    left = there.sum() - np.bincount(groups[there], minlength=size)
    mean = values[there].mean()
    value = float(mean if value is None else value)
    with np.errstate(divide="ignore", invalid="ignore"):  # not finite: there will be no error
        sums = np.bincount(groups[there], values[there] - mean, minlength=size)
        return from_groups(value, value - sums / left)


def from_groups(value: float, without: ArrayLike) -> Measured:
    """A metric, from what it is without each of the groups (G,), see `groups_of`.

    The replicates are Tukey's pseudo-values, G · value − (G − 1) · without.
    """
    kept = np.asarray(without, np.float64)
    return _measured(value, value + (len(kept) - 1) * (value - kept))


def from_halves(value: float, halves: ArrayLike) -> Measured:
    """A metric, from what it is of each of the halves (20,), see `halves_of`.

    The spread over half samples is that of the mean of the whole, √(2/n − 1/n) = √(1/n).
    """
    found = np.asarray(halves, np.float64)
    return _measured(value, value + len(found) ** 0.5 * (found - found.mean()))


def _measured(value: float, replicates: Floats) -> Measured:
    if len(replicates) < 2 or not np.isfinite(replicates).all():
        return Measured(float(value))
    kept = tuple(float(f"{x:.{DIGITS}g}") for x in replicates)
    return Measured(float(value), _error_of(np.array(kept)), kept)


def _error_of(replicates: Floats) -> float:
    return float(np.std(replicates, ddof=1) / len(replicates) ** 0.5)
