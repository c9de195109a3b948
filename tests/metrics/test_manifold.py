"""Precision, recall, density, coverage: against plain loops, in direction, in bounded memory."""

import tracemalloc

import numpy as np
import pytest

from pilotage.errors import PilotageError
from pilotage.metrics import density_coverage, manifold, precision_recall, squared_radii
from pilotage.metrics.standard_errors import groups_of, halves_of

MODES = 10 * np.random.default_rng(9).standard_normal((10, 6))


def rows(count, seed=0, dims=6):
    return np.random.default_rng(seed).standard_normal((count, dims))


def samples(count, seed=0, modes=10):
    """Gaussians around the first of ten modes, in turn."""
    return MODES[np.arange(count) % modes] + rows(count, seed)


def lattice(count, seed=0):
    """Small whole numbers: full of duplicates and ties, with distances that are exact."""
    return np.random.default_rng(seed).integers(0, 4, (count, 3)).astype(np.float32)


def plain(real, fake, k):
    """Every distance by Σ(a−b)² at once."""

    def distances(a, b):
        return np.square(a[:, None].astype("f8") - b[None]).sum(axis=-1)

    def radii(a):
        return np.sort(distances(a, a), axis=1)[:, k]

    d = distances(fake, real)
    in_real, in_fake = d <= radii(real), d <= radii(fake)[:, None]
    return (
        (in_real.any(axis=1).mean(), in_fake.any(axis=0).mean()),
        (in_real.sum() / (k * len(fake)), in_real.any(axis=0).mean()),
    )


CASES = [
    pytest.param(rows(120), 1.2 * rows(90, 1), id="gaussian"),
    pytest.param(lattice(150), lattice(110, 1), id="lattice"),
    pytest.param(lattice(100) / 3 + 1e5, lattice(90, 1) / 3 + 1e5, id="far lattice"),
    pytest.param(rows(80), np.repeat(rows(20), 4, axis=0), id="copies"),
    pytest.param(rows(60), np.zeros((50, 6)), id="collapsed"),
    pytest.param(np.ones((40, 6)) / 3, np.ones((30, 6)) / 3, id="both collapsed"),
]


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("block", [1, 20_000, None])
@pytest.mark.parametrize(("real", "fake"), CASES)
def test_blocks_are_the_plain_computation(monkeypatch, real, fake, block, k):
    if block:
        monkeypatch.setattr(manifold, "BLOCK_BYTES", block)
    expected = plain(real, fake, k)
    assert precision_recall(real, fake, k) == pytest.approx(expected[0], abs=1e-15)
    assert density_coverage(real, fake, k) == pytest.approx(expected[1], abs=1e-15)


@pytest.mark.parametrize("block", [1, 20_000, None])
@pytest.mark.parametrize(("real", "fake"), CASES)
def test_parts_are_computed_as_if_they_were_all(monkeypatch, real, fake, block):
    if block:
        monkeypatch.setattr(manifold, "BLOCK_BYTES", block)
    groups, halves = groups_of(len(fake)), halves_of(len(fake))
    found = manifold.neighbours(real, fake, groups, halves)
    assert (found.in_real.mean(), found.recall) == pytest.approx(precision_recall(real, fake))
    numbers = found.memberships.mean(), found.coverage
    assert numbers == pytest.approx(density_coverage(real, fake))
    recall = [precision_recall(real, fake[half]).recall for half in halves]
    assert found.recall_of_halves == pytest.approx(recall)
    without = [density_coverage(real, fake[groups != g]).coverage for g in range(20)]
    distances = np.square(fake[:, None].astype("f8") - real[None]).sum(axis=-1)
    inside = distances <= squared_radii(real, 5)
    alone = inside[:, inside.sum(axis=0) == 1].sum(axis=1)
    two = inside[:, inside.sum(axis=0) == 2].astype(int)
    first, second = alone.var() * len(fake), np.triu(two @ two.T, 1)
    factor = max(1 - (second**2).sum() / (2 * first), 0.2) ** 0.5 if first else 1
    expected = found.coverage - factor * (found.coverage - np.array(without))
    assert found.coverage_without == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 4])
def test_radii_are_bit_for_bit_those_of_a_sort(k):
    close = np.array([[0], [1], [-1 - 4e-16], [1 + 1e-15], [-1 + 3e-16], [3]])
    for data in (rows(100), lattice(100), np.ones((20, 2)), close):
        wide = data.astype("f8")
        distances = np.square(wide[:, None] - wide[None]).sum(axis=-1)
        assert (squared_radii(data, k) == np.sort(distances, axis=1)[:, k]).all()


def test_the_border_belongs_to_the_ball_and_the_next_number_does_not():
    real = np.array([[0.0], [1.0]])
    assert precision_recall(real, [[2.0], [50.0]], k=1).precision == 0.5
    assert precision_recall(real, [[np.nextafter(2, 3)], [50.0]], k=1).precision == 0


@pytest.mark.parametrize("data", [rows(200), lattice(200), 1e4 + rows(200, dims=64), rows(4)])
def test_a_set_and_itself(data):
    assert precision_recall(data, data) == (1, 1)
    assert precision_recall(data, data[::-1]) == (1, 1)
    assert density_coverage(data, data, k=3).coverage == 1


def test_swapping_swaps():
    for real, fake in ((samples(300), samples(200, 1, modes=4)), (lattice(90), lattice(60, 1) + 1)):
        assert precision_recall(real, fake) == precision_recall(fake, real)[::-1]


def test_collapse_to_one_mode():
    real, fake = samples(1000), samples(1000, 1, modes=1)
    precision, recall = precision_recall(real, fake)
    assert precision > 0.8  # as of samples from all modes
    assert recall < 0.12  # the one mode of ten
    narrow = MODES[0] + 0.01 * rows(1000, 2)
    precision, recall = precision_recall(real, narrow)
    assert precision == 1
    assert recall < 0.01
    assert density_coverage(real, narrow).coverage < 0.1


def test_one_distribution_has_density_one():
    density, coverage = density_coverage(rows(2000), rows(2000, 1), k=5)
    assert density == pytest.approx(1, abs=0.1)
    assert coverage == pytest.approx(1 - 2**-5, abs=0.03)


def test_noise_makes_them_worse():
    real, fake = samples(600), samples(600, 1)
    levels = [fake + level * rows(600, 2) for level in (0, 1, 2, 4)]
    precisions = [precision_recall(real, noisy).precision for noisy in levels]
    densities, coverages = zip(*(density_coverage(real, noisy) for noisy in levels), strict=True)
    for values in (precisions, densities, coverages):
        assert list(values) == sorted(values, reverse=True)
        assert values[-1] < values[0] / 2


@pytest.mark.parametrize("collapsed", [False, True])
def test_memory_is_bounded(monkeypatch, collapsed):
    """3000 × 2500 within 4 MiB of blocks, where one matrix of distances takes 57 MiB."""
    monkeypatch.setattr(manifold, "BLOCK_BYTES", 4 * 2**20)
    real = rows(3000).astype("f4")
    fake = np.zeros((2500, 6), "f4") if collapsed else rows(2500, 1).astype("f4")
    copies = 8 * real.shape[1] * (len(real) + len(fake))
    tracemalloc.start()
    precision_recall(real, fake)
    density_coverage(real, fake)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < copies + manifold.BLOCK_BYTES + 2**20


@pytest.mark.parametrize("metric", [precision_recall, density_coverage])
def test_refusals(metric):
    with pytest.raises(PilotageError, match=r"k is 0.*from 1 to 4, less than the samples of real"):
        metric(rows(5), rows(20), k=0)
    with pytest.raises(PilotageError, match="k is 5"):
        metric(rows(5), rows(20), k=5)
    with pytest.raises(PilotageError, match=r"k is 2\.5"):
        metric(rows(5), rows(20), k=2.5)
    with pytest.raises(PilotageError, match="real has 1 sample"):
        metric(rows(1), rows(20))
    with pytest.raises(PilotageError, match="6 features and fake has 5"):
        metric(rows(5), rows(20)[:, :5])
    with pytest.raises(PilotageError, match="NaN"):
        metric(rows(5), np.full((20, 6), np.nan))
