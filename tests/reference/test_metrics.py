"""Our metrics against torch-fidelity and guided-diffusion's evaluator, whatever was recorded.

The settings come from the file: those that are only in the names of results are read from there.
"""

import re

import numpy as np
import pytest

from pilotage import metrics

from .reference import Found, each, every_folder

IS_EVALUATOR = re.compile(r"(?:default_)?split_size_(?P<size>\d+)(?:_.*)?")
IS_FIDELITY = re.compile(r"splits(?P<splits>\d+)_shuffle(?P<shuffle>[01])")
RANK_DEFICIENT = re.compile(r".*_first(?P<real>\d+)_first(?P<fake>\d+)_rank_deficient")
RECALL_FIDELITY = re.compile(r"prec_recall_torch_fidelity_k(?P<k>\d+)")
MMD = re.compile(r"mmd2_first(?P<count>\d+)_(?P<estimator>.+)")


CUBIC = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3}
CUBIC |= {"kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}

recorded = every_folder("metrics")


def every_result(pattern, *path):
    """Run a test for each recorded result whose name fits, with the match."""

    def listed(found):
        known = found[0]["results"]
        for key in path:
            known = known.get(key, {})
        matches = ((name, re.fullmatch(pattern, name)) for name in known)
        return [(name, match) for name, match in matches if match]

    return each(
        "metrics", listed, "name", "match", what=f"result {getattr(pattern, 'pattern', pattern)}"
    )


@pytest.fixture(scope="module")
def arrays(recorded):
    tensors = recorded[1]
    return Found({name: t.numpy() for name, t in tensors.items()}, tensors.where)


@pytest.fixture(scope="module")
def sets(arrays):
    return arrays["in/real"], arrays["in/fake"]


@pytest.fixture(scope="module")
def results(recorded):
    facts = recorded[0]
    return Found(facts["results"], f"{facts.where}'s results")


# --- Fréchet distance ----------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["real", "fake"])
def test_moments(arrays, side):
    rows, mean, sigma = (arrays[f"{of}{side}"] for of in ("in/", "out/mu_", "out/sigma_"))
    moments = metrics.Moments()
    for start in range(0, len(rows), 37):
        moments.update(rows[start : start + 37])
    np.testing.assert_allclose(moments.mean, mean, rtol=0, atol=1e-6 * abs(mean).max())
    np.testing.assert_allclose(moments.covariance, sigma, rtol=0, atol=1e-6 * abs(sigma).max())


@every_result(r"fid_(evaluator|torch_fidelity)_float\d+(_features)?")
def test_frechet_distance(results, sets, name, match):
    ours = metrics.frechet_distance(*sets)
    assert ours == pytest.approx(results[name], rel=1e-6, abs=1e-9 * spread(sets[0]))


@every_result(r"fid_.+_same_.+")
def test_frechet_distance_to_itself(results, sets, name, match):
    real, _ = sets
    ours = metrics.frechet_distance(real, real)
    assert ours == pytest.approx(results[name], rel=0, abs=1e-9 * spread(real))


def spread(rows):
    """The sum of the variances, from which a Fréchet distance is a difference."""
    return rows.var(axis=0, dtype=np.float64).sum()


@every_result(RANK_DEFICIENT)
def test_frechet_distance_without_full_rank(results, sets, name, match):
    real, fake = sets[0][: int(match["real"])], sets[1][: int(match["fake"])]
    ours = metrics.frechet_distance(real, fake, force=True)
    assert ours == pytest.approx(results[name], rel=1e-5)


# --- Inception score -----------------------------------------------------------------------------


@every_result(".+", "is_evaluator")
def test_inception_score_of_the_evaluator(results, arrays, name, match):
    size = IS_EVALUATOR.fullmatch(name)
    if not size and name != "one_split":
        pytest.skip(f"{name} names no split size")
    logits = arrays["in/logits"]
    ours = metrics.inception_score(logits, int(size["size"]) if size else len(logits), by="size")
    assert ours.mean == pytest.approx(results["is_evaluator"][name], rel=1e-9)


@every_result(IS_FIDELITY, "is_torch_fidelity")
def test_inception_score_of_torch_fidelity(results, arrays, name, match):
    seed = fidelity_seed(results) if match["shuffle"] == "1" else None
    ours = metrics.inception_score(
        arrays["in/logits"], int(match["splits"]), by="number", shuffle_seed=seed
    )
    theirs = results["is_torch_fidelity"][name]
    assert ours.mean == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
    assert ours.std == pytest.approx(theirs["inception_score_std"], rel=1e-9, abs=1e-12)


def fidelity_seed(results):
    """torch-fidelity's seed: the same for all its metrics."""
    return results["kid_torch_fidelity"]["settings"]["rng_seed"]


PERMUTATION = "out/isc_permutation_seed"


@each(
    "metrics",
    lambda found: [n for n in found[1] if n.startswith(PERMUTATION)],
    "name",
    what=PERMUTATION,
)
def test_shuffled_score_is_that_of_the_recorded_order(arrays, name):
    shuffled = metrics.inception_score(arrays["in/logits"][arrays[name]])
    seed = int(name.removeprefix(PERMUTATION))
    assert metrics.inception_score(arrays["in/logits"], shuffle_seed=seed) == shuffled


# --- precision and recall ------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["real", "fake"])
def test_radii(recorded, arrays, side):
    ours = metrics.squared_radii(arrays[f"in/{side}"], recorded[0]["k"])
    theirs = arrays[f"out/radii_sq_{side}"].ravel()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)  # recorded in float32


@every_result("float.+", "prec_recall_evaluator")
def test_precision_and_recall_of_the_evaluator(recorded, results, sets, name, match):
    precision = np.finfo(name.removesuffix("_first"))
    assert_shares(sets, recorded[0]["k"], results["prec_recall_evaluator"][name], precision)


@every_result(RECALL_FIDELITY)
def test_precision_and_recall_of_torch_fidelity(results, sets, name, match):
    """Its distances are float32, and so are its answers."""
    assert_shares(sets, int(match["k"]), results[name], np.finfo(np.float32))


def assert_shares(sets, k, theirs, precision):
    """Precision and recall, less the memberships that distances of a precision may leave open."""
    real, fake = sets
    ours = metrics.precision_recall(real, fake, k)
    room = [float(precision.eps) + undecided(*pair, k, precision) for pair in (sets, (fake, real))]
    assert abs(ours.precision - theirs["precision"]) <= room[0]
    assert abs(ours.recall - theirs["recall"]) <= room[1]


def undecided(centres, points, k, precision):
    """The share of points whose being in a ball depends on the rounding of squared distances."""
    centres, points = centres.astype(np.float64), points.astype(np.float64)
    lengths = (points**2).sum(axis=1)[:, None], (centres**2).sum(axis=1)
    squares = lengths[0] + lengths[1] - 2 * points @ centres.T
    radii = metrics.squared_radii(centres, k)
    rounding = precision.eps * (lengths[0] + lengths[1])
    surely, maybe = ((squares + sign * rounding <= radii).any(axis=1) for sign in (1, -1))
    return (surely != maybe).mean()


# --- kernel distance -----------------------------------------------------------------------------


@pytest.mark.parametrize("drawn", ["recorded", "seeded"])
def test_kernel_distance(results, arrays, sets, drawn):
    theirs = results["kid_torch_fidelity"]
    check_kernel(theirs)
    if drawn == "recorded":
        how = {"indices": tuple(arrays[f"out/kid_subset_idx_{side}"] for side in ("real", "fake"))}
    else:
        how = {name: theirs[name] for name in ("subsets", "subset_size")}
        how["seed"] = fidelity_seed(results)
    ours = metrics.kernel_distance(*sets, **how)
    room = {"rel": 1e-9, "abs": 1e-13 * kernel_size(sets[0])}
    assert ours.mean == pytest.approx(theirs["kernel_inception_distance_mean"], **room)
    assert ours.std == pytest.approx(theirs["kernel_inception_distance_std"], **room)


def check_kernel(theirs):
    """Ours is the published kernel alone: a test of any other is skipped."""
    other = {k: v for k, v in theirs["settings"].items() if k in CUBIC and v != CUBIC[k]}
    if other:
        pytest.skip(f"recorded with {other}")


def kernel_size(rows):
    """The kernel of a row with itself: what a squared discrepancy is a difference of."""
    return (((rows.astype(np.float64) ** 2).mean(axis=1) + 1) ** 3).mean()


def test_each_subset(arrays, sets):
    real, fake = (arrays[f"out/kid_subset_idx_{side}"] for side in ("real", "fake"))
    ours = [metrics.mmd2(sets[0][i], sets[1][j]) for i, j in zip(real, fake, strict=True)]
    theirs = arrays["out/kid_per_subset"]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9 * abs(theirs).max())


@every_result(MMD)
def test_estimators(results, sets, name, match):
    real, fake = (rows[: int(match["count"])] for rows in sets)
    ours = metrics.mmd2(real, fake, match["estimator"])
    assert ours == pytest.approx(results[name], rel=1e-9, abs=1e-13 * kernel_size(real))
