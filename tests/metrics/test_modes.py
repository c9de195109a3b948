"""Data with known modes: stacked images and points, and how the modes that samples hit count."""

import numpy as np
import pytest
import torch

from pilotage.data import GaussianModes, ImageData, PointData, StackedData, load_data
from pilotage.data.stacked import stack
from pilotage.errors import PilotageError
from pilotage.metrics import compare, gaussian_modes, join, mode_coverage
from pilotage.metrics.extractors import in_domain, load_extractor
from pilotage.metrics.extractors.by_name import empty_like
from pilotage.metrics.modes import mode_kl_influence
from pilotage.metrics.naming import with_arrow
from pilotage.metrics.standard_errors import from_influence
from pilotage.report.words import decimals
from pilotage.sweep.rows import Measure


def quiet(_):
    """No notes."""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Extractors and features of these tests go to a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def digits():
    return load_data("stacked:digits", say=quiet)


@pytest.fixture(scope="module")
def extractor(digits):
    """A quarter of the usual training."""
    return load_extractor("in-domain", *digits, passes=4, device="cpu", say=quiet)


def flat(counts, shape=(1, 2, 3), classes=None):
    """Grey images; each pixel of a class's is 10 times its label, and the last one numbers them."""
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.tile(10 * labels[:, None, None, None], (1, *shape)).astype(np.uint8)
    images[:, :, -1, -1] = np.arange(len(labels))[:, None] % 256
    names = classes or [str(k) for k in range(len(counts))]
    return ImageData.from_arrays(images, labels, names)


def everything(data):
    return data.batch(range(len(data))).numpy()


# --- stacked images ------------------------------------------------------------------------------


def test_labels_say_what_is_in_the_channels():
    data = StackedData.draw(flat([4, 2, 6]), 500, seed=0, purpose="test")
    images = everything(data)
    assert images.dtype == np.uint8
    assert images.shape == (500, *data.shape) == (500, 3, 2, 3)
    a, b, c = (images[:, channel, 0, 0] // 10 for channel in range(3))
    assert np.array_equal(data.labels, 9 * a + 3 * b + c)
    assert data.classes[:4] == ("000", "001", "002", "010")
    assert len(data.classes) == 27
    name = data.classes[data.labels[7]]
    assert name == f"{a[7]}{b[7]}{c[7]}"
    assert np.array_equal(images[:, :, -1, -1], data.triples), "which images they are"
    some = data.batch([3, 499, 3]).numpy()
    assert np.array_equal(some, images[[3, 499, 3]])
    assert data.batch([]).shape == (0, 3, 2, 3)


def test_long_names_are_kept_apart():
    data = StackedData.draw(flat([2, 2], classes=["cat", "dog"]), 5, seed=0, purpose="test")
    assert data.classes[:3] == ("cat-cat-cat", "cat-cat-dog", "cat-dog-cat")


def test_channels_are_drawn_independently_from_all_images():
    data = StackedData.draw(flat([30, 10]), 20_000, seed=0, purpose="test")
    assert np.allclose(data.mode_shares, np.prod(np.meshgrid(*[[0.75, 0.25]] * 3), axis=0).ravel())
    found = np.bincount(data.labels, minlength=8) / 20_000
    assert np.allclose(found, data.mode_shares, atol=4 * np.sqrt(0.25 / 20_000))
    assert len(np.unique(data.triples)) == 40


def test_held_out_triples_are_of_held_out_images(digits):
    train, held = digits
    assert (len(train), len(held)) == (50_000, 5_000)
    assert train.classes == held.classes == tuple(f"{k:03}" for k in range(1000))
    assert (np.bincount(train.labels, minlength=1000) > 0).all()
    base = load_data("digits", say=quiet)
    assert [part.fingerprint for part in base] == [part.planes.fingerprint for part in digits]
    planes = [{image.tobytes() for image in everything(part)} for part in base]
    assert planes[0].isdisjoint(planes[1])
    for part, own in zip(digits, planes, strict=True):
        stacked = part.batch(range(1000)).numpy().reshape(-1, 8 * 8)
        assert {image.tobytes() for image in stacked} <= own


def test_as_many_triples_as_images_if_those_are_more():
    many = flat([30_000, 30_000], shape=(1, 1, 1))
    train, held = stack(many, empty_like(many), 0, quiet)
    assert (len(train), len(held)) == (60_000, 0)


def test_triples_are_a_function_of_seed_and_purpose():
    planes = flat([20, 20])
    draws = [
        StackedData.draw(planes, 50, *how)
        for how in [(0, "train"), (0, "train"), (1, "train"), (0, "held out")]
    ]
    assert np.array_equal(draws[0].triples, draws[1].triples)
    assert draws[0].fingerprint == draws[1].fingerprint
    assert len({data.fingerprint for data in draws}) == 3
    other = StackedData.draw(flat([20, 20], shape=(1, 3, 3)), 50, 0, "train")
    assert other.fingerprint != draws[0].fingerprint


def test_settings_reach_the_source():
    notes = []
    train, held = load_data("stacked:digits", size=(10, 12), held_out=0, seed=3, say=notes.append)
    assert train.shape == held.shape == (3, 10, 12)
    assert (len(train.planes), len(held)) == (1797, 0)
    assert "1000 modes" in notes[-1]
    with pytest.raises(PilotageError, match="image_column='nope'"):
        load_data("stacked:digits", image_column="nope", say=quiet)
    again, _ = load_data("stacked:digits", size=(10, 12), held_out=0, seed=4, say=quiet)
    assert not np.array_equal(again.triples, train.triples)


@pytest.mark.parametrize(
    ("planes", "message"),
    [
        (flat([4, 4], shape=(3, 2, 2)), "3 channels.*must have grey images"),
        (flat([4]), r"1 class\(es\).*2 to 32"),
        (flat([1] * 33), r"33 class\(es\).*2 to 32"),
        (PointData.draw(GaussianModes(np.zeros((1, 2)), 1.0), 5, 0, "test"), "points"),
    ],
)
def test_what_cannot_be_stacked(planes, message):
    with pytest.raises(PilotageError, match=message):
        StackedData.draw(planes, 10, seed=0, purpose="test")


def test_stacks_are_not_stacked_again():
    with pytest.raises(PilotageError, match="3 channels"):
        load_data("stacked:stacked:digits", say=quiet)


# --- the extractor of stacked images -------------------------------------------------------------


def test_each_channel_is_classified(digits, extractor):
    images = digits[1].batch(range(40))
    features = extractor(images)
    assert features.pooled.shape == (40, extractor.dimensions) == (40, 192)
    assert features.logits.shape == (40, 1000)
    assert features.spatial is None
    single = [extractor.planes(images[:, [k]]) for k in range(3)]
    assert np.array_equal(features.pooled, np.concatenate([s.pooled for s in single], axis=1))
    a, b, c = (torch.from_numpy(s.logits).softmax(1).numpy() for s in single)
    outer = np.einsum("na,nb,nc->nabc", a, b, c).reshape(40, 1000)
    np.testing.assert_allclose(np.exp(features.logits), outer, rtol=1e-3, atol=1e-7)
    assert all(part.dtype == np.float32 for part in (features.pooled, features.logits))


def test_its_accuracy_is_that_of_whole_triples(digits, extractor):
    held = digits[1]
    rows = range(0, 5000, 10)
    right = extractor(held.batch(rows)).logits.argmax(1) == held.labels[::10]
    assert extractor.accuracy == pytest.approx(right.mean(), abs=0.03)
    assert extractor.planes.accuracy**3 == pytest.approx(extractor.accuracy, abs=0.03)
    assert extractor.accuracy < extractor.planes.accuracy
    assert extractor.accuracy > 0.85


def test_its_name_and_hash_come_from_the_planes(digits, extractor):
    notes, planes = [], [part.planes for part in digits]
    base = in_domain(*planes, passes=4, device="cpu", say=notes.append)
    assert not any("training" in note for note in notes), "it is the digits' own classifier"
    assert base.hash == extractor.planes.hash != extractor.hash
    assert extractor.name == "stacked-in-domain"
    assert len(extractor.hash) == 64


def test_without_held_out_images_the_accuracy_is_unknown(digits, extractor):
    again = load_extractor("in-domain", digits[0], passes=4, device="cpu", say=quiet)
    assert again.hash == extractor.hash
    assert again.accuracy is again.planes.accuracy is None


def test_what_the_extractor_refuses(digits, extractor):
    with pytest.raises(PilotageError, match="held_out of shape"):
        load_extractor("in-domain", digits[0], digits[1].planes, say=quiet)
    with pytest.raises(PilotageError, match="C = 3"):
        extractor(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(PilotageError, match="trained on"):
        extractor(torch.zeros(2, 3, 9, 8, dtype=torch.uint8))


# --- counting modes ------------------------------------------------------------------------------

EVEN = np.full(1000, 1e-3)


def count_modes(modes, shares):
    """Modes hit, KL, and its standard error."""
    found = mode_coverage(modes, len(shares), shares)
    return found.hit, found.kl, from_influence(mode_kl_influence(modes, shares)).error


@pytest.fixture(scope="module")
def real(digits, extractor):
    return extractor.real_sample(StackedData.draw(digits[0].planes, 200, 0, "test"))


@pytest.fixture(scope="module")
def every_mode(digits, extractor):
    """A triple of each mode, of one well recognised image of each class."""
    planes = digits[0].planes
    logits = extractor.planes(planes.batch(range(len(planes)))).logits
    best = np.where(np.arange(10) == planes.labels[:, None], logits, -np.inf).argmax(0)
    places = np.stack(np.unravel_index(np.arange(1000), (10, 10, 10)), axis=1)
    return planes.batch(best[places].ravel()).reshape(1000, 3, 8, 8)


def test_a_triple_of_every_mode_hits_them_all(extractor, real, every_mode):
    sample = join(extractor.sample(part) for part in every_mode.split(300))
    assert np.array_equal(sample.modes, np.arange(1000))
    numbers = compare(real, sample._replace(labels=np.arange(1000)))
    assert numbers["modes"] == (1000, None, ())
    assert numbers["modes_kl"][0] == pytest.approx(np.log(1e-3 / real.mode_shares).mean())
    assert numbers["accuracy"][0] == 1
    assert "inception_score" not in numbers
    assert {"frechet", "precision", "kernel"} <= set(numbers)
    assert count_modes(sample.modes, EVEN) == pytest.approx((1000, 0, 0), abs=1e-12)


def test_one_triple_again_and_again_hits_one_mode(extractor, real, every_mode):
    sample = extractor.sample(every_mode[[123] * 200])
    numbers = compare(real._replace(mode_shares=EVEN), sample)
    assert numbers["modes"] == (1, None, ())
    assert numbers["modes_kl"][:2] == pytest.approx((np.log(1000), 0))
    assert "accuracy" not in numbers, "nobody asked for classes"


def test_real_held_out_triples_hit_nearly_all_modes(digits, extractor, real):
    sample = extractor.real_sample(digits[1])
    hit, kl, _ = count_modes(sample.modes, real.mode_shares)
    assert 980 <= hit <= 1000  # a mode is empty with probability e^{−5}
    assert kl == pytest.approx(999 / (2 * 5000), rel=0.5)  # of sampling alone
    assert (sample.modes == digits[1].labels).mean() == pytest.approx(extractor.accuracy)


def test_planes_seen_once_are_triples_seen_one_by_one(digits, extractor):
    part = StackedData.draw(digits[1].planes, 300, 0, "test")
    fast, slow = extractor.real_sample(part), extractor.sample(part.batch(range(300)))
    np.testing.assert_allclose(fast.features.pooled, slow.features.pooled, atol=1e-4)
    np.testing.assert_allclose(fast.clipped, slow.clipped, atol=1e-6)
    assert np.array_equal(fast.modes, slow.modes)


def test_the_error_of_kl_is_its_spread():
    random = np.random.default_rng(0)
    p, q = random.dirichlet(np.ones(50), 2)
    counted = [count_modes(random.choice(50, 2000, p=p), q)[1:] for _ in range(300)]
    values, errors = np.array(counted).T
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=0.15)


def test_reports_know_the_modes():
    extractor = {"name": "stacked-in-domain", "hash": "0"}
    assert with_arrow("modes", extractor) == "modes hit ↑"
    assert with_arrow("modes_kl", extractor) == "KL over modes ↓"
    assert with_arrow("frechet", extractor) == "FD (in-domain, per channel) ↓"
    assert decimals([Measure(999.0), Measure(12.0)]) == 0, "a count"
    assert decimals([Measure(0.5), Measure(12.0)]) > 0


# --- points --------------------------------------------------------------------------------------


def test_25_gaussians():
    train, held = load_data("25-gaussians", say=quiet)
    assert (len(train), len(held)) == (100_000, 10_000)
    assert train.classes == tuple(map(str, range(25)))
    assert train.shape == (2,)
    assert train.in_memory
    means, std = train.modes
    assert sorted({*means.ravel()}) == pytest.approx([-0.8, -0.4, 0, 0.4, 0.8])
    assert len(np.unique(means, axis=0)) == 25
    assert std == 0.01
    points = train.batch(np.arange(len(train)))
    assert points.dtype == torch.float32
    off = points.numpy() - means[train.labels]
    assert np.abs(off.mean(0)).max() < 1e-4
    assert off.std(0) == pytest.approx([std, std], rel=0.01)
    assert np.bincount(train.labels, minlength=25).min() > 3700
    found = gaussian_modes(held.batch(range(len(held))).numpy(), *held.modes)
    assert found.hit == 25
    assert found.within == pytest.approx(1 - np.exp(-4.5), abs=0.004)
    assert found.kl < 0.003


def test_points_are_a_function_of_the_seed():
    (train, held), (again, _), (other, _) = (
        load_data("25-gaussians", seed=seed, say=quiet) for seed in (0, 0, 1)
    )
    assert train.fingerprint == again.fingerprint
    assert len({train.fingerprint, held.fingerprint, other.fingerprint}) == 3
    assert not torch.equal(train.batch(range(9)), held.batch(range(9)))
    one = train.batch(torch.tensor([5]))
    one += 1  # a copy
    assert not torch.equal(one, train.batch([5]))
    assert train.batch([]).shape == (0, 2)


def test_any_means():
    modes = GaussianModes([[0.0, 0.0, 9.0], [5.0, 0.0, 0.0]], 0.5)
    data = PointData.draw(modes, 200, seed=0, purpose="test")
    assert data.shape == (3,)
    assert data.classes == ("0", "1")
    nearest = torch.cdist(data.batch(range(200)).double(), torch.tensor(data.modes.means)).argmin(1)
    assert np.array_equal(nearest, data.labels)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("size", 8), ("image_column", "image"), ("label_column", "label"), ("held_out", 1.5)],
)
def test_points_have_no_such_settings(setting, value):
    with pytest.raises(PilotageError, match=setting):
        load_data("25-gaussians", say=quiet, **{setting: value})


@pytest.mark.parametrize(
    ("modes", "count", "message"),
    [
        (GaussianModes([0.0, 1.0], 0.1), 5, r"means of shape \(2,\)"),
        (GaussianModes([[np.nan, 1.0]], 0.1), 5, "finite"),
        (GaussianModes([[0.0, 1.0]], -0.1), 5, "std=-0.1"),
        (GaussianModes([[0.0, 1.0]], 0.1), -1, "count=-1"),
    ],
)
def test_what_no_points_can_be_drawn_from(modes, count, message):
    with pytest.raises(PilotageError, match=message):
        PointData.draw(modes, count, seed=0, purpose="test")


MEANS = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]


def test_gaussian_modes_by_hand():
    points = [[0.0, 0.0], [0.29, 0.0], [0.31, 0.0], [1.0, 0.2], [0.0, 0.6], [9.0, 9.0]]
    found = gaussian_modes(points, MEANS, std=0.1)
    p = np.array([3, 1, 1, 1]) / 6
    assert found == pytest.approx((2, 3 / 6, np.sum(p * np.log(4 * p))))
    assert found.hit == 2, "the points near (0, 1) and (1, 1) are too far"
    assert gaussian_modes(points, MEANS, std=0.1, within=4.5)[:2] == pytest.approx((3, 5 / 6))
    assert gaussian_modes(MEANS, MEANS, std=1e-9) == (4, 1, 0)
    assert gaussian_modes([[1.0, 1.0]] * 7, MEANS, 0.1) == pytest.approx((1, 1, np.log(4)))
    assert gaussian_modes([[5.0, 5.0]], MEANS, 0.1)[:2] == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], MEANS, 0.1), "points has shape"),
        (([[1.0, np.nan]], MEANS, 0.1), "points holds a NaN"),
        (([[1.0, 2.0, 3.0]], MEANS, 0.1), "points have 3 coordinates and means 2"),
        (([[1.0, 2.0]], [], 0.1), "means has shape"),
        (([[1.0, 2.0]], MEANS, 0.0), "std is 0"),
        (([[1.0, 2.0]], MEANS, "wide"), "std is 'wide'"),
        (([[1.0, 2.0]], MEANS, 0.1, -1), "within is -1"),
    ],
)
def test_gaussian_modes_refusals(arguments, message):
    with pytest.raises(PilotageError, match=message):
        gaussian_modes(*arguments)
