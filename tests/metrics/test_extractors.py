"""Extractors: content hashes, the in-domain cache, TensorFlow's resizing, and what is refused."""

import hashlib
import importlib.util
import sys
import types
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pilotage.data import ImageData, load_data
from pilotage.errors import PilotageError
from pilotage.metrics.extractors import (
    Extractor,
    dinov2,
    in_domain,
    inception,
    load_extractor,
    resize_tf1_bilinear,
)
from pilotage.metrics.extractors.extractor import cache_folder
from pilotage.metrics.extractors.in_domain import CODE_VERSION, MAX_PASSES, Facts, InDomain
from pilotage.metrics.extractors.inception import INCEPTION_URL, Inception
from pilotage.metrics.extractors.rotations import turned
from pilotage.metrics.naming import with_arrow
from pilotage.settings import EvaluateSettings
from pilotage.sweep.evaluator import make_evaluator
from pilotage.tasks.evaluate import evaluate
from pilotage.utils.files import file_hash


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", say=lambda line: None)


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    """The digits' extractor, the folder of its cache, and the notes that were said."""
    folder, notes = tmp_path_factory.mktemp("extractors"), []
    return in_domain(*digits, cache=folder, device="cpu", say=notes.append), folder, notes


def small(shape=(1, 8, 8), count=40, classes=2, seed=0):
    """Noise, brighter for the second class."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    images = random.integers(0, 100, (count, *shape)) + 100 * (labels[:, None, None, None] % 2)
    names = [f"class {k}" for k in range(classes)]
    return ImageData.from_arrays(images.astype(np.uint8), labels, names)


def quick(data, folder, held_out=None, said=None, **settings):
    """An in-domain extractor after one pass."""
    settings = {"passes": 1, "device": "cpu", **settings}
    say = (lambda line: None) if said is None else said.append
    held_out = data if held_out is None else held_out
    return in_domain(data, held_out, cache=folder, say=say, **settings)


def same(a, b, tolerance=0.0):
    for one, other in zip(a, b, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


# in-domain


def test_digits_are_recognised(digits, trained):
    extractor, _, notes = trained
    assert isinstance(extractor, Extractor)
    assert extractor.accuracy >= 0.96
    assert "accuracy" in notes[-1]
    assert (extractor.name, extractor.resize) == ("in-domain", "none")
    features = extractor(digits[1].batch(range(20)))
    assert features.pooled.shape == (20, extractor.dimensions) == (20, 64)
    assert features.spatial.shape == (20, 256)
    assert features.logits.shape == (20, 10)
    assert all(part.dtype == np.float32 for part in features)


def test_spatial_features_know_where_things_are(digits, trained):
    image = digits[1].batch([0])
    shifted = image.roll(2, dims=3)
    a, b = trained[0](image), trained[0](shifted)
    assert np.abs(a.spatial - b.spatial).max() > 0.1


def test_features_do_not_depend_on_the_batch(digits, trained):
    images = digits[0].batch(range(64))
    alone = [trained[0](image[None]) for image in images]
    joined = [np.concatenate(parts) for parts in zip(*alone, strict=True)]
    same(joined, trained[0](images), 1e-4)


def test_cache_is_used(digits, trained, monkeypatch):
    extractor, folder, _ = trained
    forbid_training(monkeypatch)
    again = in_domain(*digits, cache=folder, device="cpu", say=lambda line: None)
    assert (again.hash, again.accuracy) == (extractor.hash, extractor.accuracy)
    images = digits[1].batch(range(50))
    same(again(images), extractor(images))


def forbid_training(monkeypatch):
    module = sys.modules[InDomain.__module__]
    monkeypatch.setattr(module, "fit", lambda *_: pytest.fail("trained again"))


def test_same_settings_same_hash(tmp_path):
    data = small()
    first = quick(data, tmp_path / "a")
    assert quick(data, tmp_path / "b").hash == first.hash
    others = [
        quick(data, tmp_path / "a", seed=1),
        quick(data, tmp_path / "a", passes=2),
        quick(data, tmp_path / "a", flip=True),
        quick(small(seed=1), tmp_path / "a"),
    ]
    assert len({first.hash, *(other.hash for other in others)}) == 5


def test_global_random_state_is_left_alone(tmp_path):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = quick(small(), tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(8)
    assert quick(small(), tmp_path / "b").hash == first.hash


@pytest.mark.parametrize("damage", ["cut", "changed", "emptied", "replaced"])
def test_damaged_cache_is_trained_again(tmp_path, damage):
    data, said = small(), []
    first = quick(data, tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    whole = file.read_bytes()
    damaged = {
        "cut": whole[: len(whole) // 2],
        "changed": whole[:-1] + bytes([whole[-1] ^ 1]),
        "emptied": b"",
        "replaced": b"\x80\x04K\x01." * 100,  # a pickle
    }[damage]
    file.write_bytes(damaged)
    again = quick(data, tmp_path, said=said)
    assert again.hash == first.hash
    assert "damaged" in said[0]
    assert "training" in said[1]
    assert file.read_bytes() == whole


def test_cache_holds_whole_files_only(tmp_path):
    quick(small(), tmp_path)
    names = sorted(path.suffix for path in tmp_path.iterdir())
    assert names == [".json", ".lock", ".safetensors"]


def test_cache_folder_honours_xdg(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "pilotage" / "extractors"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "pilotage" / "extractors"


def test_accuracy_belongs_to_the_held_out_images(tmp_path, monkeypatch):
    data = small()
    quick(data, tmp_path)
    forbid_training(monkeypatch)
    flipped = ImageData.from_arrays(data.batch(range(4)).numpy(), 1 - data.labels[:4], data.classes)
    straight = ImageData.from_arrays(data.batch(range(4)).numpy(), data.labels[:4], data.classes)
    there, back = (quick(data, tmp_path, held_out=h).accuracy for h in (straight, flipped))
    assert there + back == 1
    nothing = ImageData.from_arrays(data.batch([]).numpy(), [], data.classes)
    assert quick(data, tmp_path, held_out=nothing).accuracy is None


@pytest.mark.parametrize("passes", [1, 2, 3, 4, 5])
def test_few_steps(tmp_path, passes):
    assert quick(small(), tmp_path, passes=passes).accuracy >= 0


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 9, 14), (4, 33, 20), (2, 64, 64)])
def test_any_shape(tmp_path, shape):
    data = small(shape, count=12, classes=3)
    extractor = quick(data, tmp_path)
    features = extractor(data.batch(range(5)))
    assert features.pooled.shape == (5, extractor.dimensions)
    assert features.spatial.shape[1] <= 256
    assert features.logits.shape == (5, 3)
    assert all(np.isfinite(part).all() for part in features)


def test_what_in_domain_refuses(tmp_path):
    data = small()
    nothing = ImageData.from_arrays(data.batch([]).numpy(), [], data.classes)
    with pytest.raises(PilotageError, match="without any training images"):
        quick(nothing, tmp_path)
    with pytest.raises(PilotageError, match="held_out"):
        quick(data, tmp_path, held_out=small((3, 8, 8)))
    with pytest.raises(PilotageError, match="seed=-1"):
        quick(data, tmp_path, seed=-1)
    with pytest.raises(PilotageError, match="passes=0"):
        quick(data, tmp_path, passes=0)
    (tmp_path / "file").touch()
    with pytest.raises(PilotageError, match="cache="):
        quick(data, tmp_path / "file")
    quick(data, tmp_path / "locked")
    (lock,) = (tmp_path / "locked").glob("*.lock")
    lock.unlink()
    lock.mkdir()
    with pytest.raises(PilotageError, match="cache="):
        quick(data, tmp_path / "locked")


def test_images_of_another_shape_are_refused(trained):
    with pytest.raises(PilotageError, match=r"\(1, 9, 8\).*trained on \(1, 8, 8\)"):
        trained[0](torch.zeros(2, 1, 9, 8, dtype=torch.uint8))
    with pytest.raises(PilotageError, match="float32"):
        trained[0](torch.zeros(2, 1, 8, 8))


def test_cached_classifiers_of_earlier_versions_are_found():
    """A file by another name would be trained again, and a hash would be another."""
    facts = Facts(1, "ab" * 32, (3, 9, 14), ("cat", "dog", "猫"), 7, 2, True)
    assert facts.key == "in-domain-35bc8a8bee2ec707cbe49847"
    assert facts.version == CODE_VERSION


# rotations of images of one class


def slopes(shape=(1, 8, 8), count=60, seed=0):
    """Noise on a slope that is darkest at the bottom and no more than grey on the right."""
    random = np.random.default_rng(seed)
    _, H, W = shape
    slope = np.linspace(200, 50, H)[:, None] + np.linspace(0, -40, W)
    images = slope + random.integers(0, 20, (count, *shape))
    return ImageData.from_arrays(images.astype(np.uint8), np.zeros(count, int), ["all"])


@pytest.mark.parametrize(("shape", "angles"), [((1, 8, 8), 4), ((3, 8, 12), 2)])
def test_images_of_one_class_are_told_apart_by_their_rotations(tmp_path, shape, angles):
    data, said = slopes(shape), []
    extractor = quick(data, tmp_path, slopes(shape, 20, seed=1), said, passes=12)
    assert isinstance(extractor, Extractor)
    assert (extractor.name, extractor.angles) == ("in-domain-rotations", angles)
    assert extractor.accuracy > 0.9
    assert f"training on {60 * angles} rotated images" in said[0]
    assert said[1].startswith(f"in-domain-rotations extractor {extractor.hash[:12]}: held-out acc")
    features = extractor(data.batch(range(5)))
    assert features.logits is None
    assert features.pooled.shape == (5, extractor.dimensions)
    assert not np.allclose(features.pooled, extractor(data.batch(range(5)).flip(2)).pooled, 0.01)
    assert quick(data, tmp_path / "b", passes=12).hash == extractor.hash
    assert quick(data, tmp_path / "b", passes=12, seed=1).hash != extractor.hash


def test_a_classifier_of_rotations_is_cached(tmp_path, monkeypatch):
    first = quick(slopes(), tmp_path)
    forbid_training(monkeypatch)
    again = quick(slopes(), tmp_path, held_out=slopes(seed=1))
    assert again.hash == first.hash
    (file,) = tmp_path.glob("*.json")
    assert "270 degrees" in file.read_text()
    (file,) = tmp_path.glob("*.safetensors")
    inner = quick(turned(slopes()), tmp_path)
    assert {first.dimensions} == {inner.dimensions}
    assert first.hash != inner.hash, "another name, so that their numbers are never compared"


def test_images_are_mirrored_before_they_are_turned():
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 4, 4), np.uint8)
    data = turned(ImageData.from_arrays(images, [0, 0, 0], ["all"]), mirrored=True)
    assert len(data) == 3 * 8
    assert (data.classes[1], data.labels.tolist()) == ("90 degrees", [0, 1, 2, 3] * 6)
    order = np.random.default_rng(1).permutation(24)
    for row, found in zip(order, data.batch(order), strict=True):
        image = images[row // 8, 0]
        upright = image[:, ::-1] if row % 8 >= 4 else image
        assert np.array_equal(found[0], np.rot90(upright, row % 4))
    assert data.batch([]).shape == (0, 1, 4, 4)
    flat = turned(ImageData.from_arrays(images[:, :, :3], [0, 0, 0], ["all"]))
    assert np.array_equal(flat.batch([3])[0, 0], images[1, 0, 2::-1, ::-1])
    plain = turned(ImageData.from_arrays(images, [0, 0, 0], ["all"]))
    assert len({data.fingerprint, plain.fingerprint, flat.fingerprint}) == 3


def test_a_folder_without_classes_is_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(MAX_PASSES, "cpu", 12)
    for name, part in (("train", slopes(count=90)), ("upside-down", slopes(count=90, seed=1))):
        (tmp_path / name).mkdir()
        for k, image in enumerate(part.batch(range(90))[:, 0].numpy()):
            file = tmp_path / name / f"{k}.png"
            Image.fromarray(image[::-1] if name == "upside-down" else image).save(file)
    settings = {"data": str(tmp_path / "train"), "force": True}
    rows, said = [], []
    for images in ("real", str(tmp_path / "upside-down")):
        rows.append(evaluate(EvaluateSettings(images=images, **settings), say=said.append))
    assert {row["extractor"]["name"] for row in rows} == {"in-domain-rotations"}
    assert rows[0]["extractor"]["accuracy"] > 0.5
    assert not any("warning" in line for line in said)
    metrics = [row["metrics"] for row in rows]
    assert not {"inception_score", "accuracy"} & set(metrics[0])
    assert metrics[0]["frechet"][0] < metrics[1]["frechet"][0]
    assert with_arrow("frechet", rows[0]["extractor"]) == "FD (in-domain rotation) ↓"


def test_rotations_that_look_alike_are_warned_of(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    noise, said = small(classes=1), []
    found = make_evaluator("in-domain", "noise", noise, small(classes=1, seed=1), said.append)
    assert found.extractor.accuracy < 0.5
    assert "hardly better than chance (25%)" in " ".join(said)


# TensorFlow 1's resizing


def test_resize_by_hand():
    row = torch.tensor([[[[0.0, 10.0, 40.0]]]])
    # positions 0, 0.6, 1.2, 1.8, 2.4; past the last pixel it is repeated
    torch.testing.assert_close(
        resize_tf1_bilinear(row, (1, 5))[0, 0, 0], torch.tensor([0.0, 6.0, 16.0, 34.0, 40.0])
    )
    # shrinking takes positions 0 and 1.5, and averages nothing else
    torch.testing.assert_close(resize_tf1_bilinear(row, (1, 2))[0, 0, 0], torch.tensor([0.0, 25.0]))
    square = torch.tensor([[[[0, 100], [200, 40]]]], dtype=torch.uint8)
    expected = [[0, 50, 100, 100], [100, 85, 70, 70], [200, 120, 40, 40], [200, 120, 40, 40]]
    torch.testing.assert_close(resize_tf1_bilinear(square, 4)[0, 0], torch.tensor(expected).float())


def test_resize_to_the_same_size_is_the_identity():
    images = torch.randint(256, (2, 3, 7, 5), dtype=torch.uint8)
    assert torch.equal(resize_tf1_bilinear(images, (7, 5)), images.float())


def test_resize_is_a_shifted_grid():
    """The Inception script resizes by grid sampling; both must agree."""
    images = torch.rand(2, 3, 11, 20) * 255
    height, width = 299, 299
    theta = torch.eye(2, 3)
    theta[0, 2], theta[1, 2] = 1 / 20 - 1 / width, 1 / 11 - 1 / height
    grid = nn.functional.affine_grid(theta.expand(2, 2, 3), [2, 3, height, width], False)
    sampled = nn.functional.grid_sample(images, grid, "bilinear", "border", False)
    torch.testing.assert_close(resize_tf1_bilinear(images, 299), sampled, rtol=0, atol=0.02)


# Inception


class Mixed(nn.Module):
    """A block with a convolution of that name."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        return torch.relu(self.conv(x)) + x


class StandIn(nn.Module):
    """Called like the published script, on any size, and much smaller."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(3, 8, 5, stride=17, padding=2),
                mixed_6=Mixed(),
                pool2=nn.AdaptiveAvgPool2d(1),
            )
        )
        self.output = nn.Linear(8, 5)

    def forward(self, img, return_features: bool = False, no_output_bias: bool = False):
        size = img.shape
        theta = torch.eye(2, 3)
        theta[0, 2] = 1.0 / size[3] - 1.0 / 299.0
        theta[1, 2] = 1.0 / size[2] - 1.0 / 299.0
        theta = theta.unsqueeze(0).repeat(size[0], 1, 1)
        grid = torch.affine_grid_generator(theta, [size[0], size[1], 299, 299], False)
        x = torch.grid_sampler(img.to(torch.float32), grid, 0, 1, False)
        features = self.layers((x - 128) / 128).flatten(1)
        if return_features:
            return features
        bias = torch.zeros(5) if no_output_bias else self.output.bias
        return torch.softmax(features @ self.output.weight.t() + bias, 1)


class Bare(nn.Module):
    """The same, but its layers cannot be seen."""

    def __init__(self, inner: StandIn):
        super().__init__()
        self.inner = inner

    def forward(self, img, return_features: bool = False, no_output_bias: bool = False):
        return self.inner(img, return_features, no_output_bias)


def save_script(module, path) -> str:
    """A TorchScript file; its SHA-256."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions advise against scripting
        torch.jit.script(module).save(str(path))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = StandIn()
    path = tmp_path_factory.mktemp("inception") / "stand-in.pt"
    return model, path, save_script(model, path)


def test_inception_gives_what_the_script_gives(script):
    model, path, sha256 = script
    extractor = inception(path, sha256=sha256, device="cpu")
    assert isinstance(extractor, Extractor)
    assert (extractor.name, extractor.dimensions, extractor.accuracy) == ("inception", 8, None)
    assert "TensorFlow 1 bilinear" in extractor.resize
    images = torch.randint(256, (3, 3, 32, 40), dtype=torch.uint8)
    features = extractor(images)
    with torch.no_grad():
        x = (resize_tf1_bilinear(images, 299) - 128) / 128
        middle = model.layers.mixed_6.conv(model.layers.conv(x))[:, :7].flatten(1)
        pooled, biased = model(images, True), model(images)
        probabilities = model(images, no_output_bias=True)
        logits = pooled @ model.output.weight.T
    expected = (pooled.numpy(), middle.numpy(), logits.numpy())
    same(features, expected, 1e-4)
    softmax = torch.from_numpy(features.logits).softmax(1)
    torch.testing.assert_close(softmax, probabilities)
    assert not torch.allclose(softmax, biased, atol=1e-3)


def test_inception_takes_grey_images_as_three_equal_channels(script):
    extractor = inception(script[1], sha256=script[2], device="cpu")
    grey = torch.randint(256, (2, 1, 8, 8), dtype=torch.uint8)
    same(extractor(grey), extractor(grey.repeat(1, 3, 1, 1)))
    with pytest.raises(PilotageError, match="C = 1 or 3"):
        extractor(torch.zeros(1, 2, 8, 8, dtype=torch.uint8))


def test_a_script_that_hides_its_layers(script, tmp_path):
    model, path, sha256 = script
    hidden = save_script(Bare(model), tmp_path / "bare.pt")
    bare = inception(tmp_path / "bare.pt", sha256=hidden, device="cpu")
    images = torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8)
    seen, whole = bare(images), inception(path, sha256=sha256, device="cpu")(images)
    assert seen.spatial is None
    same(seen[:1], whole[:1], 1e-5)
    softmax = [torch.from_numpy(part.logits).softmax(1) for part in (seen, whole)]
    torch.testing.assert_close(*softmax)
    assert inception(path, sha256=sha256, device="cpu", spatial=False)(images).spatial is None


def test_layers_that_do_not_add_up_are_not_used(script):
    model = StandIn()
    model.forward = lambda img, return_features=False, no_output_bias=False: (
        torch.ones(len(img), 8) if return_features else torch.full((len(img), 5), 0.2)
    )
    extractor = Inception(model, "0", torch.device("cpu"))
    features = extractor(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    assert features.spatial is None
    np.testing.assert_allclose(features.logits, np.log(0.2), rtol=1e-6)


def test_inception_refuses_another_file(script, tmp_path):
    with pytest.raises(PilotageError, match=r"SHA-256 .* is allowed only"):
        inception(script[1], device="cpu")
    with pytest.raises(PilotageError, match=INCEPTION_URL):
        inception(tmp_path / "absent.pt", device="cpu")
    text = tmp_path / "text.pt"
    text.write_text("not a script")
    with pytest.raises(PilotageError, match="not a TorchScript file"):
        inception(text, sha256=file_hash(text), device="cpu")


def test_inception_is_downloaded_once(script, tmp_path, monkeypatch):
    _, path, sha256 = script
    module = sys.modules[Inception.__module__]
    monkeypatch.setattr(module, "INCEPTION_URL", path.as_uri())
    first = inception(sha256=sha256, cache=tmp_path, device="cpu")
    monkeypatch.setattr(module, "INCEPTION_URL", "file:///absent")
    assert inception(sha256=sha256, cache=tmp_path, device="cpu").hash == first.hash
    with pytest.raises(PilotageError, match=r"cannot be downloaded .*inception:PATH"):
        inception(sha256=sha256, cache=tmp_path / "other", device="cpu")
    monkeypatch.setattr(module, "INCEPTION_URL", path.as_uri())
    with pytest.raises(PilotageError, match="try again"):
        inception(cache=tmp_path / "other", device="cpu")
    assert not list((tmp_path / "other").glob("*.pt"))


# DINOv2


class FakeDinov2(nn.Module):
    """Called like the model of transformers."""

    config = types.SimpleNamespace(hidden_size=3)

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    @classmethod
    def from_pretrained(cls, name, use_safetensors):
        if not use_safetensors or not Path(name).exists():
            raise OSError(f"{name} is not there")
        return cls()

    def forward(self, pixel_values):
        assert pixel_values.shape[1:] == (3, 224, 224)
        return types.SimpleNamespace(pooler_output=pixel_values.mean((2, 3)) * self.scale)


def test_dinov2_prepares_images(monkeypatch, tmp_path):
    fake = types.SimpleNamespace(Dinov2Model=FakeDinov2)
    monkeypatch.setitem(sys.modules, "transformers", fake)
    extractor = dinov2(tmp_path, device="cpu")
    assert isinstance(extractor, Extractor)
    grey = torch.full((2, 1, 8, 10), 51, dtype=torch.uint8)
    features = extractor(grey)
    expected = (0.2 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(features.pooled, np.tile(expected, (2, 1)), rtol=1e-4)
    assert features.spatial is features.logits is None
    assert load_extractor(f"dinov2:{tmp_path}", device="cpu").hash == extractor.hash
    with pytest.raises(PilotageError, match=r"dinov2:absent cannot be loaded"):
        dinov2("absent", device="cpu")


def test_dinov2_without_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(PilotageError, match="extra dinov2"):
        dinov2(device="cpu")


@pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="transformers is not installed"
)
def test_dinov2_of_transformers(tmp_path):
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    Dinov2Model(config).save_pretrained(tmp_path)
    extractor = dinov2(tmp_path, device="cpu")
    images = torch.randint(256, (3, 3, 12, 12), dtype=torch.uint8)
    joined = extractor(images).pooled
    assert joined.shape == (3, extractor.dimensions) == (3, 16)
    np.testing.assert_allclose(extractor(images[1:2]).pooled[0], joined[1], atol=1e-4)
    assert dinov2(tmp_path, device="cpu").hash == extractor.hash


# by name


def test_extractors_by_name(tmp_path, monkeypatch):
    data, nothing = small(), {"say": lambda line: None, "device": "cpu", "cache": tmp_path}
    extractor = load_extractor("in-domain", data, None, passes=1, **nothing)
    assert (extractor.name, extractor.accuracy) == ("in-domain", None)
    with pytest.raises(PilotageError, match=r"no file .*absent\.pt"):
        load_extractor(f"inception:{tmp_path / 'absent.pt'}", **nothing)
    with pytest.raises(PilotageError, match="without the training images"):
        load_extractor("in-domain", **nothing)
    for spec in ("fid", "", "in-domain:x", "inception:", "dinov2:"):
        with pytest.raises(PilotageError, match="is not allowed; give in-domain, inception"):
            load_extractor(spec, data, data, **nothing)
