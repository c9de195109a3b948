"""What `load_data` takes for a source, and a source of one's own."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pilotage.data import SOURCES, ImageData, Source, load_data, load_splits, parquet
from pilotage.data.sources import absolute
from pilotage.errors import PilotageError

from .making import all_images, class_folders, image_feature, noise, pixel_rows, png_rows

# --- a source of one's own --------------------------------------------------------------------


@pytest.fixture
def register():
    """Puts a source before all others, until the test is over."""
    before = list(SOURCES)
    yield lambda *source: SOURCES.insert(0, Source(*source))
    SOURCES[:] = before


def test_a_source_of_ones_own(register, hub):
    def open_toy(request):
        images = noise(request.seed, 6, 1, 4, 4)
        train = ImageData.from_arrays(images, [0, 1] * 3, ("a", "b"))
        return train, ImageData.from_arrays(images[:0], [], ("a", "b"))

    register(lambda name: name == "toy", open_toy)
    train, held = load_data("toy", seed=3)
    assert np.array_equal(all_images(train), noise(3, 6, 1, 4, 4))
    assert (train.classes, len(held)) == (("a", "b"), 0)
    triples, _ = load_data("stacked:toy")
    assert (triples.shape, len(triples.classes)) == ((3, 4, 4), 2**3)
    assert hub.asked == []


def test_a_source_of_splits_knows_all_settings(register):
    register(
        lambda name: str(name).startswith("toy:"),
        lambda request: load_splits({"train": hub_split(int(request.source[4:]))}, request),
    )
    train, held = load_data("toy:20", size=3, held_out=0.2)
    assert (train.shape, len(train), len(held)) == ((1, 3, 3), 16, 4)
    assert load_data("toy:20", label_column="label")[0].classes == ("a", "b")
    with pytest.raises(PilotageError, match="no caption column among img, label"):
        load_data("toy:20", captions=True)


def test_a_source_that_is_gone_is_asked_of_the_hub(hub):
    hub.answer = ConnectionError("no route")
    with pytest.raises(PilotageError, match="no such folder or file 'toy'"):
        load_data("toy")


# --- shapes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("held_out", 0.3),
        ("held_out", 0),
        ("image_column", "image"),
        ("label_column", "label"),
        ("caption_column", "text"),
    ],
)
def test_shapes_are_drawn_and_have_no_such_settings(setting, value):
    with pytest.raises(PilotageError, match=f"{setting}={value!r} is not allowed with 'shapes'"):
        load_data("shapes", size=16, captions=True, **{setting: value})
    train, _ = load_data("shapes", size=16, captions=True, held_out=0.1)
    assert train.shape == (3, 16, 16)


# --- digits -----------------------------------------------------------------------------------


def test_digits_hold_the_original_values():
    from sklearn.datasets import load_digits

    train, empty = load_data("digits", held_out=0)
    assert train.classes == tuple("0123456789")
    assert train.shape == (1, 8, 8)
    assert (len(train), len(empty)) == (1797, 0)
    assert empty.batch([]).shape == (0, 1, 8, 8)
    pixels = all_images(train)[:, 0]
    assert pixels.dtype == np.uint8
    assert (pixels.min(), pixels.max()) == (0, 255)
    original = load_digits()
    assert np.array_equal(np.round(pixels / 255 * 16), original.images)
    assert np.array_equal(train.labels, original.target)


def test_digits_held_out_is_apart():
    train, held = load_data("digits", held_out=0.2)
    seen = {image.tobytes() for image in all_images(train)}
    assert len(seen) == len(train)
    assert seen.isdisjoint(image.tobytes() for image in all_images(held))
    assert len(train) + len(held) == 1797
    share = np.bincount(held.labels) / (np.bincount(held.labels) + np.bincount(train.labels))
    assert np.allclose(share, 0.2, atol=0.005)


def test_digits_grow_to_a_size():
    train, _ = load_data("digits", size=16, held_out=0)
    assert train.shape == (1, 16, 16)
    small, _ = load_data("digits", held_out=0)
    assert abs(all_images(train).mean() - all_images(small).mean()) < 3


# --- paths ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["./no_such", "/no/such/folder", "a/b/c", "set.parquet", "~x/y"])
def test_missing_source(name):
    with pytest.raises(PilotageError, match="data: no such folder or file"):
        load_data(name)


def test_a_missing_path_object_is_never_a_hub_id():
    with pytest.raises(PilotageError, match="data: no such folder or file 'cifar10'"):
        load_data(Path("cifar10"))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.rar").write_bytes(b"PK")
    with pytest.raises(PilotageError, match=r"a\.rar' is neither a folder nor a \.parquet, .*file"):
        load_data(tmp_path / "a.rar")
    (tmp_path / "a.parquet").write_bytes(b"PK")
    with pytest.raises(PilotageError, match=r"a\.parquet' is no readable Parquet file"):
        load_data(tmp_path / "a.parquet")
    with pytest.raises(PilotageError, match="source=''"):
        load_data("")


# --- hub --------------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for the hub; its `asked` are the arguments of each call."""
    import datasets

    def load_dataset(*args):
        load_dataset.asked.append(args)
        if isinstance(load_dataset.answer, Exception):
            raise load_dataset.answer
        return load_dataset.answer

    load_dataset.asked = []
    monkeypatch.setattr(parquet, "_unknown", {})
    monkeypatch.setattr(parquet, "reachable", lambda: True)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return load_dataset


def hub_split(count, start=0):
    from datasets import ClassLabel, Dataset, Features

    features = Features(img=image_feature(), label=ClassLabel(names=["a", "b"]))
    columns = {"img": png_rows(count, start), "label": [i % 2 for i in range(count)]}
    return Dataset.from_dict(columns, features=features)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("owner/name", ("owner/name", None)),
        ("name", ("name", None)),
        ("owner/na-me.v1:con_fig", ("owner/na-me.v1", "con_fig")),
    ],
)
def test_hub_ids(hub, name, asked):
    from datasets import DatasetDict

    hub.answer = DatasetDict(train=hub_split(4).select([3, 2, 1, 0]), validation=hub_split(2, 50))
    train, held = load_data(name)
    assert hub.asked == [asked]
    assert train.classes == ("a", "b")
    assert train.labels.tolist() == [1, 0, 1, 0]
    assert np.array_equal(all_images(train)[:, 0], pixel_rows(4)[::-1])
    assert np.array_equal(all_images(held)[:, 0], pixel_rows(2, 50))


def test_hub_with_one_odd_split(hub, notes):
    from datasets import DatasetDict

    hub.answer = DatasetDict(full=hub_split(4))
    assert len(load_data("owner/name", held_out=0, say=notes.append)[0]) == 4
    assert any("only split 'full'" in note for note in notes)
    hub.answer = DatasetDict(part1=hub_split(4), part2=hub_split(4))
    with pytest.raises(PilotageError, match="no split 'train' among 'part1', 'part2'"):
        load_data("owner/name")


def test_hub_failure_names_the_id(hub):
    hub.answer = ConnectionError("no route\nto the hub")
    with pytest.raises(PilotageError, match=r"'owner/name'.*ConnectionError: no route") as caught:
        load_data("owner/name")
    assert "\n" not in str(caught.value)


def test_what_the_hub_does_not_have_is_asked_for_once(hub):
    hub.answer = ConnectionError("no route")
    for _ in range(3):
        with pytest.raises(PilotageError, match=r"'owner/name'.*no route"):
            load_data("owner/name")
    assert hub.asked == [("owner/name", None)]


def test_offline_only_the_cache_is_asked(hub, monkeypatch):
    import datasets
    from huggingface_hub import constants

    def load_dataset(*_):
        modes.append((datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE))
        raise ConnectionError("not in the cache")

    modes = []
    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    monkeypatch.setattr(parquet, "reachable", lambda: False)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(PilotageError, match="not in the cache"):
        load_data("owner/name")
    assert modes == [(True, True)]
    assert before == (datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE)


def test_a_source_means_the_same_from_everywhere(tmp_path, monkeypatch):
    (tmp_path / "owner" / "name").mkdir(parents=True)
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    place = str(tmp_path / "owner" / "name")
    assert absolute("owner/name") == absolute("./owner/../owner/name/") == place
    assert absolute("stacked:owner/name") == f"stacked:{place}"
    assert absolute("./digits") == str(tmp_path / "digits")
    for name in ("digits", "shapes", "25-gaussians", "stacked:digits", "owner/other", "imported"):
        assert absolute(name) == name


@pytest.mark.parametrize("name", ["./name", "../name", "/name", "a/b/c", "cats.zip", "o/x.parquet"])
def test_paths_are_not_asked_of_the_hub(hub, name):
    with pytest.raises(PilotageError, match="no such folder or file"):
        load_data(name)
    assert hub.asked == []


def test_a_folder_goes_before_the_hub(hub, tmp_path, monkeypatch):
    class_folders(tmp_path / "owner" / "name")
    monkeypatch.chdir(tmp_path)
    assert load_data("owner/name")[0].classes == ("cat", "dog", "owl")
    assert hub.asked == []


def test_import_is_light():
    heavy = "{'datasets', 'sklearn', 'pandas'}"
    code = f"import pilotage.data, sys; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
