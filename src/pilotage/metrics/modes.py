"""How many of the known modes of the data the samples reach, and how evenly."""

from numbers import Real
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pilotage.errors import PilotageError
from pilotage.metrics.arrays import Floats, matrix, whole
from pilotage.metrics.features import Array


class ModeCoverage(NamedTuple):
    """Modes with at least one sample, and KL(samples ‖ data) over the modes, in nats."""

    hit: int
    kl: float


class GaussianCoverage(NamedTuple):
    """Gaussian modes that points reach.

    Attributes:
        hit: modes with at least one point that is theirs and near them.
        within: share of points that are near a mode.
        kl: KL(samples ‖ data) over the modes, in nats.
    """

    hit: int
    within: float
    kl: float


def mode_coverage(
    labels: ArrayLike, modes: int, proportions: ArrayLike | None = None
) -> ModeCoverage:
    """Modes hit, and KL(p ‖ q) = Σ_k p_k log(p_k / q_k) in nats.

    p is the histogram of the samples' modes and q that of the data: the direction and the counting
    (one sample is a hit) of the stacked-MNIST tables in the GAN literature. A missed mode adds
    nothing to the sum itself, so that all samples in one of K even modes give log K. Sampling alone
    makes KL about (K − 1) / 2N.

    Args:
        labels: (N,), the mode 0..modes−1 that a classifier assigns to each sample.
        modes: K.
        proportions: q, (K,), shares or counts; even if not given.

    Raises:
        PilotageError: if a label is not one of the modes, or ``proportions`` does not fit.
    """
    modes = whole(modes, "modes", 1)
    labels = np.asarray(labels)
    if labels.ndim != 1 or not labels.size or labels.dtype.kind not in "iu":
        raise PilotageError(
            f"labels are {labels.dtype} of shape {labels.shape}: they must be whole numbers (N,)."
        )
    if labels.min() < 0 or labels.max() >= modes:
        raise PilotageError(
            f"labels go from {labels.min()} to {labels.max()}: they must be 0 to {modes - 1}."
        )
    counts = np.bincount(labels, minlength=modes)
    q = _proportions(proportions, modes)
    p = counts / len(labels)
    seen = counts > 0
    with np.errstate(divide="ignore"):
        kl = float(np.sum(p[seen] * np.log(p[seen] / q[seen])))  # infinite where q is 0
    return ModeCoverage(int(seen.sum()), max(kl, 0.0))


def mode_kl_influence(labels: Array, proportions: Array) -> Floats:
    """How the KL divergence of `mode_coverage` moves with each sample (N,): log(p / q).

    Args:
        labels: (N,), the mode 0..K−1 of each sample.
        proportions: q, (K,), shares.
    """
    p = np.bincount(labels, minlength=len(proportions)) / len(labels)
    with np.errstate(divide="ignore"):
        found: Floats = np.log(p[labels] / proportions[labels])
    return found


def gaussian_modes(
    points: ArrayLike, means: ArrayLike, std: float, within: float = 3.0
) -> GaussianCoverage:
    """Modes of an even mixture of Gaussians that points hit, how many points are near, and KL.

    Each point belongs to the mode whose mean is nearest, and is near it if the distance is at most
    ``within`` standard deviations; of the mixture's own points in the plane, 1 − e^{−9/2} = 98.9%
    are near at 3. KL counts every point for its mode, near or not, as `mode_coverage` does.

    Args:
        points: samples (N, D).
        means: of the modes (M, D).
        std: standard deviation of a coordinate about its mean, the same for all.
        within: how many of them are near.

    Raises:
        PilotageError: if an array is not finite or does not fit, or a number is not positive.
    """
    points, means = matrix(points, "points"), matrix(means, "means")
    if points.shape[1] != means.shape[1]:
        raise PilotageError(
            f"points have {points.shape[1]} coordinates and means {means.shape[1]}: "
            "both must have as many."
        )
    for name, value in (("std", std), ("within", within)):
        if not isinstance(value, Real) or not 0 < value < np.inf:
            raise PilotageError(f"{name} is {value!r}: it must be a positive number.")
    nearest, distance = _nearest(points, means)
    near = distance <= within * std
    hit = len(np.unique(nearest[near]))
    return GaussianCoverage(hit, float(near.mean()), mode_coverage(nearest, len(means)).kl)


def _nearest(points: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, Floats]:
    """The number of each point's nearest mean (N,), and its distance (N,)."""
    nearest = np.zeros(len(points), np.int64)
    least = np.full(len(points), np.inf)
    for k, mean in enumerate(means.astype(np.float64)):
        squares = ((points - mean) ** 2).sum(axis=1)
        nearest[squares < least] = k
        least = np.minimum(least, squares)
    return nearest, np.sqrt(least)


def _proportions(proportions: ArrayLike | None, modes: int) -> Floats:
    if proportions is None:
        return np.full(modes, 1 / modes)
    q = np.asarray(proportions)
    numbers = q.shape == (modes,) and q.dtype.kind in "fiu"
    if not numbers or not np.isfinite(q).all() or q.min() < 0 or q.sum() <= 0:
        raise PilotageError(
            f"proportions of shape {q.shape}: they must be {modes} numbers, none negative, "
            "with a positive sum."
        )
    shares: Floats = q / q.sum()
    return shares
