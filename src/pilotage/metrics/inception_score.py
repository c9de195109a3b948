"""The Inception score, for the logits of any classifier."""

from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pilotage.errors import PilotageError
from pilotage.metrics.arrays import Floats, matrix, whole


class InceptionScore(NamedTuple):
    """Mean over the splits and their standard deviation (population, ddof 0).

    The deviation is how much the splits differ, not the standard error of the mean.
    """

    mean: float
    std: float


def inception_score(
    logits: ArrayLike,
    splits: int | None = None,
    by: Literal["number", "size"] = "number",
    shuffle_seed: int | None = None,
) -> InceptionScore:
    """exp E_x KL(p(y|x) ‖ p(y)), the mean over splits of the set.

    p(y) is the mean of p(y|x) within the split, so small splits score lower: state both the number
    of samples and the splits with the score. Two customs are in use: torch-fidelity's
    (``splits=10, by="number", shuffle_seed=2020``) and that of guided-diffusion's evaluator
    (``splits=5000, by="size"``, in order, the last split being what is left).

    Args:
        logits: (N, K), a classifier's outputs before the softmax. Logarithms of probabilities,
            none of them 0, are such logits too.
        splits: how many splits, or how large, according to ``by``; 10 or 5000 if not given.
        by: "number" cuts into ``splits`` parts, "size" into parts of ``splits`` samples each.
        shuffle_seed: the rows are first permuted by ``numpy.random.RandomState(shuffle_seed)``;
            they keep their order if None.

    Raises:
        PilotageError: if ``splits`` does not fit, or a logit is not finite.
    """
    log_p = _log_softmax(matrix(logits, "logits"))
    if shuffle_seed is not None:
        log_p = log_p[np.random.RandomState(shuffle_seed).permutation(len(log_p))]
    bounds = _bounds(len(log_p), splits, by)
    scores = [_score(log_p[low:high]) for low, high in pairwise(bounds)]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def score_influence(logits: ArrayLike) -> Floats:
    """How the score moves with each sample (N,), but for a constant: IS · KL(p(y|x) ‖ p(y)).

    p(y) is the mean over all samples, not over a split: with labels in turn it is what other
    samples would have too, whereas the splits' deviations from it stay where they are.
    """
    log_p = _log_softmax(matrix(logits, "logits"))
    divergence = _divergence(log_p)
    found: Floats = np.exp(divergence.mean()) * divergence
    return found


def _bounds(count: int, splits: int | None, by: str) -> list[int]:
    """Where the splits begin, and the end of the last."""
    if by == "number":
        n = whole(10 if splits is None else splits, "splits", 1, count, ", the number of samples")
        return [i * count // n for i in range(n + 1)]
    if by == "size":
        size = whole(5000 if splits is None else splits, "splits", 1)
        return [*range(0, count, size), count]
    raise PilotageError(f'by is {by!r}: it must be "number" or "size".')


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=1, keepdims=True).astype(np.float64)
    log_p: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_p


def _score(log_p: Floats) -> float:
    return float(np.exp(np.mean(_divergence(log_p))))


def _divergence(log_p: Floats) -> Floats:
    """KL(p(y|x) ‖ p(y)) of each sample (N,)."""
    p = np.exp(log_p)
    mean = p.mean(axis=0)
    with np.errstate(divide="ignore"):
        log_mean = np.where(mean > 0, np.log(mean), 0.0)  # a class that underflows counts 0
    found: Floats = np.sum(p * (log_p - log_mean), axis=1)
    return found
