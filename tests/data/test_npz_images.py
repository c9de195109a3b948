"""Images in `.npz` files, and folders that `save_to_disk` wrote."""

import json

import numpy as np
import pytest

from pilotage.data import load_data
from pilotage.errors import PilotageError

from .making import (
    all_images,
    by_shade,
    encoded,
    image_feature,
    load_captioned,
    noise,
    picture,
    png_rows,
    string,
    value,
    write_parquet,
)


def save_npz(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("names", [("images", "labels"), ("arr_0", "arr_1")])
def test_arrays_of_images(tmp_path, names, channels):
    images = noise(0, 20, 6, 8, channels)
    path = save_npz(tmp_path / "a.npz", **dict(zip(names, (images, [9, 10] * 10), strict=True)))
    train, held = load_data(path, held_out=0.2)
    assert train.classes == ("9", "10")
    assert train.shape == (channels, 6, 8)
    assert (len(train), len(held)) == (16, 4)
    whole, _ = load_data(path, held_out=0)
    assert np.array_equal(all_images(whole), images.transpose(0, 3, 1, 2))
    assert load_data(path, size=3)[0].shape == (channels, 3, 3)


def test_reference_batches_of_guided_diffusion(tmp_path, notes):
    images = noise(0, 5, 6, 8, 3)
    statistics = {"mu": np.zeros(4), "sigma": np.eye(4), "mu_s": np.zeros(3), "sigma_s": np.eye(3)}
    path = save_npz(tmp_path / "a.npz", arr_0=images, **statistics)
    train, _ = load_data(path, held_out=0, say=notes.append)
    assert train.classes == ("all",)
    assert np.array_equal(all_images(train), images.transpose(0, 3, 1, 2))
    save_npz(tmp_path / "a.npz", **statistics)
    with pytest.raises(PilotageError, match=r"has mu float64 .*it must have an array 'images'"):
        load_data(path)


def test_names_captions_and_grey_images(tmp_path):
    images = np.stack([picture(i) for i in range(4)])
    texts = {"labels": np.array(["dog", "cat"] * 2), "captions": np.array(["a", "b", "", "d\ne"])}
    path = save_npz(tmp_path / "a.npz", images=images, **texts)
    train, _ = load_captioned(path)
    assert by_shade(train) == {0: "a", 1: "b", 2: "", 3: "d e"}
    assert train.classes == ("cat", "dog")
    assert np.array_equal(all_images(train)[:, 0], images)
    with pytest.raises(PilotageError, match="no array 'captions'"):
        load_captioned(save_npz(tmp_path / "b.npz", images=images))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": noise(0, 2, 6, 8, 4)}, "4 channels; allowed are 1 and 3"),
        ({"images": noise(0, 2, 6, 8, 3) / 255}, "it must have an array"),
        ({"images": noise(0, 0, 6, 8, 3)}, "it must have an array"),
        ({"images": noise(0, 6)}, "it must have an array"),
        ({"x": noise(0, 2, 6, 8, 3)}, "it must have an array"),
        ({}, "has nothing"),
        ({"images": noise(0, 2, 6, 8, 3), "labels": [0, 1, 2]}, r"labels of int64 \(3,\)"),
        ({"images": noise(0, 2, 6, 8, 3), "labels": [0.5, 1]}, "labels of float64"),
        ({"images": noise(0, 2, 6, 8, 3), "labels": 3}, r"labels of int64 \(\)"),
        ({"images": noise(0, 2, 6, 8, 3), "labels": [0, -1]}, "has no label"),
    ],
)
def test_bad_arrays(tmp_path, arrays, message):
    with pytest.raises(PilotageError, match=message) as caught:
        load_data(save_npz(tmp_path / "a.npz", **arrays))
    assert "\n" not in str(caught.value)


def test_columns_mean_nothing_to_arrays(tmp_path):
    path = save_npz(tmp_path / "a.npz", images=noise(0, 2, 6, 8, 3))
    with pytest.raises(PilotageError, match="label_column='label' is not allowed with"):
        load_data(path, label_column="label")


def test_damaged_arrays_are_a_sentence(tmp_path):
    path = save_npz(tmp_path / "a.npz", images=noise(0, 2, 6, 8, 3))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(PilotageError, match=r"data is .*a\.npz: it is not a readable \.npz"):
        load_data(path)


# --- save_to_disk -----------------------------------------------------------------------------


def saved(root, count=4, start=0):
    from datasets import ClassLabel, Dataset, Features

    features = Features(image=image_feature(), label=ClassLabel(names=["cat", "dog"]))
    columns = {"image": png_rows(count, start), "label": [i % 2 for i in range(count)]}
    return Dataset.from_dict(columns, features=features)


def test_saved_folders(tmp_path):
    from datasets import DatasetDict

    saved(tmp_path).save_to_disk(tmp_path / "one")
    train, _ = load_data(tmp_path / "one", held_out=0)
    assert train.classes == ("cat", "dog")
    expected = [noise(i, 4, 6) for i in range(4)]
    assert np.array_equal(all_images(train)[:, 0], expected)
    splits = DatasetDict(train=saved(tmp_path), test=saved(tmp_path, 2, 50))
    splits.save_to_disk(tmp_path / "two")
    train, held = load_data(tmp_path / "two")
    assert np.array_equal(all_images(train)[:, 0], expected)
    assert len(held) == 2


@pytest.mark.parametrize("name", ["../x.arrow", "/etc/passwd", "a/b.arrow"])
def test_saved_folders_do_not_lead_outside(tmp_path, name):
    saved(tmp_path).save_to_disk(tmp_path / "one")
    state = json.loads((tmp_path / "one" / "state.json").read_text())
    state["_data_files"] = [{"filename": name}]
    (tmp_path / "one" / "state.json").write_text(json.dumps(state))
    with pytest.raises(PilotageError, match="which leads out of it"):
        load_data(tmp_path / "one")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"_data_files": 3}', b"3"])
def test_damaged_saved_folders(tmp_path, content):
    saved(tmp_path).save_to_disk(tmp_path / "one")
    (tmp_path / "one" / "state.json").write_bytes(content)
    with pytest.raises(PilotageError, match=r"cannot read the saved|state\.json' is not UTF-8"):
        load_data(tmp_path / "one")


# --- paths in tables --------------------------------------------------------------------------


@pytest.fixture
def by_path(tmp_path):
    """A Parquet file whose one image is a path."""

    def make(path):
        root = tmp_path / "outside" / "data"
        root.mkdir(parents=True, exist_ok=True)
        (root / "a.png").write_bytes(encoded(picture(1)))
        (root.parent / "secret.png").write_bytes(encoded(picture(2)))
        if not (root / "link.png").is_symlink():
            (root / "link.png").symlink_to(root.parent / "secret.png")
        struct = {"bytes": value("binary"), "path": string()}
        rows = [{"bytes": None, "path": str(path).format(outside=root.parent)}]
        return write_parquet(root / "x.parquet", {"image": rows}, image=struct)

    return make


def test_paths_are_relative_to_the_table(by_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert all_images(load_data(by_path("a.png"))[0])[0, 0, 0, 0] == 1


@pytest.mark.parametrize("path", ["../secret.png", "{outside}/secret.png", "link.png"])
def test_paths_do_not_lead_outside(by_path, path):
    with pytest.raises(PilotageError, match=r"secret\.png|link\.png.*allow_outside"):
        load_data(by_path(path))
    assert all_images(load_data(by_path(path), allow_outside=True)[0])[0, 0, 0, 0] == 2
