"""Folders of images: classes, splits and what is passed over."""

import os

import numpy as np
import pytest

from pilotage.data import load_data
from pilotage.errors import PilotageError

from .making import all_images, class_folders, noise, save


def test_class_folders_of_grey_oblongs(tmp_path, notes):
    expected = class_folders(tmp_path)
    train, held = load_data(tmp_path, held_out=0, say=notes.append)
    assert train.classes == held.classes == ("cat", "dog", "owl")
    assert train.shape == (1, 20, 28)
    assert train.labels.dtype == np.int64
    assert train.labels.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert np.array_equal(all_images(train)[:, 0], expected)
    assert notes == []


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


@pytest.mark.parametrize(
    "classes", [("dog", "train"), ("dog", "test", "val"), ("test", "test_patterns")]
)
def test_classes_called_like_splits_stay_classes(tmp_path, classes):
    expected = class_folders(tmp_path, classes, count=3)
    train, held = load_data(tmp_path, held_out=0)
    assert train.classes == classes
    assert len(held) == 0
    assert np.array_equal(all_images(train)[:, 0], expected)


@pytest.mark.parametrize("above", ["", "images", "data/images"])
def test_splits_need_no_class_folders(tmp_path, notes, above):
    root = tmp_path / "photos"
    expected = class_folders(root / above, ("train", "val"), count=3)
    (root / "labels" / "train").mkdir(parents=True)
    (root / "labels" / "train" / "00.txt").write_text("0 0.5 0.5 1 1")
    train, held = load_data(root, say=notes.append)
    assert train.classes == held.classes == ("photos",)
    assert np.array_equal(all_images(train)[:, 0], expected[:3])
    assert np.array_equal(all_images(held)[:, 0], expected[3:])
    assert any("split 'validation' is the held-out set" in note for note in notes)


@pytest.mark.parametrize(
    "folders",
    [
        *(("train", "test", "dog"), ("train", "val", "validation"), ("Train", "train", "test")),
        *(("images/train", "images/test", "masks/train", "masks/test"),),
        *(("cat/train", "cat/test", "dog/train", "dog/test"), ("a/b/train", "a/b/test", "c")),
    ],
)
def test_splits_are_never_taken_for_classes(tmp_path, folders):
    class_folders(tmp_path, folders, count=1)
    with pytest.raises(PilotageError, match=r"splits of their own|for training and for testing"):
        load_data(tmp_path)


@pytest.mark.parametrize(
    ("training", "held"),
    [
        ("train2017", "val2017"),
        ("train_set", "test_set"),
        ("Train-Images", "dev"),
        ("train", "eval"),
    ],
)
def test_usual_names_of_splits(tmp_path, training, held):
    class_folders(tmp_path, (training, held), count=3)
    parts = load_data(tmp_path)
    assert [len(part) for part in parts] == [3, 3]
    assert parts[0].classes == (tmp_path.name,)


@pytest.mark.parametrize("classes", [("train1", "train2"), ("testament", "validity"), ("trains",)])
def test_names_that_only_begin_like_splits_are_classes(tmp_path, classes):
    class_folders(tmp_path, classes, count=3)
    assert load_data(tmp_path)[0].classes == classes


@pytest.mark.parametrize(
    "name",
    ["@eaDir", "__MACOSX", "lost+found", ".Trash-1000", "$RECYCLE.BIN", "@EADIR", "#recycle"],
)
def test_what_systems_leave_is_no_class(tmp_path, notes, name):
    class_folders(tmp_path, ("cat", "dog"), count=1)
    save(tmp_path / name / "thumb.png", noise(5, 20, 28))
    save(tmp_path / "cat" / name / "thumb.png", noise(5, 20, 28))
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "cat" / "._00.png").write_bytes(b"x")
    train, _ = load_data(tmp_path, held_out=0, say=notes.append)
    assert train.classes == ("cat", "dog")
    assert len(train) == 2
    assert notes == []


def test_names_that_are_not_utf8(tmp_path):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    image = save(tmp_path / "dog" / "a.png", noise(1, 20, 28))
    os.mkdir(folder)  # noqa: PTH102
    os.replace(tmp_path / "dog" / "a.png", folder + b"/\xff.png")  # noqa: PTH105
    other = save(tmp_path / "dog" / "b.png", noise(2, 20, 28))
    train, _ = load_data(tmp_path, held_out=0)
    assert train.classes == ("caf\\xe9", "dog")
    assert np.array_equal(all_images(train)[:, 0], [image, other])
    with pytest.raises(PilotageError, match="not UTF-8"):
        load_data(os.fsdecode(folder))


def test_links_in_a_circle_end(tmp_path):
    class_folders(tmp_path, ("cat", "dog"), count=1)
    (tmp_path / "cat" / "again").symlink_to(tmp_path)
    (tmp_path / "all").symlink_to(tmp_path)
    (tmp_path / "owl").symlink_to(tmp_path / "dog")
    train, _ = load_data(tmp_path, held_out=0)
    assert train.classes == ("cat", "dog", "owl")
    assert len(train) == 3


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


@pytest.mark.parametrize("within", [(), ("cat", "dog")])
def test_folder_without_images(tmp_path, within):
    for name in within:
        (tmp_path / name).mkdir()
    with pytest.raises(PilotageError, match="no images in"):
        load_data(tmp_path)
