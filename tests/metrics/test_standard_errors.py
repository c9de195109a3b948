"""Errors of all metrics of the registry against the truth, and how samples are divided for them."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from pilotage.errors import PilotageError
from pilotage.metrics import (
    METRICS,
    Measured,
    Moments,
    compare,
    frechet_distance,
    frechet_influence,
    row_parts,
)
from pilotage.metrics.standard_errors import (
    from_groups,
    from_halves,
    from_influence,
    groups_of,
    halves_of,
    paired_error,
)

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# entries of one function, of which the simulation has one
SAME_KIND = {"attribute_size", "attribute_colour", "attribute_shape", "attribute_count"}
SAME_KIND |= {"attribute_relation", "known_psnr", "caption_diversity"}


@pytest.fixture(scope="module")
def simulation():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        return importlib.import_module("standard_errors")


def test_every_error_is_the_true_one_at_200_samples_and_paired_at_two_w(simulation):
    found = simulation.simulate(simulation.World(1000, 8), 200, 100, ws=(0.0, 0.3))
    assert set(found) == set(METRICS) - {"modes"} - SAME_KIND
    for name, row in found.items():
        assert 0.8 < row.ratio < 1.25, (name, row)
        assert 0.8 < row.paired < 1.25, (name, row)
        assert row.unpaired > 1.5 * row.paired, (name, row)


def test_every_error_is_the_true_one_at_1000_samples(simulation):
    found = simulation.simulate(simulation.World(1500, 8), 1000, 90)
    for name, row in found.items():
        assert 0.8 < row.ratio < 1.25, (name, row)


def test_labels_in_turn_are_divided_evenly_and_others_at_random():
    turn = np.arange(1000) % 10
    for labels in (turn, np.sort(turn)):
        groups = groups_of(1000, labels)
        assert (np.histogram2d(groups, labels, (20, 10))[0] == 5).all()
        halves = halves_of(1000, labels)
        assert all((np.bincount(labels[half]) == 50).all() for half in halves)
        assert len(np.unique(halves, axis=0)) == 20
    uneven = np.minimum(turn, 5)
    assert np.array_equal(groups_of(1000, uneven), groups_of(1000)), "drawn: by their number alone"
    assert np.ptp(np.histogram2d(groups_of(1000), turn, (20, 10))[0]) > 3
    for count in (7, 72, 1001):
        assert np.ptp(np.bincount(groups_of(count, np.arange(count) % 10))) <= 1
        assert np.ptp(halves_of(count).sum(axis=1)) <= 1


def test_replicates_of_a_mean_are_the_means_of_groups():
    values = np.random.default_rng(0).standard_normal(400)
    found, groups = from_influence(values), groups_of(400)
    means = [values[groups == g].mean() for g in range(20)]
    assert found.replicates == pytest.approx(means, rel=1e-5)
    assert found.value == values.mean()
    assert found.error == pytest.approx(np.std(means, ddof=1) / 20**0.5, rel=1e-5)
    shifted = from_influence(values + 7, value=3.0)
    assert shifted.error == pytest.approx(found.error, rel=1e-4)
    assert np.mean(shifted.replicates) == pytest.approx(3, rel=1e-5)
    without = [values[groups != g].mean() for g in range(20)]
    assert from_groups(found.value, without).replicates == pytest.approx(means, rel=1e-5)


def test_the_error_of_halves_is_their_spread():
    halves = np.random.default_rng(0).standard_normal(20)
    found = from_halves(5.0, halves)
    assert found.error == pytest.approx(np.std(halves, ddof=1), rel=1e-5)
    assert np.mean(found.replicates) == pytest.approx(5, rel=1e-5)


def test_a_paired_error_is_that_of_the_difference():
    one, other = np.random.default_rng(0).standard_normal((2, 400))
    a, b, apart = (from_influence(x) for x in (one, one + 0.1 * other, 0.1 * other))
    assert paired_error(a.replicates, b.replicates) == pytest.approx(apart.error, rel=1e-3)
    assert paired_error(a.replicates, a.replicates) == 0
    assert paired_error(a.replicates, [0] * 20) == pytest.approx(a.error)


def test_samples_without_the_number_add_nothing_and_too_few_give_no_error():
    values = np.random.default_rng(0).standard_normal(200)
    holes = np.where(np.arange(200) % 4, values, np.nan)
    found = from_influence(holes)
    assert found.value == pytest.approx(np.nanmean(holes))
    assert found.error == pytest.approx(np.nanstd(holes) / 150**0.5, rel=0.3)
    assert from_influence(np.array([2.0, np.nan, np.nan])) == Measured(2.0)
    assert from_influence(np.array([1.0, np.inf])).error is None
    assert from_halves(0.5, [np.nan] * 20) == Measured(0.5)
    assert from_groups(1.0, [1.0]) == Measured(1.0)


def test_rows_hold_pairs_and_short_replicates():
    parts = row_parts({"a": from_influence(np.arange(400) / 7), "modes": Measured(12)})
    assert parts["metrics"]["modes"] == [12, None]
    assert set(parts["replicates"]) == {"a"}
    assert len(parts["replicates"]["a"]) == 20
    assert all(len(str(x)) <= 8 for x in parts["replicates"]["a"])


@pytest.mark.parametrize("count", [4, 8, 21, 60])
def test_small_and_collapsed_samples_have_numbers_all_the_same(simulation, count):
    world = simulation.World(50, 4)
    sample = world.draw(count, (0.0,), in_turn=True)[0]
    features = sample.features
    same = features._replace(pooled=np.repeat(features.pooled[:1], count, axis=0))
    for side in (sample, sample._replace(features=same)):
        found = compare(world.real, side, force=True)
        assert np.isfinite([x.value for x in found.values()]).all()
        errors = [x.error for x in found.values() if x.error is not None]
        assert np.isfinite(errors).all()
        assert (found["recall"].error is None) == (count < 8)


# --- the Fréchet distance ------------------------------------------------------------------------


def draw(seed, count=400, dims=16, shift=1.0, scale=1.2):
    return shift / np.sqrt(dims) + scale * np.random.default_rng(seed).standard_normal(
        (count, dims)
    )


REAL = np.random.default_rng(77).standard_normal((1000, 16))


def frechet_ratio(**settings):
    """The error of the Fréchet distance over the true one."""
    real = Moments.of(REAL)
    fakes = [draw(seed, **settings) for seed in range(100)]
    true = np.std([frechet_distance(real, fake) for fake in fakes], ddof=1)
    found = [from_influence(frechet_influence(real, fake)).error for fake in fakes]
    return np.sqrt(np.mean(np.square(found))) / true


@pytest.mark.parametrize("settings", [{}, {"scale": 0.7}, {"shift": 3.0}])
def test_the_error_of_the_frechet_distance(settings):
    assert 0.8 < frechet_ratio(**settings) < 1.25


def test_the_error_of_the_frechet_distance_is_on_the_safe_side_at_the_floor():
    assert 1 < frechet_ratio(shift=0.0, scale=1.0) < 1.6


def test_the_influence_is_that_of_leaving_a_sample_out():
    real, fake = Moments.of(REAL), draw(3)
    left = [frechet_distance(real, np.delete(fake, i, axis=0)) for i in range(400)]
    phi, moves = frechet_influence(real, fake), -399 * np.array(left)
    assert np.corrcoef(phi, moves)[0, 1] > 0.99
    assert np.std(moves) == pytest.approx(np.std(phi), rel=0.05)


def test_refusals():
    with pytest.raises(PilotageError, match="real has 16 features and fake has 3"):
        frechet_influence(REAL, draw(0)[:, :3])
    with pytest.raises(PilotageError, match="at least 2"):
        frechet_influence(REAL, draw(0)[:1])


@pytest.mark.parametrize(("one", "other"), [([1.0, 2.0, 3.0], [1.0]), ([], []), ([1.0], [2.0])])
def test_replicates_that_cannot_be_paired_are_refused(one, other):
    with pytest.raises(PilotageError, match="both must be as many, 2 or more"):
        paired_error(one, other)
