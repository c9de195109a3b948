"""Standard errors: how far a metric would move with other samples of the same size."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from pilotage.errors import PilotageError
from pilotage.metrics.arrays import Floats, matrix, same_dims, whole
from pilotage.metrics.frechet import factor
from pilotage.metrics.moments import Moments

_ROWS = 4096


def standard_error(
    metric: Callable[..., Any],
    *samples: ArrayLike,
    resamples: int = 20,
    seed: int = 0,
    method: Literal["halves", "bootstrap"] = "halves",
) -> Any:
    """The standard error of ``metric(*samples)``, by computing it again on parts of the samples.

    "halves" takes random halves without repetition: for an average, the spread over half samples is
    that of the mean of the whole, √(2/n − 1/n) = √(1/n). "bootstrap" draws as many rows as there
    are, with repetition. Halves are the default because repeated rows are not a smaller dose of the
    same distribution for any of these metrics: they shrink nearest-neighbour balls to nothing, and
    they lift Fréchet and kernel distances. (Against the true spread on Gaussian features, halves
    were within 0.9 to 1.4 and the bootstrap within 0.8 to 3.) Either is too large, up to twice,
    where a distance is near its floor: the change is then quadratic in the deviations, not linear.

    What is to be held fixed stays out of ``samples``, as the reference set of a sweep:
    ``standard_error(lambda fake: precision_recall(real, fake), fake)``. With 20 resamples the
    answer itself is known to about 16%. For the Fréchet distance, ``frechet_standard_error`` is
    much cheaper.

    Args:
        metric: a function of as many arrays as are given, to a number or a named tuple.
        samples: arrays of at least 4 rows, each resampled on its own.
        resamples: how often.
        seed: of the resampling.
        method: "halves" or "bootstrap".

    Returns:
        A float, or a named tuple like the metric's.

    Raises:
        PilotageError: if an argument does not fit, or the metric refuses half of the samples.
    """
    if method not in ("halves", "bootstrap"):
        raise PilotageError(f'method is {method!r}: it must be "halves" or "bootstrap".')
    whole(resamples, "resamples", 2)
    arrays = [np.asarray(rows) for rows in samples]
    if not arrays or min(len(rows) if rows.ndim else 0 for rows in arrays) < 4:
        raise PilotageError("standard_error takes at least one array, each of at least 4 rows.")
    random = np.random.default_rng(seed)

    def part(rows: np.ndarray) -> np.ndarray:
        if method == "halves":
            return rows[random.permutation(len(rows))[: len(rows) // 2]]
        return rows[random.integers(len(rows), size=len(rows))]

    values = [metric(*map(part, arrays)) for _ in range(resamples)]
    spread = np.std(np.asarray(values, dtype=np.float64), axis=0, ddof=1)
    if isinstance(values[0], tuple):
        return type(values[0])(*spread.tolist())
    return float(spread)


def frechet_standard_error(
    real: ArrayLike | Moments | Sequence[Moments], fake: ArrayLike | Moments | Sequence[Moments]
) -> float:
    """The standard error of the Fréchet distance, for the price of about one more distance.

    The delta method: near the sampled moments the distance moves by the mean over x of

        φ(x) = 2 (μ−μ')·(x−μ) + (x−μ)ᵀ(I − T)(x−μ) − tr (I − T) C

    for a set with moments μ, C against μ', C' with C' = AAᵀ; T = A (AᵀCA)^−½ Aᵀ is the optimal
    transport between the two. So the variance is that of φ over n, and the two sets' add up. It
    agrees with a jackknife that computes the distance anew without each of 20 groups. The bootstrap
    is no choice here: repeated samples bias the distance upwards and, with n not far above D, its
    spread too. Nor is this the bias of the distance itself, which does not average out.

    Against the true spread on Gaussian features it was 0.95 to 1.3 times as large; up to 1.6 times
    where both sets are of one distribution (the floor), where it errs on the safe side.

    Args:
        real: features (N, D); or moments of some 20 groups, at least two, into which the samples
            fell at random (not i mod 20 where the labels go round in turn); or moments of the whole
            set, which is then held fixed and adds no error, as the reference set of a sweep.
        fake: the same for the samples.

    Raises:
        PilotageError: if both sets are fixed, a set is too small, or the sets differ in D.
    """
    sides = [_total(real, "real"), _total(fake, "fake")]
    same_dims(sides[0].dims, sides[1].dims)
    variance, free = 0.0, False
    for data, own, other in ((real, *sides), (fake, *sides[::-1])):
        if not isinstance(data, Moments):
            free = True
            variance += _variance(data, own, other)
    if not free:
        raise PilotageError(
            "real and fake are both moments of whole sets: at least one must be features (N, D) "
            "or a list of moments of groups, to tell how much it varies."
        )
    return float(np.sqrt(variance))


def _groups(data: Any) -> bool:
    return isinstance(data, (list, tuple)) and all(isinstance(part, Moments) for part in data)


def _total(data: Any, name: str) -> Moments:
    """Moments of the whole set."""
    if _groups(data):
        filled = sum(part.count > 0 for part in data)
        if filled < 2:
            raise PilotageError(f"{name} has {filled} groups with samples: at least 2 are needed.")
        data = sum(data, Moments())
    return data if isinstance(data, Moments) else Moments.of(matrix(data, name))


def _variance(data: Any, own: Moments, other: Moments) -> float:
    """Variance of the distance due to one set: that of the mean of φ."""
    shift = 2 * (own.mean - other.mean)
    bend = np.eye(own.dims) - _transport(own.covariance, other.covariance)
    if _groups(data):
        parts = [part for part in data if part.count]
        phi = np.array([_influence(part, own, shift, bend) for part in parts])
        shares = np.array([part.count for part in parts]) / own.count
        # each group's mean of φ, whose mean over all is 0; the weights allow for unequal groups
        return float(np.sum((shares * phi) ** 2) * len(parts) / (len(parts) - 1))
    rows = np.asarray(data)
    phi = np.empty(len(rows))
    for start in range(0, len(rows), _ROWS):
        centred = rows[start : start + _ROWS] - own.mean
        phi[start : start + _ROWS] = centred @ shift
        phi[start : start + _ROWS] += np.einsum("nd,nd->n", centred @ bend, centred)
    return float(np.var(phi, ddof=1) / len(phi))


def _influence(part: Moments, own: Moments, shift: Floats, bend: Floats) -> float:
    """The mean of φ over one group."""
    off = part.mean - own.mean
    scatter = np.vdot(bend, part.scatter) / part.count - np.vdot(bend, own.scatter) / own.count
    return float(off @ shift + off @ bend @ off + scatter)


def _transport(own: Floats, other: Floats) -> Floats:
    """T = A (AᵀCA)^−½ Aᵀ for C = ``own`` and AAᵀ = ``other``, (D, D)."""
    a = factor(other)
    values, vectors = np.linalg.eigh(a.T @ own @ a)
    kept = values > len(values) * np.finfo(np.float64).eps * values.max(initial=0.0)
    root = (a @ vectors[:, kept]) / values[kept] ** 0.25
    return root @ root.T
