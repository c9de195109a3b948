"""Inception score and mode coverage, by hand."""

import subprocess
import sys

import numpy as np
import pytest

from pilotage.errors import PilotageError
from pilotage.metrics import inception_score, mode_coverage

LOGITS = np.random.default_rng(0).standard_normal((103, 7)) * 3


def by_hand(logits):
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return np.exp(np.mean([np.sum(row * np.log(row / p.mean(axis=0))) for row in p]))


def test_extremes():
    assert inception_score(np.zeros((20, 5))) == pytest.approx((1, 0))
    sure = 1000.0 * np.eye(5)[np.arange(50) % 5]
    assert inception_score(sure) == pytest.approx((5, 0))
    assert inception_score(sure[::5], 1) == pytest.approx((1, 0))


def test_splits_by_number():
    scores = [by_hand(LOGITS[i * 103 // 4 : (i + 1) * 103 // 4]) for i in range(4)]
    ours = inception_score(LOGITS, 4)
    assert ours.mean == pytest.approx(np.mean(scores), rel=1e-12)
    assert ours.std == pytest.approx(np.std(scores), rel=1e-12)


def test_splits_by_size():
    scores = [by_hand(LOGITS[:50]), by_hand(LOGITS[50:100]), by_hand(LOGITS[100:])]
    assert inception_score(LOGITS, 50, by="size").mean == pytest.approx(np.mean(scores), rel=1e-12)
    assert inception_score(LOGITS, by="size") == pytest.approx((by_hand(LOGITS), 0), rel=1e-12)


def test_logits_are_shift_invariant_and_log_probabilities_serve():
    assert inception_score(LOGITS + 1e3) == pytest.approx(inception_score(LOGITS), rel=1e-9)
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    assert inception_score(np.log(p)) == pytest.approx(inception_score(LOGITS), rel=1e-12)


def test_direction():
    """Blurred decisions and dropped classes lower the score."""
    scores = [inception_score(LOGITS * sharp, 1).mean for sharp in (0.1, 0.5, 1, 3)]
    assert scores == sorted(scores)
    one = LOGITS[LOGITS.argmax(axis=1) == 0]
    assert inception_score(one, 1).mean < inception_score(LOGITS, 1).mean / 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"splits": 0}, r"splits is 0.*from 1 to 103"),
        ({"splits": 104}, "splits is 104"),
        ({"splits": 0, "by": "size"}, "splits is 0"),
        ({"splits": True}, "splits is True"),
        ({"by": "weight"}, "by is 'weight'"),
    ],
)
def test_score_refusals(settings, message):
    with pytest.raises(PilotageError, match=message):
        inception_score(LOGITS, **settings)


def test_score_refuses_what_is_not_finite():
    with pytest.raises(PilotageError, match="NaN or an infinity"):
        inception_score(np.where(LOGITS > 2, np.inf, LOGITS))


# --- modes ---------------------------------------------------------------------------------------


def test_coverage_by_hand():
    assert mode_coverage([0, 1, 2, 3], 4) == (4, 0)
    assert mode_coverage([2] * 9, 4) == pytest.approx((1, np.log(4)))
    expected = 0.75 * np.log(0.75 * 3) + 0.25 * np.log(0.25 * 3)
    assert mode_coverage([0, 0, 0, 2], 3) == pytest.approx((2, expected))


def test_coverage_against_proportions():
    assert mode_coverage([0, 0, 0, 1], 2, [0.75, 0.25]) == pytest.approx((2, 0))
    assert mode_coverage([0, 0, 0, 1], 2, [300, 100]) == pytest.approx((2, 0))
    assert mode_coverage([0, 1], 2, [0.9, 0.1]).kl == pytest.approx(
        0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1)
    )
    assert mode_coverage([0, 1], 3, [1, 1, 0]) == (2, 0)
    assert mode_coverage([0, 2], 3, [1, 1, 0]).kl == np.inf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 4], 4), "0 to 3"),
        (([-1, 2], 4), "0 to 3"),
        (([], 4), "whole numbers"),
        (([0.5], 4), "whole numbers"),
        (([0], 0), "modes is 0"),
        (([0], 2, [1.0]), "2 numbers"),
        (([0], 2, [1.0, -1.0]), "none negative"),
        (([0], 2, ["a", "b"]), "2 numbers"),
    ],
)
def test_coverage_refusals(arguments, message):
    with pytest.raises(PilotageError, match=message):
        mode_coverage(*arguments)


def test_importing_metrics_imports_numpy_alone():
    code = (
        "import sys, pilotage.metrics; "
        "print(*sorted({'torch', 'scipy', 'sklearn', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
