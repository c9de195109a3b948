"""Captions in tables, labels beside them, and captions that stay with their images."""

import re

import numpy as np
import pytest

from pilotage.data import ImageData, image_data, load_data
from pilotage.errors import PilotageError

from .making import (
    HELD_OUT,
    by_shade,
    captioned,
    captioned_parquet,
    load_captioned,
    write,
    write_csv,
)


def test_parquet_with_captions(tmp_path, notes):
    texts = ["a 🐈", "", None, "un\n chat"]
    path = captioned_parquet(tmp_path / "x.parquet", range(4), text=texts, title=["no"] * 4)
    train, _ = load_captioned(path, notes)
    assert train.classes == ("all",)
    assert by_shade(train) == {0: "a 🐈", 1: "", 2: "", 3: "un chat"}
    assert notes == [
        "data: no label column; all images are of class 'all'",
        "data: no caption for row 2 of split 'train'; the empty caption is used",
        "data: 1 of 3 captions is empty",
    ]


def test_parquet_splits_and_labels(tmp_path):
    for split, start in (("train", 0), ("test", 50)):
        shades = range(start, start + 4)
        texts = [f"caption {shade}" for shade in shades]
        labels = ["cat", "dog"] * 2
        captioned_parquet(tmp_path / f"{split}.parquet", shades, sentence=texts, label=labels)
    train, held = load_captioned(tmp_path)
    assert train.classes == ("cat", "dog")
    assert by_shade(train) == {shade: f"caption {shade}" for shade in range(4)}
    assert by_shade(held) == {shade: f"caption {shade}" for shade in range(50, 54)}


def test_lists_of_captions(tmp_path, notes):
    lists = [["one", "two"], ["three"], [], ["four", "five", "six"], None]
    path = captioned_parquet(tmp_path / "x.parquet", range(5), captions=lists)
    assert by_shade(load_captioned(path, notes)[0]) == {
        0: "one",
        1: "three",
        2: "",
        3: "four",
        4: "",
    }
    assert (
        "data: 2 images have several captions in column 'captions'; the first of each is used"
        in notes
    )


def test_columns_of_tables(tmp_path):
    columns = {"title": ["a"], "alt": ["b"], "label": ["c"], "n": [1]}
    path = captioned_parquet(tmp_path / "x.parquet", [9], **columns)
    with pytest.raises(PilotageError, match="set caption_column to one of the columns title, alt"):
        load_captioned(path)
    with pytest.raises(PilotageError, match=r"caption_column='z' is no column; .* title, alt"):
        load_captioned(path, caption_column="z")
    with pytest.raises(PilotageError, match=r"caption_column='n' holds .*lists of strings"):
        load_captioned(path, caption_column="n")
    assert load_captioned(path, caption_column="alt")[0].captions == ("b",)
    labelled, _ = load_captioned(path, caption_column="label")
    assert labelled.captions == ("c",)
    assert labelled.classes == ("all",)


def test_a_table_without_captions(tmp_path):
    path = captioned_parquet(tmp_path / "x.parquet", [9], n=[1])
    with pytest.raises(PilotageError, match=r"no caption column among image, n; captions are look"):
        load_captioned(path)
    path = captioned_parquet(tmp_path / "y.parquet", [9, 8], text=[None, None], title=["a", "b"])
    with pytest.raises(PilotageError, match="no image of split 'train' has a caption; captions ar"):
        load_captioned(path)


@pytest.mark.parametrize("source", ["digits", "stacked:digits", "25-gaussians"])
def test_sources_without_captions(source):
    with pytest.raises(PilotageError, match="captions are looked for in a text file"):
        load_captioned(source)


# --- labels beside captions -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "note", "refused"),
    [
        (
            {"category": ["a", "b", "a", None]},
            "the labels of column 'category' are not used, as row 3 of split 'train' has no label "
            "(none or negative)",
            "row 3 of split 'train' has no label",
        ),
        (
            {"label": [0, -1, 0, 1]},
            "the labels of column 'label' are not used, as row 1 of split 'train' has no label "
            "(none or negative)",
            "row 1 of split 'train' has no label",
        ),
        (
            {"target": [0.5, 1.5, 2.5, 3.5]},
            "the labels of column 'target' are not used, as they are Value('float64'), neither "
            "whole numbers nor strings",
            "label_column='target' holds Value",
        ),
        (
            {"labels": [["a", "b"], ["a"], [], ["c"]]},
            "the labels of column 'labels' are not used, as they are List(Value('string')), "
            "neither whole numbers nor strings",
            "label_column='labels' holds List",
        ),
        (
            {"label": [0, 1, 0, None], "category": ["a"] * 4},
            "the labels are not used, as the columns label, category may all hold them",
            "row 3 of split 'train' has no label",
        ),
    ],
)
def test_labels_that_cannot_be_used_count_as_none(tmp_path, notes, columns, note, refused):
    path = captioned_parquet(tmp_path / "x.parquet", range(4), text=list("abcd"), **columns)
    train, _ = load_captioned(path, notes)
    assert train.classes == ("all",)
    assert train.labels.tolist() == [0] * 4
    assert by_shade(train) == dict(enumerate("abcd"))
    assert notes == [f"data: {note}; all images are of class 'all'"]
    with pytest.raises(PilotageError, match=re.escape(refused)):
        load_captioned(path, label_column=next(iter(columns)))
    with pytest.raises(PilotageError, match="label"):
        load_data(path)


def test_arrays_are_no_labels(tmp_path):
    from datasets import Array2D, Dataset, Features
    from datasets import Image as ImageFeature

    made = Dataset.from_parquet(str(captioned_parquet(tmp_path / "x.parquet", [9], text=["a"])))
    features = Features(**made.features, label=Array2D((1, 2), "int64"))
    columns = {**made.cast_column("image", ImageFeature(decode=False))[:], "label": [[[1, 2]]]}
    path = tmp_path / "y.parquet"
    Dataset.from_dict(columns, features=features).to_parquet(path)
    assert load_captioned(path)[0].classes == ("all",)
    with pytest.raises(PilotageError, match="label_column='label' holds Array2D"):
        load_data(path)


@pytest.mark.parametrize("folders", [False, True])
def test_an_unknown_class_in_the_test_split_of_captions(tmp_path, notes, folders):
    classes = {"train": ["cat", "dog"], "test": ["cat", "yak"]}
    for start, (split, names) in zip((0, 50), classes.items(), strict=True):
        if folders:
            for i, name in enumerate(names):
                captioned(tmp_path / split / name, [f"a {name}"], start=start + i)
        else:
            texts = [f"a {name}" for name in names]
            shades = range(start, start + 2)
            captioned_parquet(tmp_path / f"{split}.parquet", shades, text=texts, category=names)
    train, held = load_data(tmp_path, captions=True, say=notes.append)
    assert train.classes == held.classes == ("all",)
    assert by_shade(train) == {0: "a cat", 1: "a dog"}
    assert by_shade(held) == {50: "a cat", 51: "a yak"}
    of = "" if folders else " of column 'category'"
    assert notes == [
        f"data: the labels{of} are not used, as class 'yak' of split 'test' is unknown in the "
        "training split; all images are of class 'all'",
        HELD_OUT,
    ]
    with pytest.raises(PilotageError, match="class 'yak' of split 'test' is unknown"):
        load_captioned(tmp_path, label_column="label" if folders else "category")


def test_classes_that_are_too_small_are_held_out_together(tmp_path, notes):
    names = [f"id {i}" for i in range(12)]
    path = captioned_parquet(tmp_path / "x.parquet", range(12), text=names, category=names)
    train, held = load_captioned(path, notes, held_out=0.25)
    assert (len(train), len(held)) == (9, 3)
    assert by_shade(train) | by_shade(held) == dict(enumerate(names))
    assert notes == [
        "data: 12 classes are too small to hold out 0.25 of their images",
        "data: the held-out images are drawn over all classes together",
    ]
    assert len(load_captioned(path, held_out=0)[1]) == 0
    assert len(load_captioned(path, held_out=0.25, label_column="category")[1]) == 0
    assert len(load_data(path, held_out=0.25)[1]) == 0


def test_labels_that_can_be_used_split_as_ever(tmp_path):
    texts = [f"c {i}" for i in range(12)]
    columns = {"text": texts, "category": ["a", "b", "c"] * 4}
    path = captioned_parquet(tmp_path / "x.parquet", range(12), **columns)
    train, held = load_captioned(path, held_out=0.3)
    assert train.classes == ("a", "b", "c")
    # Runs that are on disk know their data by these numbers.
    assert train.fingerprint.startswith("c7a3d437")
    assert held.fingerprint.startswith("e2752a0c")


def test_one_column_for_labels_and_captions(tmp_path):
    path = captioned_parquet(tmp_path / "x.parquet", range(2), text=["a", "b"])
    with pytest.raises(PilotageError, match="label_column='text' is the only column that"):
        load_captioned(path, label_column="text")
    with pytest.raises(PilotageError, match="caption_column='text' and label_column='text' are"):
        load_captioned(path, label_column="text", caption_column="text")
    columns = {"text": ["a", "b"], "prompt": ["c", "d"]}
    path = captioned_parquet(tmp_path / "y.parquet", range(2), **columns)
    train, _ = load_captioned(path, label_column="text")
    assert train.classes == ("a", "b")
    assert train.captions == ("c", "d")


def test_a_hub_data_set(monkeypatch, tmp_path):
    import datasets

    path = str(captioned_parquet(tmp_path / "x.parquet", range(3), prompt=["a", "b", "c"]))
    found = datasets.Dataset.from_parquet(path, cache_dir=str(tmp_path))
    answer = datasets.DatasetDict(train=found.select([2, 0]), test=found.select([1]))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: answer)
    train, held = load_captioned("owner/name")
    assert by_shade(train) == {2: "c", 0: "a"}
    assert by_shade(held) == {1: "b"}


# --- captions and images stay together --------------------------------------------------------


def test_hold_out_keeps_captions_with_their_images(tmp_path, monkeypatch):
    for c, name in enumerate(("cat", "dog")):
        captioned(tmp_path / name, [f"{name} {i}" for i in range(10)], start=100 * c)
    everything = by_shade(load_captioned(tmp_path)[0])
    train, held = load_captioned(tmp_path, held_out=0.3, seed=4)
    assert (len(train), len(held)) == (14, 6)
    assert by_shade(train) | by_shade(held) == everything
    assert everything[107] == "dog 7"
    monkeypatch.setattr(image_data, "MAX_BYTES_IN_MEMORY", 0)
    lazy, _ = load_captioned(tmp_path, held_out=0.3, seed=4)
    assert not lazy.in_memory
    assert by_shade(lazy) == by_shade(train)


def test_captions_wait_to_be_wanted(tmp_path, notes):
    captioned(tmp_path, ["a", "b"])
    (tmp_path / "00.txt").write_bytes(b"\xff\xfe broken")
    write_csv(tmp_path / "metadata.csv", ("file_name", "text"), ("00.png", "c"))
    train, held = load_data(tmp_path, held_out=0, say=notes.append)
    assert train.captions is None
    assert held.captions is None
    assert any("not images are passed over, e.g. '00.txt'" in note for note in notes)


def test_fingerprints_see_captions_and_are_otherwise_as_ever():
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 1, 2, 3)

    def fingerprint(captions):
        return ImageData.from_arrays(pixels, [0, 1, 0, 1], ("a", "b"), captions).fingerprint

    # Runs that are on disk know their data by this number.
    assert fingerprint(None) == "95c2375538419e390add9a15c71c5fb2b84844745e7b1102673a71389eb96a13"
    several = [["", "", "", ""], ["a", "b", "", ""], ["a b", "", "", ""], ["b", "a", "", ""]]
    prints = [fingerprint(captions) for captions in (None, *several)]
    assert len(set(prints)) == 5
    assert fingerprint(("a", "b", "", "")) == prints[2]


def test_lazy_fingerprints_see_captions(tmp_path, monkeypatch):
    captioned(tmp_path, ["a", "b"])
    monkeypatch.setattr(image_data, "MAX_BYTES_IN_MEMORY", 0)
    before, plain = load_captioned(tmp_path)[0].fingerprint, load_data(tmp_path)[0].fingerprint
    write(tmp_path / "01.txt", "c")
    assert load_captioned(tmp_path)[0].fingerprint != before != plain
    assert load_data(tmp_path)[0].fingerprint == plain


def test_from_arrays_needs_a_caption_per_image():
    pixels = np.zeros((2, 1, 2, 3), np.uint8)
    with pytest.raises(PilotageError, match="1 captions for 2 images"):
        ImageData.from_arrays(pixels, [0, 0], ("a",), captions=["x"])
    data = ImageData.from_arrays(pixels, [0, 0], ("a",), captions=["x", ""])
    assert data.captions == ("x", "")
    assert ImageData.from_arrays(pixels, [0, 0], ("a",)).captions is None
