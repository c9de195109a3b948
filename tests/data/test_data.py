"""`pilotage.data`: every source, every refusal, and the pixels that come out."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pilotage.data import ImageData, load_data
from pilotage.data import image_data as images
from pilotage.data.splits import hold_out
from pilotage.errors import PilotageError

REAL = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.fixture
def notes():
    return []


def save(path, values, mode=None, **options):
    """Write an array as an image file and return the array."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.asarray(values)
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path, **options)
    return values


def noise(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def class_folders(root, classes=("cat", "dog", "owl"), count=10, shape=(20, 28)):
    """Class folders of grey noise; returns the images in order of class and file."""
    return [
        save(root / name / f"{i:02}.png", noise(100 * c + i, *shape))
        for c, name in enumerate(classes)
        for i in range(count)
    ]


def encoded(values, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


def all_images(data):
    return data.batch(range(len(data))).numpy()


def write_parquet(path, columns, **features):
    from datasets import Dataset, Features

    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_dict(columns, features=Features(features) if features else None).to_parquet(path)
    return path


def image_feature():
    from datasets import Image as ImageFeature

    return ImageFeature()


def value(dtype):
    from datasets import Value

    return Value(dtype)


def string():
    return value("string")


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


# --- folders ----------------------------------------------------------------------------------


def test_class_folders_of_grey_oblongs(tmp_path, notes):
    expected = class_folders(tmp_path)
    train, held = load_data(tmp_path, held_out=0, say=notes.append)
    assert train.classes == held.classes == ("cat", "dog", "owl")
    assert train.shape == (1, 20, 28)
    assert train.labels.dtype == np.int64
    assert train.labels.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert np.array_equal(all_images(train)[:, 0], expected)
    assert notes == []


def test_batch_takes_any_indices_in_their_order(tmp_path):
    expected = np.stack(class_folders(tmp_path))
    train, _ = load_data(str(tmp_path), held_out=0)
    for indices in ([7, 3, 7], np.array([7, 3, 7]), torch.tensor([7, 3, 7])):
        batch = train.batch(indices)
        assert batch.dtype == torch.uint8
        assert np.array_equal(batch[:, 0], expected[[7, 3, 7]])
    train.batch([0]).fill_(0)
    assert np.array_equal(train.batch([0])[0, 0], expected[0])
    with pytest.raises(IndexError):
        train.batch([30])


def test_no_more_than_the_images_count(tmp_path, notes):
    expected = class_folders(tmp_path, ("cat", "dog"), count=2)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "cat" / ".hidden.png").write_text("no image")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "broken.png").write_text("no image")
    (tmp_path / "README.md").write_text("no image")
    (tmp_path / "void").mkdir()
    before = sorted(tmp_path.rglob("*"))
    train, _ = load_data(tmp_path, held_out=0, say=notes.append)
    assert train.classes == ("cat", "dog")
    assert np.array_equal(all_images(train)[:, 0], expected)
    assert len(notes) == 2
    assert any("void" in note and "no images" in note for note in notes)
    assert any("notes.txt" in note for note in notes)
    assert sorted(tmp_path.rglob("*")) == before


def test_nested_folders_belong_to_their_class(tmp_path, notes):
    deep = save(tmp_path / "cat" / "2024" / "a.png", noise(1, 4, 4))
    save(tmp_path / "dog" / "a.png", noise(2, 4, 4))
    save(tmp_path / "preview.png", noise(3, 9, 9))
    train, _ = load_data(tmp_path, held_out=0, say=notes.append)
    assert train.classes == ("cat", "dog")
    assert np.array_equal(train.batch([0])[0, 0], deep)
    assert any("1 images beside" in note for note in notes)


@pytest.mark.parametrize("classes", [("dog", "test", "train"), ("test", "test_patterns")])
def test_classes_called_like_splits_stay_classes(tmp_path, classes):
    expected = class_folders(tmp_path, classes, count=3)
    train, held = load_data(tmp_path, held_out=0)
    assert train.classes == classes
    assert len(held) == 0
    assert np.array_equal(all_images(train)[:, 0], expected)


def test_train_and_test_without_class_folders_are_classes(tmp_path):
    class_folders(tmp_path, ("test", "train"), count=3)
    assert load_data(tmp_path)[0].classes == ("test", "train")


@pytest.mark.parametrize(
    ("training", "name", "split"),
    [
        ("train", "test", "test"),
        ("train", "validation", "validation"),
        ("Train", "val", "validation"),
        ("training", "Valid", "validation"),
        ("TRAINING", "testing", "test"),
    ],
)
def test_split_folders(tmp_path, notes, training, name, split):
    expected = class_folders(tmp_path / training, count=3)
    class_folders(tmp_path / name, ("dog", "owl"), count=1)
    train, held = load_data(tmp_path, held_out=0.5, say=notes.append)
    assert train.classes == held.classes == ("cat", "dog", "owl")
    assert np.array_equal(all_images(train)[:, 0], expected)
    assert held.labels.tolist() == [1, 2]
    assert np.array_equal(all_images(held)[:, 0], [noise(0, 20, 28), noise(100, 20, 28)])
    assert len(notes) == 1
    assert repr(split) in notes[0]
    assert "held_out=0.5 is not used" in notes[0]


def test_test_goes_before_validation(tmp_path):
    class_folders(tmp_path / "train", count=3)
    class_folders(tmp_path / "validation", count=2)
    class_folders(tmp_path / "test", count=1)
    assert len(load_data(tmp_path)[1]) == 3


def test_unknown_class_in_the_test_split(tmp_path):
    class_folders(tmp_path / "train", ("cat", "dog"))
    class_folders(tmp_path / "test", ("cat", "yak"))
    with pytest.raises(PilotageError, match="class 'yak' of split 'test' is unknown"):
        load_data(tmp_path)


def test_unlabelled_test_folder_is_not_used(tmp_path, notes):
    class_folders(tmp_path / "train")
    save(tmp_path / "test" / "1.png", noise(0, 20, 28))
    train, held = load_data(tmp_path, say=notes.append)
    assert (len(train), len(held)) == (27, 3)
    assert any("'test'" in note and "without a label" in note for note in notes)


def test_images_without_class_folders(tmp_path, notes):
    folder = tmp_path / "flowers"
    expected = [save(folder / f"{i}.png", noise(i, 5, 6)) for i in range(3)]
    train, _ = load_data(folder, held_out=0, say=notes.append)
    assert train.classes == ("flowers",)
    assert np.array_equal(all_images(train)[:, 0], expected)
    assert any("no class folders" in note for note in notes)
    assert any("only one class ('flowers')" in note for note in notes)


def test_one_class_folder(tmp_path, notes):
    class_folders(tmp_path, ("cat",))
    train, _ = load_data(tmp_path, say=notes.append)
    assert train.classes == ("cat",)
    assert notes == [
        "data: only one class ('cat'); guidance has nothing to choose between",
    ]


def test_a_changed_file_is_read_again(tmp_path):
    class_folders(tmp_path, ("cat", "dog"), count=1)
    before, _ = load_data(tmp_path)
    changed = save(tmp_path / "cat" / "00.png", noise(77, 20, 28))
    after, _ = load_data(tmp_path)
    assert np.array_equal(after.batch([0])[0, 0], changed)
    assert not np.array_equal(before.batch([0])[0, 0], changed)


# --- modes ------------------------------------------------------------------------------------


def test_alpha_is_dropped(tmp_path, notes):
    rgba = save(tmp_path / "a" / "1.png", noise(1, 6, 5, 4))
    palette = Image.fromarray(noise(3, 6, 5, 3)).quantize(8)
    palette.save(tmp_path / "a" / "2.png", transparency=0)
    train, _ = load_data(tmp_path, held_out=0, say=notes.append)
    assert train.shape == (3, 6, 5)
    first, second = all_images(train)
    assert np.array_equal(first, rgba[..., :3].transpose(2, 0, 1))
    assert np.array_equal(second, np.asarray(palette.convert("RGB")).transpose(2, 0, 1))
    assert sum("alpha" in note for note in notes) == 1
    assert any("2 of 2" in note for note in notes)


def test_grey_with_alpha_stays_grey(tmp_path):
    grey_alpha = save(tmp_path / "a" / "1.png", noise(2, 6, 5, 2))
    bilevel = noise(4, 6, 5) > 127
    save(tmp_path / "a" / "2.png", bilevel)
    train, _ = load_data(tmp_path, held_out=0)
    assert train.shape == (1, 6, 5)
    assert np.array_equal(all_images(train)[:, 0], [grey_alpha[..., 0], 255 * bilevel])


def test_grey_among_colour_becomes_rgb(tmp_path, notes):
    grey = save(tmp_path / "a" / "1.png", noise(1, 6, 5))
    colour = save(tmp_path / "a" / "2.png", noise(2, 6, 5, 3))
    train, _ = load_data(tmp_path, held_out=0, say=notes.append)
    assert np.array_equal(all_images(train), [[grey] * 3, colour.transpose(2, 0, 1)])
    assert any("1 of 2 images are grey" in note for note in notes)


@pytest.mark.parametrize("mode", ["P", "CMYK", "YCbCr"])
def test_other_colour_becomes_rgb(tmp_path, mode):
    path = tmp_path / "a" / "1.tif"
    save(path, np.full((6, 5, 3), (200, 100, 50), np.uint8), mode)
    train, _ = load_data(tmp_path)
    assert train.shape == (3, 6, 5)
    expected = np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(all_images(train)[0], expected)
    assert np.abs(expected[:, 0, 0].astype(int) - (200, 100, 50)).max() < 26


@pytest.mark.parametrize(
    ("values", "suffix"),
    [
        (np.array([[0, 200, 32896, 65535]], np.uint16), "png"),
        (np.array([[0, 200, 32896, 65535]], np.int32), "tif"),
        (np.array([[0, 0.8 / 255, 128 / 255, 1]], np.float32), "tif"),
        (np.array([[0, 0.8, 128, 255]], np.float32), "tif"),
    ],
)
def test_deep_grey_is_scaled(tmp_path, notes, values, suffix):
    save(tmp_path / "a" / f"1.{suffix}", values)
    train, _ = load_data(tmp_path, say=notes.append)
    assert all_images(train).tolist() == [[[[0, 1, 128, 255]]]]
    assert any("more than 8 bits" in note for note in notes)


@pytest.mark.parametrize("worst", [-1.0, 300.0, np.nan])
def test_deep_grey_out_of_range_is_named(tmp_path, worst):
    save(tmp_path / "a" / "bad.tif", np.array([[0, worst]], np.float32))
    with pytest.raises(PilotageError, match=r"bad\.tif"):
        load_data(tmp_path)


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_exif_orientation_is_applied(tmp_path, notes, kind):
    upright = save(tmp_path / "a" / "1.png", noise(1, 6, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    save(tmp_path / "a" / f"2.{kind}", np.ascontiguousarray(np.rot90(upright)), exif=exif)
    train, _ = load_data(tmp_path, held_out=0, say=notes.append)
    assert train.shape == (1, 6, 4)
    assert np.array_equal(all_images(train)[:, 0], [upright, upright])
    assert not any("resized" in note for note in notes)


# --- sizes ------------------------------------------------------------------------------------


def stripes(height, width):
    """Thirds from left to right: 0, 120, 240."""
    return np.repeat(np.repeat([[0, 120, 240]], width // 3, axis=1), height, axis=0).astype("uint8")


def test_mixed_sizes_meet_at_the_smallest(tmp_path, notes):
    kept = save(tmp_path / "a" / "1.png", noise(1, 10, 12))
    save(tmp_path / "a" / "2.png", stripes(20, 72))
    save(tmp_path / "a" / "3.png", np.full((33, 12), 99, np.uint8))
    train, _ = load_data(tmp_path, held_out=0, say=notes.append)
    assert train.shape == (1, 10, 12)
    first, second, third = all_images(train)[:, 0]
    assert np.array_equal(first, kept)
    # 20x72 shrinks to 10x36, and its middle third is what the crop keeps.
    assert (second[:, 3:-3] == 120).all()
    assert (third == 99).all()
    assert notes[-1].startswith("data: 2 of 3 images are resized and centre-cropped to 10x12")
    assert "heights are 10 to 33, widths 12 to 72" in notes[-1]


@pytest.mark.parametrize("size", [8, (8, 8), [8, 8]])
def test_size_as_asked_is_antialiased(tmp_path, notes, size):
    chequered = np.indices((32, 32)).sum(0) % 2 * 200
    save(tmp_path / "a" / "1.png", chequered.astype(np.uint8))
    own = save(tmp_path / "a" / "2.png", noise(1, 8, 8))
    train, _ = load_data(tmp_path, size=size, held_out=0, say=notes.append)
    assert train.shape == (1, 8, 8)
    assert np.abs(all_images(train)[0].astype(int) - 100).max() <= 3
    assert np.array_equal(all_images(train)[1, 0], own)
    assert any("1 of 2 images are resized" in note for note in notes)


def test_size_is_height_then_width(tmp_path):
    save(tmp_path / "a" / "1.png", stripes(12, 36))
    train, _ = load_data(tmp_path, size=(6, 9))
    assert train.shape == (1, 6, 9)
    assert (all_images(train)[0, 0, :, 4] == 120).all()


@pytest.mark.parametrize("size", [0, -4, 2.5, True, (8,), (8, 0), (8, 8, 3), "big", "32"])
def test_bad_sizes(size):
    with pytest.raises(PilotageError, match=r"size=.*positive whole number"):
        load_data("digits", size=size)


# --- broken input -----------------------------------------------------------------------------


def test_unreadable_image_is_named(tmp_path):
    class_folders(tmp_path)
    (tmp_path / "dog" / "broken.png").write_bytes(b"this is no image")
    with pytest.raises(PilotageError, match=r"dog/broken\.png.*not an image"):
        load_data(tmp_path)


def test_truncated_jpeg_is_named(tmp_path):
    class_folders(tmp_path)
    whole = encoded(noise(1, 20, 28), "JPEG")
    (tmp_path / "dog" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PilotageError, match=r"dog/cut\.jpg.*truncated"):
        load_data(tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"no image"])
def test_bad_parquet_image_is_named_by_row(tmp_path, content):
    good = encoded(noise(1, 4, 4))
    rows = [{"bytes": good, "path": "x.png"}] * 3 + [{"bytes": content, "path": None}]
    struct = {"bytes": value("binary"), "path": string()}
    path = write_parquet(tmp_path / "a.parquet", {"image": rows}, image=struct)
    with pytest.raises(PilotageError, match="in row 3 of split 'train'"):
        load_data(path)


@pytest.mark.parametrize("within", [(), ("cat", "dog")])
def test_folder_without_images(tmp_path, within):
    for name in within:
        (tmp_path / name).mkdir()
    with pytest.raises(PilotageError, match="no images in"):
        load_data(tmp_path)


@pytest.mark.parametrize("name", ["./no_such", "/no/such/folder", "a/b/c", "set.parquet", "~x/y"])
def test_missing_source(name):
    with pytest.raises(PilotageError, match="data: no such folder or file"):
        load_data(name)


def test_a_missing_path_object_is_never_a_hub_id():
    with pytest.raises(PilotageError, match="data: no such folder or file 'cifar10'"):
        load_data(Path("cifar10"))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(PilotageError, match=r"a\.zip' is neither a folder nor a \.parquet file"):
        load_data(tmp_path / "a.zip")
    (tmp_path / "a.parquet").write_bytes(b"PK")
    with pytest.raises(PilotageError, match=r"a\.parquet' is no readable Parquet file"):
        load_data(tmp_path / "a.parquet")
    with pytest.raises(PilotageError, match="source=''"):
        load_data("")


# --- parquet ----------------------------------------------------------------------------------


def png_rows(count, start=0):
    return [{"bytes": encoded(noise(start + i, 4, 6)), "path": None} for i in range(count)]


def pixel_rows(count, start=0):
    return [noise(start + i, 4, 6) for i in range(count)]


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


def test_datasets_settings_are_put_back(tmp_path):
    import datasets

    path = write_parquet(tmp_path / "a.parquet", {"image": png_rows(3)}, image=image_feature())
    before = datasets.utils.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    load_data(path)
    assert before == (
        datasets.utils.are_progress_bars_disabled(),
        datasets.logging.get_verbosity(),
    )


# --- held out ---------------------------------------------------------------------------------


def test_split_is_stratified_and_repeatable():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 3], [100, 40, 3, 1]))
    np.random.seed(1)
    state = np.random.get_state()[1].copy()
    train, held = hold_out(labels, 0.1, seed=5)
    assert np.array_equal(np.random.get_state()[1], state)
    assert np.array_equal(np.sort(np.concatenate([train, held])), np.arange(144))
    assert np.bincount(labels[held], minlength=4).tolist() == [10, 4, 0, 0]
    again = hold_out(labels, 0.1, seed=5)
    assert np.array_equal(train, again[0])
    assert np.array_equal(held, again[1])
    assert not np.array_equal(held, hold_out(labels, 0.1, seed=6)[1])


def test_a_training_image_stays_in_every_class():
    labels = np.repeat([0, 1, 2], [10, 2, 1])
    train, held = hold_out(labels, 0.99, seed=0)
    assert np.bincount(labels[train]).tolist() == [1, 1, 1]
    assert len(held) == 10


def test_small_classes_keep_their_images(tmp_path, notes):
    class_folders(tmp_path, count=3)
    train, held = load_data(tmp_path, held_out=0.1, say=notes.append)
    assert (len(train), len(held)) == (9, 0)
    assert notes == ["data: 3 classes are too small to hold out 0.1 of their images"]


def test_seed_chooses_the_held_out_images(tmp_path):
    class_folders(tmp_path)
    held = [load_data(tmp_path, held_out=0.3, seed=seed)[1].fingerprint for seed in (1, 1, 2)]
    assert held[0] == held[1] != held[2]


@pytest.mark.parametrize("held_out", [-0.1, 1, 1.5, float("nan"), "0.1", True])
def test_bad_fractions(held_out):
    with pytest.raises(PilotageError, match="held_out="):
        load_data("digits", held_out=held_out)


@pytest.mark.parametrize("seed", [-1, 0.5, None])
def test_bad_seeds(seed):
    with pytest.raises(PilotageError, match="seed="):
        load_data("digits", seed=seed)


# --- ImageData --------------------------------------------------------------------------------


def test_lazy_is_as_in_memory(tmp_path, monkeypatch):
    class_folders(tmp_path, count=5)
    save(tmp_path / "cat" / "wide.png", noise(9, 20, 50))
    ready = load_data(tmp_path, held_out=0.2)
    monkeypatch.setattr(images, "MAX_BYTES_IN_MEMORY", 100)
    monkeypatch.setattr(images, "ROWS_PER_TASK", 3)
    lazy = load_data(tmp_path, held_out=0.2)
    for memory, later in zip(ready, lazy, strict=True):
        assert memory.in_memory
        assert not later.in_memory
        assert memory.shape == later.shape
        assert np.array_equal(memory.labels, later.labels)
        assert np.array_equal(all_images(memory), all_images(later))
        order = [len(memory) - 1, 0, 0, -1]
        assert torch.equal(memory.batch(order), later.batch(order))
        assert later.batch([]).shape == (0, *memory.shape)
        with pytest.raises(IndexError):
            later.batch([len(later)])


def test_lazy_fingerprint_sees_the_pixels(tmp_path, monkeypatch):
    class_folders(tmp_path, count=2)
    monkeypatch.setattr(images, "MAX_BYTES_IN_MEMORY", 0)
    first, again = (load_data(tmp_path, held_out=0)[0].fingerprint for _ in range(2))
    save(tmp_path / "cat" / "00.png", noise(55, 20, 28))
    assert first == again != load_data(tmp_path, held_out=0)[0].fingerprint


def test_lazy_failure_is_named(tmp_path, monkeypatch):
    class_folders(tmp_path, count=2)
    monkeypatch.setattr(images, "MAX_BYTES_IN_MEMORY", 0)
    train, _ = load_data(tmp_path, held_out=0)
    (tmp_path / "dog" / "01.png").unlink()
    with pytest.raises(PilotageError, match=r"dog/01\.png"):
        train.batch([3])


def test_fingerprint_sees_everything():
    pixels = noise(0, 4, 1, 2, 3)
    other = pixels.copy()
    other[3, 0, 1, 2] ^= 1
    prints = [
        ImageData.from_arrays(pixels, [0, 1, 0, 1], ("a", "b")).fingerprint,
        ImageData.from_arrays(other, [0, 1, 0, 1], ("a", "b")).fingerprint,
        ImageData.from_arrays(pixels, [0, 1, 1, 1], ("a", "b")).fingerprint,
        ImageData.from_arrays(pixels, [0, 1, 0, 1], ("a", "c")).fingerprint,
        ImageData.from_arrays(pixels.reshape(4, 1, 3, 2), [0, 1, 0, 1], ("a", "b")).fingerprint,
    ]
    assert len(set(prints)) == 5
    assert len(prints[0]) == 64
    assert ImageData.from_arrays(pixels, [0, 1, 0, 1], ("a", "b")).fingerprint == prints[0]


def test_arrays_must_fit():
    pixels = noise(0, 4, 1, 2, 3)
    for bad, labels in ((pixels, [0, 1]), (pixels[0], [0]), (pixels / 255.0, [0] * 4)):
        with pytest.raises(PilotageError, match="give uint8"):
            ImageData.from_arrays(bad, labels, ("a", "b"))
    with pytest.raises(PilotageError, match="labels from 0 to 2"):
        ImageData.from_arrays(pixels, [0, 1, 2, 0], ("a", "b"))


def test_data_cannot_be_changed():
    data = ImageData.from_arrays(noise(0, 2, 1, 2, 3), [0, 1], ("a", "b"))
    with pytest.raises(AttributeError):
        data.shape = (1, 1, 1)
    with pytest.raises(ValueError, match="read-only"):
        data.labels[0] = 1


def test_import_is_light():
    heavy = "{'datasets', 'sklearn', 'pandas'}"
    code = f"import pilotage.data, sys; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- real data --------------------------------------------------------------------------------


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
