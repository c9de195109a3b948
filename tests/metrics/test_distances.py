"""Fréchet and kernel distances: closed forms, direction, and what is refused."""

import numpy as np
import pytest
from scipy import linalg

from pilotage.errors import PilotageError
from pilotage.metrics import Moments, frechet_distance, kernel_distance, mmd2

D = 8


def rows(count, seed=0, dims=D):
    return np.random.default_rng(seed).standard_normal((count, dims))


def mixing(seed):
    return np.eye(D) + 0.3 * rows(D, seed)


def by_sqrtm(a, b):
    """The textbook formula."""
    c1, c2 = np.cov(a.T), np.cov(b.T)
    root = linalg.sqrtm(c1 @ c2).real
    return np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(c1 + c2 - 2 * root)


@pytest.mark.parametrize("seed", range(3))
def test_frechet_is_the_textbook_formula(seed):
    a, b = rows(300, seed) @ mixing(1), rows(200, seed + 10) @ mixing(2) + 0.5
    assert frechet_distance(a, b) == pytest.approx(by_sqrtm(a, b), rel=1e-10)
    assert frechet_distance(b, a) == pytest.approx(by_sqrtm(a, b), rel=1e-10)
    assert frechet_distance(Moments.of(a), Moments.of(b)) == frechet_distance(a, b)


def test_frechet_converges_to_the_closed_form():
    """Commuting covariances: ‖μ₁−μ₂‖² + Σ (s₁ − s₂)²; the error falls about as 1/n."""
    s1, s2, shift = np.linspace(0.5, 2, D), np.linspace(1.5, 0.2, D), 0.3
    turn, _ = np.linalg.qr(rows(D, 5))
    exact = D * shift**2 + np.sum((s1 - s2) ** 2)

    def error(count):
        pairs = ((rows(count, 2 * i), rows(count, 2 * i + 1)) for i in range(8))
        found = [frechet_distance(a * s1 @ turn, (b * s2 + shift) @ turn) for a, b in pairs]
        return abs(np.mean(found) - exact) / exact

    assert error(20_000) < 0.005
    assert error(20_000) < error(200) / 5


def test_frechet_of_a_set_and_itself_is_zero():
    for data in (
        rows(500),
        1000 * rows(500) @ mixing(3),
        rows(500) * 10.0 ** -np.arange(D),  # eigenvalues over 14 decades
        np.maximum(rows(400, dims=64) - 2.5, 0),  # mostly dead features
    ):
        scale = max(1.0, np.trace(np.cov(data.T)))
        assert abs(frechet_distance(data, data)) < 1e-6
        assert abs(frechet_distance(data, data[::-1].copy())) < 1e-9 * scale
    few = rows(20, dims=100)
    assert frechet_distance(few, few, force=True) < 1e-6
    constant = np.ones((10, 4))
    assert frechet_distance(constant, constant) == 0
    assert frechet_distance(constant, constant + 2) == 16


def test_frechet_without_full_rank():
    """Samples in complementary subspaces: the cross term vanishes."""
    a, b = rows(300), rows(300, 1)
    a[:, : D // 2] = 0
    b[:, D // 2 :] = 0
    expected = (
        np.sum((a.mean(0) - b.mean(0)) ** 2) + a.var(0, ddof=1).sum() + b.var(0, ddof=1).sum()
    )
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


def test_frechet_refuses_fewer_samples_than_features():
    with pytest.raises(PilotageError, match=r"fake has 7 samples of 8 features.*full rank"):
        frechet_distance(rows(8), rows(7))
    with pytest.raises(PilotageError, match="real has 7 samples"):
        frechet_distance(Moments.of(rows(7)), rows(8))
    assert frechet_distance(rows(8), rows(7), force=True) > 0
    with pytest.raises(PilotageError, match="at least 2"):
        frechet_distance(rows(8), rows(1), force=True)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance, mmd2])
@pytest.mark.parametrize(
    ("fake", "message"),
    [
        (rows(2000)[:, :3], "8 features and fake has 3"),
        (rows(2000)[0], r"\(8,\)"),
        (rows(0), r"\(0, 8\)"),
        (np.where(np.arange(D) < 7, rows(2000), np.nan), "NaN"),
        (np.full((10, D), "a"), "real numbers"),
    ],
)
def test_bad_features(distance, fake, message):
    with pytest.raises(PilotageError, match=message):
        distance(rows(2000), fake)


@pytest.mark.parametrize(
    "distance",
    [frechet_distance, lambda a, b: kernel_distance(a, b, 10, 300).mean, mmd2],
)
def test_noise_makes_every_distance_worse(distance):
    real, fake = rows(1000) @ mixing(1), rows(1000, 1) @ mixing(1)
    noisy = [distance(real, fake + level * rows(1000, 2)) for level in (0, 0.5, 1, 2)]
    assert noisy == sorted(noisy)
    assert noisy[0] < noisy[-1] / 10


# --- kernel distance -----------------------------------------------------------------------------


def plain_kernel(a, b):
    return np.array([[(x @ y / D + 1) ** 3 for y in b] for x in a])


def test_estimators_are_their_sums():
    a, b = rows(6), rows(6, 1) + 0.5
    xx, yy, xy = plain_kernel(a, a), plain_kernel(b, b), plain_kernel(a, b)
    off = ~np.eye(6, dtype=bool)
    assert mmd2(a, b, "biased") == pytest.approx(xx.mean() + yy.mean() - 2 * xy.mean())
    assert mmd2(a, b) == pytest.approx(xx[off].mean() + yy[off].mean() - 2 * xy.mean())
    u = xx[off].mean() + yy[off].mean() - 2 * xy[off].mean()
    assert mmd2(a, b, "u-statistic") == pytest.approx(u)


def test_kernel_distance_of_a_set_and_itself():
    a = rows(100)
    assert abs(mmd2(a, a, "biased")) < 1e-12
    assert abs(mmd2(a, a, "u-statistic")) < 1e-12


def test_kernel_distance_has_no_bias():
    found = [mmd2(rows(30, 2 * i), rows(30, 2 * i + 1)) for i in range(300)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))


def test_subsets_are_seeded():
    a, b = rows(200), rows(150, 1)
    first = kernel_distance(a, b, 5, 50, seed=1)
    assert first == kernel_distance(a, b, 5, 50, seed=1)
    assert first != kernel_distance(a, b, 5, 50, seed=2)
    everything = (np.arange(200)[None], np.arange(150)[None])
    assert kernel_distance(a, b, indices=everything) == (mmd2(a, b), 0.0)


def test_kernel_refusals():
    with pytest.raises(PilotageError, match=r"subset_size is 1000.*from 2 to 50"):
        kernel_distance(rows(100), rows(50))
    with pytest.raises(PilotageError, match="subsets is 0"):
        kernel_distance(rows(100), rows(50), subsets=0)
    with pytest.raises(PilotageError, match="u-statistic takes equal sizes"):
        mmd2(rows(5), rows(6), "u-statistic")
    with pytest.raises(PilotageError, match="estimator is 'best'"):
        mmd2(rows(5), rows(5), "best")
    with pytest.raises(PilotageError, match="at least 2"):
        mmd2(rows(1), rows(5))
    with pytest.raises(PilotageError, match="at least 2"):
        kernel_distance(rows(1), rows(5))
    for indices in (([[0, 5]], [[0, 1]]), ([[0, 1]], [[0], [1]]), ([0, 1], [0, 1])):
        with pytest.raises(PilotageError, match="indices"):
            kernel_distance(rows(5), rows(5), indices=indices)
