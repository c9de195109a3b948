"""Parquet files: columns, labels and splits."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pilotage.data import load_data
from pilotage.errors import PilotageError

from .making import (
    all_images,
    encoded,
    image_feature,
    noise,
    pixel_rows,
    png_rows,
    string,
    value,
    write_parquet,
)


@pytest.mark.parametrize("content", [None, b"", b"no image"])
def test_bad_parquet_image_is_named_by_row(tmp_path, content):
    good = encoded(noise(1, 4, 4))
    rows = [{"bytes": good, "path": "x.png"}] * 3 + [{"bytes": content, "path": None}]
    struct = {"bytes": value("binary"), "path": string()}
    path = write_parquet(tmp_path / "a.parquet", {"image": rows}, image=struct)
    with pytest.raises(PilotageError, match="in row 3 of split 'train'"):
        load_data(path)


def test_parquet_with_class_names(tmp_path, notes):
    from datasets import ClassLabel

    path = write_parquet(
        tmp_path / "set [1].parquet",
        {"picture": png_rows(4), "kind": [2, 0, 2, 0]},
        picture=image_feature(),
        kind=ClassLabel(names=["owl", "cat", "dog"]),
    )
    train, held = load_data(path, held_out=0, say=notes.append)
    assert train.classes == ("owl", "dog")
    assert train.labels.tolist() == [1, 0, 1, 0]
    assert np.array_equal(all_images(train)[:, 0], pixel_rows(4))
    assert len(held) == 0
    assert notes == ["data: classes without training images are left out: 'cat'"]


@pytest.mark.parametrize(
    ("column", "labels", "classes", "codes"),
    [
        ("class", ["owl", "cat", "owl"], ("cat", "owl"), [1, 0, 1]),
        ("target", [10, 9, 10], ("9", "10"), [1, 0, 1]),
        ("fine_label", [True, False, True], ("False", "True"), [1, 0, 1]),
    ],
)
def test_parquet_with_plain_labels(tmp_path, column, labels, classes, codes):
    blobs = [encoded(pixels) for pixels in pixel_rows(3)]
    path = write_parquet(tmp_path / "a.parquet", {"blob": blobs, column: labels, "n": [1, 2, 3]})
    train, _ = load_data(path, held_out=0)
    assert train.classes == classes
    assert train.labels.tolist() == codes
    assert np.array_equal(all_images(train)[:, 0], pixel_rows(3))


def test_parquet_without_labels(tmp_path, notes):
    path = write_parquet(tmp_path / "a.parquet", {"image": png_rows(3)}, image=image_feature())
    train, _ = load_data(path, held_out=0, say=notes.append)
    assert train.classes == ("all",)
    assert train.labels.tolist() == [0, 0, 0]
    assert "data: no label column; all images are of class 'all'" in notes


def test_columns_are_asked_for_when_several_fit(tmp_path):
    columns = {"a": png_rows(2), "b": png_rows(2, 50), "label": [0, 1], "category": [1, 1]}
    path = write_parquet(
        tmp_path / "x.parquet",
        columns,
        a=image_feature(),
        b=image_feature(),
        label=value("int64"),
        category=value("int64"),
    )
    with pytest.raises(PilotageError, match="set image_column to one of the columns a, b"):
        load_data(path)
    with pytest.raises(PilotageError, match="set label_column to one of the columns label, cat"):
        load_data(path, image_column="b")
    with pytest.raises(PilotageError, match=r"image_column='c' is no column.*a, b, label"):
        load_data(path, image_column="c")
    with pytest.raises(PilotageError, match=r"label_column='c' is no column.*a, b, label"):
        load_data(path, image_column="b", label_column="c")
    with pytest.raises(PilotageError, match="label_column='a' holds"):
        load_data(path, image_column="b", label_column="a")
    train, _ = load_data(path, image_column="b", label_column="label", held_out=0)
    assert np.array_equal(all_images(train)[:, 0], pixel_rows(2, 50))


def test_no_image_column(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", {"text": ["a"], "label": [0]})
    with pytest.raises(PilotageError, match="no image column among text, label; set image_column"):
        load_data(path)


@pytest.mark.parametrize("missing", [None, -1])
def test_unlabelled_training_row_is_named(tmp_path, missing):
    columns = {"image": png_rows(3), "label": [0, 1, missing]}
    path = write_parquet(
        tmp_path / "x.parquet", columns, image=image_feature(), label=value("int64")
    )
    with pytest.raises(PilotageError, match="row 2 of split 'train' has no label"):
        load_data(path)


def test_parquet_splits_by_name(tmp_path, notes):
    for name, count, start in (("train-0", 2, 0), ("train-1", 2, 2), ("test", 2, 50)):
        columns = {"image": png_rows(count, start), "label": ["a", "b"]}
        path = tmp_path / "data" / f"{name}.parquet"
        write_parquet(path, columns, image=image_feature(), label=string())
    train, held = load_data(tmp_path, say=notes.append)
    assert np.array_equal(all_images(train)[:, 0], pixel_rows(4))
    assert np.array_equal(all_images(held)[:, 0], pixel_rows(2, 50))
    assert notes == ["data: split 'test' is the held-out set; held_out=0.1 is not used"]


def test_parquet_of_other_names_is_all_training(tmp_path):
    for i, name in enumerate(("first", "test", "values")):
        columns = {"image": png_rows(2, 10 * i), "label": ["a", "b"]}
        write_parquet(tmp_path / f"{name}.parquet", columns, image=image_feature(), label=string())
    train, held = load_data(tmp_path, held_out=0)
    assert (len(train), len(held)) == (6, 0)


def test_unlabelled_parquet_test_split_gives_way(tmp_path, notes):
    for name, labels in (("train", [0, 1] * 5), ("test", [-1, -1]), ("validation", [0, 1, 1])):
        columns = {"image": png_rows(len(labels)), "label": labels}
        path = tmp_path / f"{name}.parquet"
        write_parquet(path, columns, image=image_feature(), label=value("int64"))
    assert len(load_data(tmp_path, say=notes.append)[1]) == 3
    assert any("'test'" in note and "without a label" in note for note in notes)
    (tmp_path / "validation.parquet").unlink()
    train, held = load_data(tmp_path, held_out=0.2)
    assert (len(train), len(held)) == (8, 2)


def test_a_changed_parquet_file_is_read_again(tmp_path):
    path = tmp_path / "x.parquet"
    features = {"image": image_feature(), "label": string()}
    write_parquet(path, {"image": png_rows(2), "label": ["a", "b"]}, **features)
    load_data(path)
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    write_parquet(path, {"image": png_rows(2, 80), "label": ["a", "b"]}, **features)
    os.utime(path, ns=times)
    train, _ = load_data(path)
    assert np.array_equal(all_images(train)[:, 0], pixel_rows(2, 80))


def test_datasets_settings_are_put_back(tmp_path):
    import datasets

    path = write_parquet(tmp_path / "a.parquet", {"image": png_rows(3)}, image=image_feature())
    before = datasets.utils.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    load_data(path)
    assert before == (
        datasets.utils.are_progress_bars_disabled(),
        datasets.logging.get_verbosity(),
    )


REAL = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize(
    ("name", "shape"), [("mnist", (1, 28, 28)), ("cifar10", (3, 32, 32))], ids=["mnist", "cifar10"]
)
def test_real_data(name, shape):
    path = REAL / name / "test.parquet"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    from pyarrow import parquet

    train, held = load_data(path, held_out=0.1)
    assert train.shape == held.shape == shape
    assert len(train.classes) == 10
    assert (len(train), len(held)) == pytest.approx((9000, 1000), abs=5)
    table = parquet.read_table(path).slice(0, 40).to_pylist()
    pixels = [np.asarray(Image.open(io.BytesIO(row["image"]["bytes"]))) for row in table]
    wanted = {
        np.moveaxis(p.reshape(*shape[1:], -1), -1, 0).tobytes(): row["label"]
        for p, row in zip(pixels, table, strict=True)
    }
    found = {}
    for part in (train, held):
        for image, label in zip(all_images(part), part.labels, strict=True):
            if image.tobytes() in wanted:
                found[image.tobytes()] = label
    assert found == wanted
