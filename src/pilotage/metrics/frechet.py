"""The Fréchet distance between two sets of features, each taken for a Gaussian.

d² = ‖μ₁−μ₂‖² + tr C₁ + tr C₂ − 2 tr (C₁C₂)^½      (Dowson and Landau, 1982)

"FID" is this number for the pooled features of the 2015 Inception network; in any other features
it is a Fréchet distance of those features and should be called so.

With any factors C₁ = AAᵀ and C₂ = BBᵀ, tr (C₁C₂)^½ is the sum of the singular values of AᵀB. No
square root of a non-symmetric matrix is taken, so that nothing complex or negative can arise, and
covariances without full rank need no regularisation.
"""

from contextlib import suppress

import numpy as np
from numpy.typing import ArrayLike

from pilotage.errors import PilotageError
from pilotage.metrics.arrays import Floats, matrix, same_dims
from pilotage.metrics.moments import Moments

_ROWS = 4096
_EPS = float(np.finfo(np.float64).eps)
_ALLOWED_ERROR = 1e-11  # of the shortcut in _root_trace, relative to tr (C₁C₂)^½


def frechet_distance(
    real: ArrayLike | Moments, fake: ArrayLike | Moments, *, force: bool = False
) -> float:
    """d² between two sets, with covariances over n − 1.

    The distance is biased upwards by sampling, about in proportion to 1/n: compare numbers at equal
    n only.

    Args:
        real: features (N, D), or their moments.
        fake: features (M, D), or their moments.
        force: accept fewer samples than features. The covariance then has no full rank and the
            number says more about n than about the samples.

    Raises:
        PilotageError: if a set has fewer samples than features and ``force`` is not given, has
            fewer than two samples, or if the sets differ in D.
    """
    a, b = _moments(real, "real", force), _moments(fake, "fake", force)
    same_dims(a.dims, b.dims)
    shift = a.mean - b.mean
    c1, c2 = a.covariance, b.covariance
    spread = np.trace(c1) + np.trace(c2) - 2 * _root_trace(c1, c2)
    return float(shift @ shift + max(spread, 0.0))


def _moments(data: ArrayLike | Moments, name: str, force: bool) -> Moments:
    """The moments of ``data``, refused where they are of too few samples."""
    moments = data if isinstance(data, Moments) else Moments.of(data)
    if moments.count < 2:
        raise PilotageError(f"{name} has {moments.count} samples: a covariance takes at least 2.")
    if moments.count < moments.dims and not force:
        raise PilotageError(
            f"{name} has {moments.count} samples of {moments.dims} features: at least "
            f"{moments.dims} are needed, since with fewer the covariance has no full rank and the "
            "distance mostly measures the sample size (force=True computes it all the same)."
        )
    return moments


def _root_trace(c1: Floats, c2: Floats) -> float:
    """tr (C₁C₂)^½, the sum of the singular values of AᵀB.

    They are the roots of the eigenvalues of (AᵀB)(AᵀB)ᵀ, three times faster to get; but a rounding
    error δ of an eigenvalue s² is one of δ/2s of s, so that the shortcut counts only where the sum
    of those is negligible.
    """
    product = _factor(c1).T @ _factor(c2)
    if 0 in product.shape:
        return 0.0
    if product.shape[0] > product.shape[1]:
        product = product.T
    squares = np.linalg.eigvalsh(product @ product.T)
    if squares[0] > 0:
        roots = np.sqrt(squares)
        error = 10 * _EPS * squares[-1] * np.sum(0.5 / roots)
        if error < _ALLOWED_ERROR * roots.sum():
            return float(roots.sum())
    return float(np.linalg.svd(product, compute_uv=False).sum())


def _factor(covariance: Floats) -> Floats:
    """A (D, rank) with AAᵀ = C: Cholesky's, or from eigenvectors where C has no full rank."""
    noise = len(covariance) * _EPS
    with suppress(np.linalg.LinAlgError):
        lower = np.linalg.cholesky(covariance).astype(np.float64, copy=False)
        if np.diag(lower).min() ** 2 > noise * np.diag(covariance).max():
            return lower
    values, vectors = np.linalg.eigh(covariance)
    kept = values > noise * max(values[-1], 0.0)
    root: Floats = vectors[:, kept] * np.sqrt(values[kept])
    return root


def frechet_influence(real: ArrayLike | Moments, fake: ArrayLike) -> Floats:
    """How the distance moves with each sample (M,), for the price of about one more distance.

    Near the sampled moments it moves by the mean over x of

        φ(x) = 2 (μ−μ')·(x−μ) + (x−μ)ᵀ(I − T)(x−μ)

    (but for a constant) for a set with moments μ, C against μ', C' with C' = AAᵀ, held fixed;
    T = A (AᵀCA)^−½ Aᵀ is the optimal transport between the two. So the standard error is that of
    the mean of φ (the delta method), which agrees with a jackknife. The bootstrap is no choice
    here: repeated samples bias the distance upwards and, with n not far above D, its spread too.
    Where both sets are of one distribution (the floor) the distance is quadratic in the deviations,
    and the error up to 1.6 times too large.

    Args:
        real: features (N, D), or their moments.
        fake: features (M, D).

    Raises:
        PilotageError: if a set is too small, or the sets differ in D.
    """
    rows = matrix(fake, "fake")
    own, other = Moments.of(rows), real if isinstance(real, Moments) else Moments.of(real)
    same_dims(other.dims, own.dims)
    shift = 2 * (own.mean - other.mean)
    bend = np.eye(own.dims) - _transport(own.covariance, other.covariance)
    phi = np.empty(len(rows))
    for start in range(0, len(rows), _ROWS):
        centred = rows[start : start + _ROWS] - own.mean
        phi[start : start + _ROWS] = centred @ shift
        phi[start : start + _ROWS] += np.einsum("nd,nd->n", centred @ bend, centred)
    return phi


def _transport(own: Floats, other: Floats) -> Floats:
    """T = A (AᵀCA)^−½ Aᵀ for C = ``own`` and AAᵀ = ``other``, (D, D)."""
    a = _factor(other)
    values, vectors = np.linalg.eigh(a.T @ own @ a)
    kept = values > len(values) * np.finfo(np.float64).eps * values.max(initial=0.0)
    root: Floats = (a @ vectors[:, kept]) / values[kept] ** 0.25
    return root @ root.T
