"""Standard errors against the true spread over independent draws."""

import numpy as np
import pytest

from pilotage.errors import PilotageError
from pilotage.metrics import (
    Moments,
    PrecisionRecall,
    frechet_distance,
    frechet_standard_error,
    inception_score,
    mmd2,
    precision_recall,
    standard_error,
)

DRAWS, ESTIMATES = 100, 6


def draw(seed, count=400, dims=16, shift=1.0, scale=1.2):
    random = np.random.default_rng(seed)
    real = random.standard_normal((count, dims))
    return real, shift / np.sqrt(dims) + scale * random.standard_normal((count, dims))


def groups(rows, count=20):
    return [Moments.of(rows[i::count]) for i in range(count)]


def ratio(metric, error, **settings):
    """The estimated standard error over the true one."""
    true = np.std([metric(*draw(i, **settings)) for i in range(DRAWS)], axis=0, ddof=1)
    found = [error(*draw(1000 + i, **settings)) for i in range(ESTIMATES)]
    return np.sqrt(np.mean(np.square(found), axis=0)) / true


@pytest.mark.parametrize("data", [lambda rows: rows, groups])
@pytest.mark.parametrize("settings", [{}, {"dims": 64}, {"scale": 0.7}, {"shift": 3.0}])
def test_frechet_error_is_the_true_spread(settings, data):
    found = ratio(
        frechet_distance, lambda a, b: frechet_standard_error(data(a), data(b)), **settings
    )
    assert 1 / 1.5 < found < 1.5


def test_frechet_error_is_on_the_safe_side_at_the_floor():
    found = ratio(frechet_distance, frechet_standard_error, shift=0.0, scale=1.0)
    assert 1 < found < 2


def test_a_fixed_reference_adds_no_error():
    real = Moments.of(draw(77)[0])
    fakes = [draw(i)[1] for i in range(DRAWS)]
    true = np.std([frechet_distance(real, fake) for fake in fakes], ddof=1)
    found = np.mean([frechet_standard_error(real, fake) for fake in fakes[:ESTIMATES]])
    assert 1 / 1.5 < found / true < 1.5
    grouped = np.mean([frechet_standard_error(real, groups(fake)) for fake in fakes[:ESTIMATES]])
    assert grouped == pytest.approx(found, rel=0.2)
    assert found < frechet_standard_error(*draw(77))


def test_frechet_error_is_that_of_a_jackknife():
    real, fake = draw(3)
    without = [frechet_distance(real, np.delete(fake, i, axis=0)) for i in range(len(fake))]
    jackknife = np.sqrt(np.sum((without - np.mean(without)) ** 2))
    assert frechet_standard_error(Moments.of(real), fake) == pytest.approx(jackknife, rel=0.1)


@pytest.mark.parametrize(
    "metric", [mmd2, precision_recall, lambda a, b: inception_score(3 * b, 1).mean]
)
def test_generic_error_is_the_true_spread(metric):
    found = ratio(metric, lambda a, b: standard_error(metric, a, b), count=300)
    assert (found > 1 / 1.5).all()
    assert (found < 1.5).all()


def test_error_of_a_mean():
    rows = np.random.default_rng(0).standard_normal((1000, 1))
    for method in ("halves", "bootstrap"):
        found = standard_error(np.mean, rows, resamples=400, method=method)
        assert found == pytest.approx(1 / np.sqrt(1000), rel=0.1)


def test_errors_are_seeded_and_shaped_like_the_metric():
    a, b = draw(0, count=60)
    first = standard_error(precision_recall, a, b, resamples=5)
    assert isinstance(first, PrecisionRecall)
    assert first == standard_error(precision_recall, a, b, resamples=5)
    assert first != standard_error(precision_recall, a, b, resamples=5, seed=1)
    assert isinstance(standard_error(mmd2, a, b, resamples=5), float)


def test_refusals():
    a, b = draw(0, count=60)
    with pytest.raises(PilotageError, match="method is 'guess'"):
        standard_error(mmd2, a, b, method="guess")
    with pytest.raises(PilotageError, match="resamples is 1"):
        standard_error(mmd2, a, b, resamples=1)
    with pytest.raises(PilotageError, match="at least 4 rows"):
        standard_error(mmd2, a, b[:3])
    with pytest.raises(PilotageError, match="at least one array"):
        standard_error(mmd2)
    with pytest.raises(PilotageError, match="both moments of whole sets"):
        frechet_standard_error(Moments.of(a), Moments.of(b))
    with pytest.raises(PilotageError, match="fake has 1 groups"):
        frechet_standard_error(a, [Moments.of(b), Moments()])
    with pytest.raises(PilotageError, match="16 features and fake has 3"):
        frechet_standard_error(a, b[:, :3])
    with pytest.raises(PilotageError, match="at least 2"):
        frechet_standard_error(a, b[:1])
