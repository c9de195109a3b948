"""How many of the known modes of the data the samples reach, and how evenly."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pilotage.errors import PilotageError
from pilotage.metrics.arrays import Floats, whole


class ModeCoverage(NamedTuple):
    """Modes with at least one sample, and KL(samples ‖ data) over the modes, in nats."""

    hit: int
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
    return q / q.sum()
