"""However rows are cut, ordered and merged, the moments are the same."""

import numpy as np
import pytest

from pilotage.errors import PilotageError
from pilotage.metrics import Moments

ROWS = (100 + np.random.default_rng(0).standard_normal((1000, 12)) * np.arange(1, 13)).astype("f4")


def assert_same(ours, other=None):
    other = other or Moments.of(ROWS)
    assert ours.count == other.count
    np.testing.assert_allclose(ours.mean, other.mean, rtol=1e-12)
    scale = np.abs(other.covariance).max()
    np.testing.assert_allclose(ours.covariance, other.covariance, rtol=0, atol=1e-12 * scale)


def test_numpy_agrees():
    wide = ROWS.astype("f8")
    np.testing.assert_allclose(Moments.of(ROWS).mean, wide.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(Moments.of(ROWS).covariance, np.cov(wide.T), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("size", [1, 7, 64, 999, 1000])
def test_chunks(size):
    moments = Moments()
    for start in range(0, len(ROWS), size):
        assert moments.update(ROWS[start : start + size]) is moments
    assert_same(moments)


@pytest.mark.parametrize("seed", range(4))
def test_merging_in_any_order(seed):
    random = np.random.default_rng(seed)
    cuts = np.sort(random.integers(0, len(ROWS) + 1, 9))
    parts = [Moments.of(part) if len(part) else Moments() for part in np.split(ROWS, cuts)]
    while len(parts) > 1:
        i, j = random.permutation(len(parts))[:2]
        both = parts[i] + parts[j]
        parts = [part for n, part in enumerate(parts) if n not in (i, j)] + [both]
    assert_same(parts[0])


def test_merging_changes_neither_operand():
    a, b = Moments.of(ROWS[:10]), Moments.of(ROWS[10:])
    both = a + b
    both.update(ROWS)
    assert_same(a, Moments.of(ROWS[:10]))
    assert_same(b, Moments.of(ROWS[10:]))
    assert_same(sum([a, b], Moments()))


def test_a_large_offset_costs_no_digits():
    rows = np.random.default_rng(1).standard_normal((500, 3))
    far = Moments()
    for row in rows + 1e6:
        far.update(row[None])
    np.testing.assert_allclose(far.covariance, np.cov(rows.T), rtol=1e-8, atol=1e-9)


def test_refusals():
    with pytest.raises(PilotageError, match="12 features and fake has 3"):
        Moments.of(ROWS).update(ROWS[:, :3])
    with pytest.raises(PilotageError, match="12 features and fake has 3"):
        _ = Moments.of(ROWS) + Moments.of(ROWS[:, :3])
    with pytest.raises(PilotageError, match="1 samples"):
        _ = Moments.of(ROWS[:1]).covariance
