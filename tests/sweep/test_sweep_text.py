"""Sweeps of runs on captions: their prompts, and what the images have right of it."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from pilotage import load_run
from pilotage.cli.main import main
from pilotage.data.shapes import ShapesData, check, draw_captions, load_shapes
from pilotage.errors import PilotageError
from pilotage.metrics.extractors.in_domain import MAX_PASSES
from pilotage.metrics.registry import columns_of
from pilotage.metrics.standard_errors import from_influence
from pilotage.models.model import Model
from pilotage.models.sampling_spec import Batch
from pilotage.objectives.conditioned import shrunk
from pilotage.report.read import read_sources
from pilotage.report.sweeps import captioned, over_w, setting_table
from pilotage.settings import EvaluateSettings
from pilotage.sweep.baselines import bicubic
from pilotage.sweep.curves import arrange
from pilotage.sweep.eval_prompts import eval_prompts
from pilotage.sweep.per_sample import (
    attribute_scores,
    caption_diversity,
    condition_psnr,
    judged_by_pixels,
    known_psnr,
)
from pilotage.sweep.table import read_rows, table_path
from pilotage.tasks.evaluate import evaluate
from pilotage.utils.images import from_uint8, to_uint8

HELD = 72
TINY = [
    *("--network.channels", "8", "--network.channel-mult", "1"),
    *("--network.num-res-blocks", "1", "--network.head-channels", "8"),
    *("--network.attention-resolutions", "1", "--network.text-width", "8"),
    *("--network.text-layers", "1", "--network.text-heads", "1", "--batch-size", "4"),
]
GRID = ["--w", "0", "1", "--steps", "2", "--samples", "80", "--batch-size", "16", "--force"]
MOST = 10 * np.log10(255**2 * 12)


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory):
    """Little data, a hasty extractor and short grids, all in a cache of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        few = partial(load_shapes, count=128, held_out=HELD)
        patch.setattr("pilotage.data.sources.load_shapes", few)
        patch.setitem(MAX_PASSES, "cpu", 1)
        patch.setattr("pilotage.training.callbacks.COLUMNS", 2)
        patch.setattr("pilotage.training.callbacks.ROWS", 1)
        yield


@pytest.fixture(scope="module")
def held_out():
    return load_shapes(16, count=128, held_out=HELD)[1]


def train(folder, *flags):
    command = ["train", "shapes-small", "--out", str(folder), "--steps", "2", *TINY, *flags]
    assert main(command) == 0
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory, small):
    return train(tmp_path_factory.mktemp("runs") / "base")


@pytest.fixture(scope="module")
def beside(tmp_path_factory, small):
    """A run that both enlarges and completes."""
    flags = ["--low-res", "8", "8", "--inpaint"]
    return train(tmp_path_factory.mktemp("runs") / "beside", *flags)


def sweep(run, *flags):
    assert main(["sweep", str(run), *GRID, *flags]) == 0
    rows = read_rows(table_path(run))
    assert len({row["id"] for row in rows}) == len(rows)
    return {(row["kind"], row.get("w")): row for row in rows}


@pytest.fixture
def shows(monkeypatch):
    """Let runs make given images, uint8 (N, 3, H, W), instead of their own."""

    def put(images):
        def stream(run, resolved, rows, on_step):
            for part in rows:
                for _ in range(resolved.steps):
                    on_step()
                yield Batch(part, from_uint8(images[part]))

        monkeypatch.setattr(Model, "stream", stream)

    return put


def test_rows_of_a_run_on_captions_and_a_second_start(base, held_out):
    rows = sweep(base)
    assert set(rows) == {("real", None), ("sample", 0.0), ("sample", 1.0)}
    row = rows["sample", 1.0]
    assert row["captions"]["split"] == "held-out"
    assert row["captions"]["n"] == HELD
    assert len(row["captions"]["hash"]) == 64
    assert row["negative"] is None
    assert row["first_captions"] == list(held_out.captions[:16])
    names = ("all", "size", "colour", "shape", "count", "relation")
    wanted = {"frechet", "recall", "precision", "clipped_fraction", "accuracy"}
    assert wanted | {f"attribute_{name}" for name in names} <= set(row["metrics"])
    for name in names:
        assert rows["real", None]["metrics"][f"attribute_{name}"] == [1.0, 0.0]
    with Image.open(base / row["preview"]) as preview:
        assert preview.size == (8 * 19 - 3, 2 * 19 - 3)
    before = table_path(base).read_bytes()
    sweep(base)
    assert table_path(base).read_bytes() == before
    assert ("sample", 3.0) in sweep(base, "--w", "0", "1", "3")
    assert table_path(base).read_bytes().startswith(before)


def test_attributes_are_those_of_the_kept_images(base, held_out, shows):
    """The images show the next caption, so that some of each is right."""
    shows(held_out.batch(np.arange(1, 81) % HELD))
    row = sweep(base, "--keep", "--w", "7", "--first-seed", "5")["sample", 7.0]
    with np.load(base / "sweep" / "images" / f"{row['id']}.npz") as file:
        images, captions = file["images"].transpose(0, 3, 1, 2), file["captions"].tolist()
        assert file["seeds"].tolist() == list(range(5, 85))
        assert file["labels"].tolist() == held_out.labels[np.arange(80) % HELD].tolist()
    assert captions == [held_out.captions[k % HELD] for k in range(80)]
    found = check(torch.from_numpy(np.ascontiguousarray(images)), captions)
    for name, share in found.rates().items():
        right = np.where(found.related | (name != "relation"), getattr(found, name), np.nan)
        expected = from_influence(right, held_out.labels[np.arange(80) % HELD])
        assert row["metrics"][f"attribute_{name}"] == pytest.approx([share, expected.error]), name
        assert row["replicates"][f"attribute_{name}"] == list(expected.replicates), name
    assert 0 < row["metrics"]["attribute_shape"][0] < 1


def test_what_is_enlarged_and_completed_perfectly_has_the_highest_psnr(beside, held_out, shows):
    real = held_out.batch(np.arange(80) % HELD)
    shows(real)
    rows = sweep(beside)
    row = rows["sample", 0.0]
    assert row["low_res"] == {"size": [8, 8], "images": held_out.fingerprint}
    assert row["known"] == {"boxes": 3, "images": held_out.fingerprint}
    assert row["metrics"]["condition_psnr"] == pytest.approx([MOST, 0])
    assert row["metrics"]["known_psnr"] == pytest.approx([MOST, 0])
    assert row["metrics"]["attribute_all"] == [1.0, 0.0]
    small, real = shrunk(real[:HELD].double(), (8, 8)), real[:HELD].double()
    large = to_uint8(bicubic((small / 127.5 - 1).float(), (16, 16)))
    squares = (shrunk(large.double(), (8, 8)) - small).square().mean((1, 2, 3)).numpy()
    each = 10 * np.log10(255**2 / np.maximum(squares, 1 / 12))
    told = rows["bicubic", None]
    assert told["n"] == HELD
    found = told["metrics"]["condition_psnr"]
    assert found[0] == pytest.approx(each.mean())
    assert found[1] == pytest.approx(each.std() / HELD**0.5, rel=0.5)
    assert 20 < found[0] < MOST - 10
    rights = check(large, held_out.captions).rates()
    assert told["metrics"]["attribute_all"][0] == pytest.approx(rights["all"])
    before = table_path(beside).read_bytes()
    sweep(beside)
    assert table_path(beside).read_bytes() == before


def test_a_run_with_images_beside_x_is_swept_and_reported(beside):
    row = sweep(beside, "--w", "2")["sample", 2.0]
    value, error = row["metrics"]["condition_psnr"]
    assert 0 < value < 30
    assert error > 0
    assert row["metrics"]["known_psnr"][0] == pytest.approx(MOST, abs=0.1)  # sampling keeps it
    (group,) = arrange(read_sources([beside]))
    table = setting_table(group, columns_of("main"), "")
    assert f"bicubic from 8x8 (n = {HELD})" in [line.head for line in table.lines]
    assert "PSNR of the condition (dB) ↑" in table.columns
    said = "enlarged from 8x8, completed where boxes were erased"
    assert said in over_w(group, group.each("way")[0]).caption
    drawn = [chart for block in captioned(group, "").value if block.kind == "charts"
             for chart in block.value]  # fmt: skip
    assert "PSNR of the condition (dB) over w" in [chart.title for chart in drawn]


def test_a_negative_caption_and_an_own_strength_of_the_image(beside, tiny_run, capsys):
    asked = []

    def stream(run, resolved, rows, on_step, real=Model.stream):
        asked.append((resolved.guidance.negative, resolved.guidance.image_w))
        return real(run, resolved, rows, on_step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "stream", stream)
        rows = sweep(beside, "--w", "2", "--negative", "red", "--image-w", "0.5")
    assert set(asked) == {("red", 0.5)}
    assert (rows["sample", 2.0]["negative"], rows["sample", 2.0]["image_w"]) == ("red", 0.5)
    (group,) = arrange(read_sources([beside]))
    said = "image guidance scale 0.5, negative prompt 'red'"
    assert any(said in over_w(group, way).caption for way in group.each("way"))
    assert main(["sweep", str(tiny_run), *GRID, "--negative", "red"]) == 2
    assert "negative is 'red'" in capsys.readouterr().err


def test_diversity_of_a_captions_images(beside, held_out, shows):
    """Black beside white twice, then grey beside grey; each caption is asked for twice."""
    images = torch.zeros(80, 3, 16, 16, dtype=torch.uint8)
    images[1:4:2] = 255
    images[4:] = 100
    shows(images)
    row = sweep(beside, "--w", "4", "--per-caption", "2")["sample", 4.0]
    value, error = row["metrics"]["caption_diversity"]
    assert value == pytest.approx(2 / 40)
    assert error == pytest.approx((0.05 * 0.95 / 40) ** 0.5, rel=0.5)
    assert row["per_caption"] == 2
    assert row["first_captions"][:4] == [held_out.captions[k] for k in (0, 0, 1, 1)]
    (group,) = arrange(read_sources([beside]))
    assert any("2 images each" in over_w(group, way).caption for way in group.each("way"))
    table = next(line for line in read_rows(table_path(beside)) if line.get("per_caption"))
    assert table["kind"] == "bicubic"
    assert table["n"] == 40, "each image is enlarged once"


def test_pairs_of_a_caption():
    images = np.zeros((5, 2, 2, 3), np.uint8)
    images[0], images[1], images[3] = 255, 51, 102
    found = caption_diversity(images, 3)
    assert found[0] == pytest.approx((0.8 + 1 + 0.2) / 3)
    assert found[3] == pytest.approx(0.4)
    assert np.isnan(found[[1, 2, 4]]).all()
    assert np.isnan(caption_diversity(images[:4], 3)[3]), "alone"


def test_an_interval_is_a_curve_of_its_own(base):
    sweep(base, "--w", "2")
    interval = ["--guidance-interval", "-20", "0"]
    assert sweep(base, "--w", "2", *interval)["sample", 2.0]["guidance_interval"] == [-20, 0]
    (group,) = arrange(read_sources([base]))
    assert {curve.rows[0].how.interval for curve in group.curves} == {None, (-20, 0)}
    assert any("λ from -20 to 0" in curve.label for curve in group.curves)


def test_psnr_counts_levels():
    images = draw_captions(["a small red circle", "two large blue squares"], 16)
    low = shrunk(from_uint8(images), (8, 8))
    assert condition_psnr(images, low) == pytest.approx(MOST)
    off = images.clone()
    off[1] += 10
    assert condition_psnr(off, low)[1] == pytest.approx(20 * np.log10(25.5), abs=1e-4)
    mask = torch.zeros(2, 1, 16, 16)
    mask[:, :, :4] = 1
    off = images.clone()
    off[:, :, 4:] += 40  # where nothing is known
    off[0, :, 0] += 10  # a quarter of the known pixels
    known = known_psnr(off, from_uint8(images) * mask, mask)
    assert known == pytest.approx([20 * np.log10(25.5 * 2), MOST], abs=1e-4)


def test_bicubic_is_that_of_image_programs():
    small = torch.randint(0, 256, (3, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    found = to_uint8(bicubic(from_uint8(small.to(torch.uint8)), (32, 32)))
    for image, large in zip(small, found, strict=True):
        for plane, own in zip(image.numpy().astype(np.float32), large.numpy(), strict=True):
            theirs = Image.fromarray(plane).resize((32, 32), Image.Resampling.BICUBIC)
            assert np.abs(np.asarray(theirs).clip(0, 255) - own).max() < 0.51


def test_a_relation_counts_only_where_one_is_asked_for():
    captions = ["a small red circle", "a small red circle above a large blue square"]
    scores = attribute_scores(draw_captions([captions[0]] * 2, 16), captions)
    assert np.isnan(scores["attribute_relation"]).tolist() == [True, False]
    assert scores["attribute_all"].tolist() == [1, 0]


def test_only_captions_of_shapes_are_judged():
    captions = ["a small red circle"]
    assert judged_by_pixels(captions, (3, 16, 16))
    for others, shape in (
        ([*captions, "a cat"], (3, 16, 16)),
        (captions, (1, 16, 16)),
        (captions, (3, 8, 8)),
        (captions, (3, 16, 32)),
    ):
        assert not judged_by_pixels(others, shape)


def test_training_captions_where_nothing_is_held_out(beside, held_out):
    data, said = load_shapes(16, count=4, held_out=HELD)[0], []
    empty = ShapesData(16, 0, held_out=True)
    run = load_run(beside)
    asked = eval_prompts(run, range(6), "mine", data, empty, said.append)
    assert asked.captions == data.captions + data.captions[:2]
    assert asked.decides["captions"]["split"] == "train"
    assert asked.different == 4
    assert "data is mine: nothing is held out" in said[0]
    other = eval_prompts(run, range(6), "mine", data, held_out, said.append)
    assert other.decides["captions"]["hash"] != asked.decides["captions"]["hash"]
    assert len(said) == 1


def test_each_image_has_boxes_of_its_seed(beside, held_out):
    run = load_run(beside)
    one, other = (
        eval_prompts(run, seeds, "x", held_out, held_out, print)
        for seeds in (range(6), range(2, 8))
    )
    masks, others = one.condition["known_mask"], other.condition["known_mask"]
    assert torch.equal(masks[2:], others[:4])
    assert len({mask.numpy().tobytes() for mask in masks}) == 6
    real = from_uint8(held_out.batch(range(6)))
    assert torch.equal(one.condition["known"], real * masks)
    assert torch.equal(one.condition["low_res"], shrunk(real, (8, 8)))


def test_no_classifier_guides_captions(base, tmp_path, monkeypatch, capsys):
    guide = SimpleNamespace(folder=tmp_path)
    monkeypatch.setattr("pilotage.sweep.grid_points.load_classifier", lambda *_, **__: guide)
    assert main(["sweep", str(base), *GRID, "--classifier", str(tmp_path)]) == 2
    assert "is a run on captions, which only captions guide" in capsys.readouterr().err


def test_other_captions_are_other_rows(base, shows, held_out, monkeypatch):
    shows(held_out.batch(np.arange(80) % HELD))
    sweep(base, "--w", "4")
    fewer = partial(load_shapes, count=128, held_out=HELD - 1)
    monkeypatch.setattr("pilotage.data.sources.load_shapes", fewer)
    sweep(base, "--w", "4")
    rows = [row for row in read_rows(table_path(base)) if row.get("w") == 4]
    assert [row["captions"]["n"] for row in rows] == [HELD, HELD - 1]
    assert len({row["captions"]["hash"] for row in rows}) == 2
    assert len({row["reference"]["hash"] for row in rows}) == 1


def test_evaluate_judges_the_captions_of_arrays(base, held_out, tmp_path):
    """A sweep's and a sample's arrays have them; every second image shows another caption."""
    images = held_out.batch(np.arange(HELD))
    images[::2] = held_out.batch(np.arange(1, HELD + 1) % HELD)[::2]
    path = tmp_path / "images.npz"
    arrays = images.permute(0, 2, 3, 1).numpy()
    np.savez(path, images=arrays, captions=np.array(held_out.captions))
    how = {"images": str(path), "data": "shapes", "size": (16, 16), "force": True}
    found = evaluate(EvaluateSettings(**how))["metrics"]
    assert found["attribute_all"][0] == check(images, held_out.captions).rates()["all"] < 1
    real = evaluate(EvaluateSettings(**how | {"images": "real"}))["metrics"]
    assert real["attribute_all"] == [1, 0]
    np.savez(path, images=arrays, captions=np.array(held_out.captions[1:]))
    with pytest.raises(PilotageError, match=f"it has {HELD - 1} captions for {HELD} images"):
        evaluate(EvaluateSettings(**how))
