"""Labels that are not the names of folders: in tables, in file names, in text files."""

import numpy as np
import pytest

from pilotage.data import load_data
from pilotage.errors import PilotageError

from .making import by_shade, draw, write, write_csv, write_jsonl


def shades_by_class(data):
    """The shades of the images of each class."""
    shades = data.batch(range(len(data)))[:, 0, 0, 0].numpy()
    return {name: shades[data.labels == k].tolist() for k, name in enumerate(data.classes)}


def draw_all(root, count=4):
    for i in range(count):
        draw(root / f"{i}.png", i)


PAIRS = {"0.png": "cat", "1.png": "dog", "2.png": "cat", "3.png": "owl"}


@pytest.mark.parametrize("name", ["metadata.csv", "labels.csv", "metadata.jsonl", "labels.jsonl"])
@pytest.mark.parametrize("column", ["label", "class", "category"])
def test_tables_beside_images(tmp_path, notes, name, column):
    draw_all(tmp_path)
    if name.endswith("csv"):
        write_csv(
            tmp_path / name, ("file_name", "width", column), *((f, 8, x) for f, x in PAIRS.items())
        )
    else:
        write_jsonl(tmp_path / name, *({"file_name": f, column: x} for f, x in PAIRS.items()))
    for source in (tmp_path, tmp_path / name):
        train, _ = load_data(source, held_out=0, say=notes.append)
        assert shades_by_class(train) == {"cat": [0, 2], "dog": [1], "owl": [3]}
        assert any(f"labels are read from column {column!r}" in note for note in notes)


def test_a_table_goes_before_folders_and_splits_stay(tmp_path, notes):
    for i in range(3):
        draw(tmp_path / "train" / "raw" / f"{i}.png", i)
    draw(tmp_path / "train" / "3.png", 3)
    draw(tmp_path / "test" / "4.png", 4)
    rows = [("train/raw/0.png", "b"), ("train/raw/1.png", "a"), ("train/3.png", "a")]
    write_csv(tmp_path / "labels.csv", ("file_name", "label"), *rows, ("test/4.png", "b"))
    train, held = load_data(tmp_path, say=notes.append)
    assert shades_by_class(train) == {"a": [3, 1], "b": [0]}
    assert shades_by_class(held) == {"a": [], "b": [4]}
    assert any("1 of 4 training images have no label and are left out" in note for note in notes)


def test_whole_numbers_are_sorted_as_numbers(tmp_path):
    draw_all(tmp_path, 11)
    write_csv(
        tmp_path / "labels.csv", ("file_name", "label"), *((f"{i}.png", i) for i in range(11))
    )
    assert load_data(tmp_path, held_out=0)[0].classes == tuple(map(str, range(11)))


def test_a_column_that_is_asked_for(tmp_path):
    draw_all(tmp_path, 2)
    rows = [("file_name", "species", "label"), ("0.png", "a", "x"), ("1.png", "b", "x")]
    write_csv(tmp_path / "metadata.csv", *rows)
    assert load_data(tmp_path, label_column="species", held_out=0)[0].classes == ("a", "b")
    assert load_data(tmp_path / "metadata.csv", label_column="species")[0].classes == ("a", "b")
    assert load_data(tmp_path, held_out=0)[0].classes == ("x",)


def test_labels_and_captions_of_one_table(tmp_path):
    draw_all(tmp_path, 2)
    rows = [("file_name", "text", "label"), ("0.png", "a cat", "x"), ("1.png", "a dog", "y")]
    write_csv(tmp_path / "metadata.csv", *rows)
    for source in (tmp_path, tmp_path / "metadata.csv"):
        train, _ = load_data(source, label_column="label", captions=True, held_out=0)
        assert by_shade(train) == {0: "a cat", 1: "a dog"}
        assert train.classes == ("x", "y")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "labels.csv",
            "file_name,label\n0.png,a\n0.png,b\n",
            r"line 3 .* the label 'b', after 'a'",
        ),
        ("labels.csv", "file_name,label\n9.png,a\n", r"line 2 .*'9\.png', which does not exist"),
        ("labels.csv", "id,label\n0.png,a\n", r"'file_name' is no column of .*labels\.csv"),
        ("labels.csv", "file_name,label\n0.png,a,b\n", r"line 2 of .* more fields"),
        ("labels.csv", "file_name,label\n,a\n", r"names the file ''"),
        ("labels.csv", "file_name,label,category\n0.png,a,b\n", r"set label_column to one of"),
        ("labels.csv", "file_name,label\n0.png,\n", r"no training image with a label"),
        (
            "metadata.jsonl",
            '{"file_name": "0.png", "label": [1]}',
            r"line 1 .* has \[1\] in column",
        ),
        ("metadata.jsonl", '{"file_name": "0.png", "label": 0.5}', r"line 1 .* has 0.5 in column"),
        ("metadata.jsonl", '{"file_name": "0.png", "label": "\\ud83d"}', r"line 1 .* in column"),
        ("metadata.jsonl", '{"file_name": 3, "label": 1}', r"names the file 3"),
        ("metadata.jsonl", '{"file_name": "0.png', r"line 1 of .* is not JSON"),
        ("metadata.jsonl", '{"a":' * 100_000, r"line 1 of .* is not JSON: it is nested too deeply"),
        ("metadata.jsonl", '{"file_name": "0.png", "label": ' + "1" * 5000 + "}", "not JSON"),
    ],
)
def test_bad_tables_are_named(tmp_path, name, content, message):
    draw_all(tmp_path, 1)
    write(tmp_path / name, content)
    for source in (tmp_path, tmp_path / name):
        with pytest.raises(PilotageError, match=message) as caught:
            load_data(source)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("column", ["filename", "file", "image", "path", "image_path"])
def test_usual_names_of_the_column_of_files(tmp_path, column):
    draw_all(tmp_path)
    write_csv(tmp_path / "labels.csv", (column, "label"), *PAIRS.items())
    assert load_data(tmp_path, held_out=0)[0].classes == ("cat", "dog", "owl")


@pytest.mark.parametrize("between", [",", ";", "\t"])
@pytest.mark.parametrize(
    "head", [("file_name", "label"), ("Filename", "Label"), ("image", "CLASS")]
)
def test_separators_and_capitals(tmp_path, between, head):
    draw_all(tmp_path)
    rows = [head, *PAIRS.items()]
    write(tmp_path / "labels.csv", "".join(f"{a}{between}{b}\n" for a, b in rows))
    assert load_data(tmp_path, held_out=0)[0].classes == ("cat", "dog", "owl")


@pytest.mark.parametrize("suffix", ["", ".png"])
def test_names_of_files_in_other_folders(tmp_path, suffix):
    draw_all(tmp_path / "images" / "raw")
    rows = [(name.removesuffix(".png") + suffix, label) for name, label in PAIRS.items()]
    write_csv(tmp_path / "labels.csv", ("file_name", "label"), *rows)
    train, _ = load_data(tmp_path, held_out=0)
    assert shades_by_class(train) == {"cat": [0, 2], "dog": [1], "owl": [3]}
    draw(tmp_path / "images" / "more" / "0.png", 9)
    with pytest.raises(
        PilotageError, match=r"line 2 .* names the file '0.*', which does not exist"
    ):
        load_data(tmp_path)


def test_metadata_about_other_things_is_passed_over(tmp_path):
    for name in ("cat", "dog"):
        draw(tmp_path / name / "0.png", 0)
    write_csv(tmp_path / "metadata.csv", ("author", "label"), ("me", "MIT"))
    write_csv(tmp_path / "cat" / "metadata.csv", ("file_name", "width"), ("gone.png", 8))
    assert load_data(tmp_path, held_out=0)[0].classes == ("cat", "dog")


def test_a_table_without_labels_or_of_no_images(tmp_path):
    draw_all(tmp_path, 1)
    write_csv(tmp_path / "x.csv", ("file_name", "width"), ("0.png", 8))
    with pytest.raises(
        PilotageError, match="has no column of labels; its columns are file_name, w"
    ):
        load_data(tmp_path / "x.csv")


@pytest.mark.parametrize("way", ["../secret.png", "a/../../secret.png", "{outside}/secret.png"])
@pytest.mark.parametrize("named", [False, True])
def test_tables_do_not_lead_out_of_their_folder(tmp_path, way, named):
    outside, root = tmp_path / "outside", tmp_path / "outside" / "data"
    draw(outside / "secret.png", 7)
    draw(root / "0.png", 0)
    rows = [("0.png", "a"), (way.format(outside=outside), "b")]
    write_csv(root / "labels.csv", ("file_name", "label"), *rows)
    source = root / "labels.csv" if named else root
    with pytest.raises(PilotageError, match=r"line 3 .* is outside of .*allow_outside"):
        load_data(source)
    train, _ = load_data(source, allow_outside=True, held_out=0)
    assert shades_by_class(train) == ({"a": [0], "b": [7]} if named else {"a": [0]})


# --- file names -------------------------------------------------------------------------------


def test_labels_before_the_first_underscore(tmp_path):
    for i, name in enumerate(["cat_1", "dog_1_x", "cat_2", "été_1"]):
        draw(tmp_path / "some" / f"{name}.png", i)
    draw(tmp_path / "dog_3.png", 9)
    train, _ = load_data(tmp_path, label_from="filename", held_out=0)
    assert shades_by_class(train) == {"cat": [0, 2], "dog": [9, 1], "été": [3]}


def test_file_names_without_a_label_are_named(tmp_path):
    for name in ("cat_1", "cat", "_2"):
        draw(tmp_path / f"{name}.png", 0)
    with pytest.raises(PilotageError, match=r"2 of 3 files have nothing there: .*_2\.png"):
        load_data(tmp_path, label_from="filename")


@pytest.mark.parametrize("source", ["digits", "shapes", "25-gaussians"])
def test_labels_of_file_names_need_files(source):
    with pytest.raises(
        PilotageError, match=f"label_from='filename' is not allowed with {source!r}"
    ):
        load_data(source, label_from="filename")
    with pytest.raises(PilotageError, match="label_from='folder' is not allowed; give 'filename'"):
        load_data(source, label_from="folder")


def test_labels_beside_images(tmp_path):
    draw_all(tmp_path, 3)
    for i, label in enumerate(["10", "9\n", "10"]):
        write(tmp_path / f"{i}.cls", label)
    train, _ = load_data(tmp_path, held_out=0)
    assert train.classes == ("9", "10")
    assert np.array_equal(train.labels, [1, 0, 1])
