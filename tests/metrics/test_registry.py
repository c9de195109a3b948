"""The registry of metrics: what is computed of two samples, and a new metric from end to end."""

import shutil

import numpy as np
import pytest

from pilotage import metrics
from pilotage.cli.main import main
from pilotage.errors import PilotageError
from pilotage.metrics import METRICS, Features, Metric, Moments, Sample, compare, register, registry
from pilotage.metrics.extractors.in_domain import MAX_PASSES
from pilotage.metrics.naming import with_arrow
from pilotage.metrics.registry import columns_of, per_sample_metric
from pilotage.metrics.standard_errors import Measured, from_influence
from pilotage.settings import EvaluateSettings
from pilotage.sweep.table import read_rows, table_path
from pilotage.tasks.evaluate import evaluate
from report.fixtures import IN_DOMAIN, make_run, sample_row, write_sweep
from report.reading import report

CLASSES = 5
MODES = np.full(27, 1 / 27)


def draw(seed, count, shift=0.0, spatial=30, classes=CLASSES, **more):
    """A sample of noise with everything that an in-domain extractor gives."""
    random = np.random.default_rng(seed)
    pooled, where, logits = (
        (random.standard_normal((count, dims)) + shift).astype(np.float32)
        for dims in (16, spatial, classes)
    )
    labels = random.integers(CLASSES, size=count)
    return Sample(Features(pooled, where, 3 * logits), random.random(count), labels, **more)


@pytest.fixture(scope="module")
def real():
    return draw(0, 300)


@pytest.fixture(scope="module")
def fake():
    return draw(1, 200, shift=0.2)


def mean(values, labels=None):
    """The entry of a mean over images."""
    return from_influence(values, labels)


def test_numbers_are_those_of_the_functions_in_this_order(real, fake):
    seed = 3
    found = compare(real, fake, seed=seed)
    expected = {}
    for name, kind in (("frechet", "pooled"), ("spatial_frechet", "spatial")):
        a, b = Moments.of(getattr(real.features, kind)), getattr(fake.features, kind)
        expected[name] = metrics.frechet_distance(a, b)
    a, b = real.features.pooled, fake.features.pooled
    expected["kernel"] = metrics.kernel_distance(a, b, subset_size=200, seed=seed).mean
    expected["precision"], expected["recall"] = metrics.precision_recall(a, b)
    expected["density"], expected["coverage"] = metrics.density_coverage(a, b)
    logits = fake.features.logits
    expected["inception_score"] = metrics.inception_score(logits, 2, shuffle_seed=seed).mean
    expected["accuracy"] = (logits.argmax(1) == fake.labels).mean()
    expected["clipped_fraction"] = fake.clipped.mean()
    assert {name: number.value for name, number in found.items()} == pytest.approx(expected)
    assert list(found) == list(expected)
    for number in found.values():
        assert number.error == pytest.approx(np.std(number.replicates, ddof=1) / 20**0.5)


def test_a_metric_is_left_out_where_a_side_lacks_what_it_needs(real, fake):
    def without(sample, **parts):
        return sample._replace(features=sample.features._replace(**parts))

    every = set(compare(real, fake))
    assert every - set(compare(real, without(fake, spatial=None))) == {"spatial_frechet"}
    assert every - set(compare(without(real, spatial=None), fake)) == {"spatial_frechet"}
    for sizes in ((300, 200), (200, 300)):
        wide = [draw(k, size, spatial=250) for k, size in enumerate(sizes)]
        assert "spatial_frechet" not in compare(*wide), "fewer of one than dimensions"
        assert "spatial_frechet" in compare(*wide, force=True)
    logits = {"inception_score", "accuracy"}
    assert every - set(compare(real, without(fake, logits=None))) == logits
    assert every - set(compare(real, fake._replace(labels=None))) == {"accuracy"}
    others = draw(0, 300, classes=50), draw(1, 200, classes=50)
    assert every - set(compare(*others)) == {"accuracy"}, "logits of other classes"
    modes = np.arange(200) % 27
    assert not {"modes", "modes_kl"} & set(compare(real, fake._replace(modes=modes)))
    assert set(compare(real._replace(mode_shares=MODES), fake._replace(modes=modes))) - every == {
        "modes",
        "modes_kl",
    }


def test_too_few_samples_are_refused_unless_forced(real):
    with pytest.raises(PilotageError, match="fake has 10 samples of 16 features"):
        compare(real, draw(1, 10))
    assert "frechet" in compare(real, draw(1, 10), force=True)


def test_neighbours_are_looked_for_among_some_real_images(real, fake, monkeypatch):
    monkeypatch.setattr(registry, "MANIFOLD_REAL", 100)
    found = compare(real, fake, seed=5)
    rows = np.sort(np.random.default_rng(5).choice(300, 100, replace=False))
    shares = metrics.precision_recall(real.features.pooled[rows], fake.features.pooled)
    assert (found["precision"].value, found["recall"].value) == pytest.approx(shares)


def test_what_metrics_share_is_computed_once(real, fake, monkeypatch):
    calls, compute = [], registry.neighbours
    monkeypatch.setattr(registry, "neighbours", lambda *a: calls.append(a) or compute(*a))
    compare(real, fake)
    compare(real, fake)
    assert len(calls) == 2


def test_numbers_of_single_images_are_means_over_those_that_have_them(real, fake):
    psnr = np.where(np.arange(200) < 50, np.nan, np.arange(200.0))
    scores = {"known_psnr": psnr, "attribute_all": np.ones(200), "caption_diversity": psnr * np.nan}
    found = compare(real, fake._replace(per_sample=scores))
    assert found["known_psnr"] == mean(psnr)
    assert found["known_psnr"].value == psnr[50:].mean()
    assert found["attribute_all"] == (1, 0, (1,) * 20)
    assert "caption_diversity" not in found, "no image has it"
    assert list(found)[-2:] == ["attribute_all", "known_psnr"]
    with pytest.raises(PilotageError, match="numbers of 'sharpness': no metric"):
        compare(real, fake._replace(per_sample={"sharpness": psnr}))


# --- a new metric --------------------------------------------------------------------------------


def median_clipped(real, fake, options):
    """The toy: how far the median clipped share is off that of real images."""
    return Measured(float(np.median(fake.clipped) - np.median(real.clipped)))


@pytest.fixture
def toy():
    register(Metric("median_clipped", -1, median_clipped, label="median clipping", table="main"))
    yield METRICS["median_clipped"]
    del METRICS["median_clipped"]


def test_a_new_metric_is_in_the_numbers(real, fake, toy):
    found = compare(real, fake)
    assert found.popitem() == ("median_clipped", median_clipped(real, fake, None))
    del METRICS["median_clipped"]
    assert compare(real, fake) == found
    register(toy)


def test_sweeps_evaluate_and_reports_know_a_new_metric(toy, tiny_run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(MAX_PASSES, "cpu", 1)
    run = shutil.copytree(tiny_run, tmp_path / "run")
    assert main(["sweep", str(run), "--w", "0", "--steps", "2", "--samples", "72"]) == 0
    rows = {row["kind"]: row for row in read_rows(table_path(run))}
    row = evaluate(EvaluateSettings(images="real", data="digits"), lambda _: None)
    assert rows["real"]["metrics"]["median_clipped"] == row["metrics"]["median_clipped"]
    value, error = rows["sample"]["metrics"]["median_clipped"]
    assert value != row["metrics"]["median_clipped"][0]
    assert error is None
    (table,) = (t for t in report(tmp_path, run).tables if "median clipping ↓" in t[0])
    assert table[0][-1] == "median clipping ↓", "after the main numbers that were there before"
    assert table[0][1].startswith("FD")
    assert (table[1][0], float(table[1][-1])) == ("0", pytest.approx(value, abs=1e-3))


def test_a_new_number_of_each_image(real, fake):
    register(per_sample_metric("sharpness", "sharpness of an edge", "captions"))
    try:
        found = compare(real, fake._replace(per_sample={"sharpness": fake.clipped}))
        assert found["sharpness"] == mean(fake.clipped)
        assert columns_of("captions")[-1] == "sharpness"
        assert with_arrow("sharpness", IN_DOMAIN) == "sharpness of an edge ↑"
    finally:
        del METRICS["sharpness"]


def test_a_metric_that_is_not_finite_is_refused(real, fake, monkeypatch):
    broken = Metric("broken", 1, lambda *_: Measured(float("nan")))
    monkeypatch.setitem(METRICS, "broken", broken)
    with pytest.raises(PilotageError, match="broken is nan: it must be finite"):
        compare(real, fake)


def test_a_name_is_taken_once(toy):
    with pytest.raises(PilotageError, match="'median_clipped' is registered already"):
        register(toy)


def test_reports_show_metrics_that_nobody_registered(tmp_path):
    run = make_run(tmp_path / "digits", training=False, health=False)
    row = sample_row(0)
    row["metrics"] = {"later_invention": [1.5, 0.1], **row["metrics"]}
    write_sweep(run, [row])
    (table,) = (t for t in report(tmp_path, run).tables if "later invention" in t[0])
    assert table[0][1:] == [
        *("density ↑", "coverage ↑", "KD (in-domain) ↓", "accuracy ↑", "clipped fraction"),
        "later invention",
    ]
    assert table[1][-1] == "1.50 ±0.10"
