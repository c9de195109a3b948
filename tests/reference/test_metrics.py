"""Our metrics against torch-fidelity and guided-diffusion's evaluator, whatever was recorded.

The settings come from the file: those that are only in the names of results are read from there.
"""

import re

import numpy as np
import pytest

from pilotage import metrics

from .reference import case, folder

IS_EVALUATOR = re.compile(r"(?:default_)?split_size_(?P<size>\d+)(?:_.*)?")
IS_FIDELITY = re.compile(r"splits(?P<splits>\d+)_shuffle(?P<shuffle>[01])")
RANK_DEFICIENT = re.compile(r".*_first(?P<real>\d+)_first(?P<fake>\d+)_rank_deficient")
RECALL_FIDELITY = re.compile(r"prec_recall_torch_fidelity_k(?P<k>\d+)")
MMD = re.compile(r"mmd2_first(?P<count>\d+)_(?P<estimator>.+)")


@pytest.fixture(scope="module")
def recorded():
    facts, tensors = case("metrics")
    return facts, {name: tensor.numpy() for name, tensor in tensors.items()}


def results(pattern, *path):
    """(name, match) of each recorded result whose name fits; a skipped one where there is none."""
    if not (folder() / "metrics.json").is_file():
        return [pytest.param(None, None, marks=pytest.mark.skip(reason="no reference"), id="none")]
    found = case("metrics")[0]["results"]
    for key in path:
        found = found.get(key, {})
    matches = [(name, re.fullmatch(pattern, name)) for name in found]
    return [pytest.param(name, match, id=name) for name, match in matches if match] or [
        pytest.param(None, None, marks=pytest.mark.skip(reason="not recorded"), id="none")
    ]


def get(found, *path):
    """That entry; the test is skipped where it is not recorded."""
    for key in path:
        if key not in found:
            pytest.skip(f"{'/'.join(path)} is not recorded")
        found = found[key]
    return found


# --- Fréchet distance ----------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["real", "fake"])
def test_moments(recorded, side):
    _, tensors = recorded
    rows = get(tensors, f"in/{side}")
    moments = metrics.Moments()
    for start in range(0, len(rows), 37):
        moments.update(rows[start : start + 37])
    mean, sigma = get(tensors, f"out/mu_{side}"), get(tensors, f"out/sigma_{side}")
    np.testing.assert_allclose(moments.mean, mean, rtol=0, atol=1e-6 * abs(mean).max())
    np.testing.assert_allclose(moments.covariance, sigma, rtol=0, atol=1e-6 * abs(sigma).max())


@pytest.mark.parametrize(
    ("name", "match"), results(r"fid_(evaluator|torch_fidelity)_float\d+(_features)?")
)
def test_frechet_distance(recorded, name, match):
    facts, tensors = recorded
    ours = metrics.frechet_distance(tensors["in/real"], tensors["in/fake"])
    assert ours == pytest.approx(facts["results"][name], rel=1e-6)


@pytest.mark.parametrize(("name", "match"), results(r"fid_.+_same_.+"))
def test_frechet_distance_to_itself(recorded, name, match):
    facts, tensors = recorded
    ours = metrics.frechet_distance(tensors["in/real"], tensors["in/real"])
    assert abs(ours - facts["results"][name]) < 1e-6


@pytest.mark.parametrize(("name", "match"), results(RANK_DEFICIENT))
def test_frechet_distance_without_full_rank(recorded, name, match):
    facts, tensors = recorded
    real = tensors["in/real"][: int(match["real"])]
    fake = tensors["in/fake"][: int(match["fake"])]
    ours = metrics.frechet_distance(real, fake, force=True)
    assert ours == pytest.approx(facts["results"][name], rel=1e-5)


# --- Inception score -----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "match"), results(".+", "is_evaluator"))
def test_inception_score_of_the_evaluator(recorded, name, match):
    facts, tensors = recorded
    size = IS_EVALUATOR.fullmatch(name)
    if not size and name != "one_split":
        pytest.skip(f"{name} names no split size")
    logits = tensors["in/logits"]
    ours = metrics.inception_score(logits, int(size["size"]) if size else len(logits), by="size")
    assert ours.mean == pytest.approx(facts["results"]["is_evaluator"][name], rel=1e-9)


@pytest.mark.parametrize(("name", "match"), results(IS_FIDELITY, "is_torch_fidelity"))
def test_inception_score_of_torch_fidelity(recorded, name, match):
    facts, tensors = recorded
    seed = fidelity_seed(facts) if match["shuffle"] == "1" else None
    ours = metrics.inception_score(
        tensors["in/logits"], int(match["splits"]), by="number", shuffle_seed=seed
    )
    theirs = facts["results"]["is_torch_fidelity"][name]
    assert ours.mean == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
    assert ours.std == pytest.approx(theirs["inception_score_std"], rel=1e-9, abs=1e-12)


def fidelity_seed(facts):
    """torch-fidelity's seed: the same for all its metrics."""
    return facts["results"].get("kid_torch_fidelity", {}).get("settings", {}).get("rng_seed", 2020)


def test_shuffled_score_is_that_of_the_recorded_order(recorded):
    _, tensors = recorded
    names = [name for name in tensors if name.startswith("out/isc_permutation_seed")]
    for name in names or pytest.skip("no permutation is recorded"):
        shuffled = metrics.inception_score(tensors["in/logits"][tensors[name]])
        seed = int(name.removeprefix("out/isc_permutation_seed"))
        assert metrics.inception_score(tensors["in/logits"], shuffle_seed=seed) == shuffled


# --- precision and recall ------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["real", "fake"])
def test_radii(recorded, side):
    facts, tensors = recorded
    ours = metrics.squared_radii(tensors[f"in/{side}"], facts["k"])
    theirs = get(tensors, f"out/radii_sq_{side}").ravel()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)  # recorded in float32


@pytest.mark.parametrize(("name", "match"), results("float.+", "prec_recall_evaluator"))
def test_precision_and_recall_of_the_evaluator(recorded, name, match):
    facts, tensors = recorded
    real, fake = tensors["in/real"], tensors["in/fake"]
    ours = metrics.precision_recall(real, fake, facts["k"])
    theirs = facts["results"]["prec_recall_evaluator"][name]
    # lower precisions than float64 may decide a membership or two otherwise
    allowed = 1e-12 if name == "float64" else 2.5
    scale = (1, 1) if name == "float64" else (len(fake), len(real))
    assert abs(ours.precision - theirs["precision"]) * scale[0] <= allowed
    assert abs(ours.recall - theirs["recall"]) * scale[1] <= allowed


@pytest.mark.parametrize(("name", "match"), results(RECALL_FIDELITY))
def test_precision_and_recall_of_torch_fidelity(recorded, name, match):
    facts, tensors = recorded
    ours = metrics.precision_recall(tensors["in/real"], tensors["in/fake"], int(match["k"]))
    theirs = facts["results"][name]
    assert ours.precision == pytest.approx(theirs["precision"], rel=1e-6)  # it answers in float32
    assert ours.recall == pytest.approx(theirs["recall"], rel=1e-6)


# --- kernel distance -----------------------------------------------------------------------------


@pytest.mark.parametrize("drawn", ["recorded", "seeded"])
def test_kernel_distance(recorded, drawn):
    facts, tensors = recorded
    theirs = get(facts["results"], "kid_torch_fidelity")
    given = {"indices": tuple(get(tensors, f"out/kid_subset_idx_{s}") for s in ("real", "fake"))}
    seeded = {"subsets": theirs["subsets"], "subset_size": theirs["subset_size"]}
    ours = metrics.kernel_distance(
        tensors["in/real"],
        tensors["in/fake"],
        **(given if drawn == "recorded" else seeded | {"seed": fidelity_seed(facts)}),
    )
    assert ours.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
    assert ours.std == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-9)


def test_each_subset(recorded):
    _, tensors = recorded
    rows = zip(
        get(tensors, "out/kid_subset_idx_real"),
        get(tensors, "out/kid_subset_idx_fake"),
        strict=True,
    )
    ours = [metrics.mmd2(tensors["in/real"][i], tensors["in/fake"][j]) for i, j in rows]
    theirs = get(tensors, "out/kid_per_subset")
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9 * abs(theirs).max())


@pytest.mark.parametrize(("name", "match"), results(MMD))
def test_estimators(recorded, name, match):
    facts, tensors = recorded
    count = int(match["count"])
    real, fake = tensors["in/real"][:count], tensors["in/fake"][:count]
    ours = metrics.mmd2(real, fake, match["estimator"])
    assert ours == pytest.approx(facts["results"][name], rel=1e-9)
