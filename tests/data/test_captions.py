"""Captions of images, from every place where they may be; and prompts in a text file."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pilotage.data import ImageData, load_data, read_prompts
from pilotage.data import image_data as images
from pilotage.errors import PilotageError

CAPTIONS = ["a cat 🐈", "一只黑猫", "un chat égaré", "été", "кот", ""]
HELD_OUT = "data: split 'test' is the held-out set; held_out=0.1 is not used"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.fixture
def notes():
    return []


def picture(shade, height=6, width=8):
    return np.full((height, width), shade, np.uint8)


def draw(path, shade, height=6, width=8):
    """An image file all of one shade, by which it is recognised."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(shade, height, width)).save(path)


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


def captioned(root, captions, start=0):
    """Images with a text file each, but for None; image i has shade start + i."""
    for i, caption in enumerate(captions):
        draw(root / f"{i:02}.png", start + i)
        if caption is not None:
            write(root / f"{i:02}.txt", caption)


def write_csv(path, *rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def write_jsonl(path, *rows):
    write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def by_shade(data):
    """The caption of every image, by its shade."""
    shades = data.batch(range(len(data)))[:, 0, 0, 0].tolist()
    assert len(data.captions) == len(data)
    return dict(zip(shades, data.captions, strict=True))


def load(source, notes=None, held_out=0.0, **settings):
    say = (lambda line: None) if notes is None else notes.append
    return load_data(source, held_out=held_out, captions=True, say=say, **settings)


# --- text files -------------------------------------------------------------------------------


def test_an_odd_folder_of_a_dozen(tmp_path, notes):
    captions = [*CAPTIONS, *(f"cat number {i}" for i in range(6, 12))]
    for i, caption in enumerate(captions):
        draw(tmp_path / f"cat{i}.png", i, height=5 + i, width=20 - i)
        write(tmp_path / f"cat{i}.txt", caption)
    (tmp_path / "cat7.txt").unlink()
    train, held = load(tmp_path, notes)
    assert train.shape == (1, 5, 9)
    assert train.classes == (tmp_path.name,)
    expected = dict(enumerate(captions)) | {7: ""}
    assert by_shade(train) == expected
    assert held.captions == ()
    assert "data: no caption for cat7.png; the empty caption is used" in notes
    assert "data: 1 of 11 captions is empty" in notes
    assert not any("passed over" in note or "guidance" in note for note in notes)


def test_text_becomes_one_line(tmp_path):
    write(tmp_path / "00.txt", "  a cat\r\n\n  on a mat \t\n", "utf-8-sig")
    write(tmp_path / "01.TXT", "a dog")
    write(tmp_path / "02.txt", " \n")
    for i in range(3):
        draw(tmp_path / f"{i:02}.png", i)
    assert by_shade(load(tmp_path)[0]) == {0: "a cat on a mat", 1: "a dog", 2: ""}


def test_class_folders_keep_their_labels(tmp_path, notes):
    captioned(tmp_path / "cat" / "2024" / "may", ["a tabby"])
    captioned(tmp_path / "dog", ["a pug", None], start=10)
    write(tmp_path / "dog" / "orphan.txt", "of no image")
    train, _ = load(tmp_path, notes)
    assert train.classes == ("cat", "dog")
    assert train.labels.tolist() == [0, 1, 1]
    assert by_shade(train) == {0: "a tabby", 10: "a pug", 11: ""}
    assert notes == [
        f"data: files in {str(tmp_path)!r} that are not images are passed over, e.g. 'orphan.txt'",
        "data: no caption for dog/01.png; the empty caption is used",
    ]


def test_many_gaps_are_counted(tmp_path, notes):
    captioned(tmp_path, ["", "", *[None] * 5])
    load(tmp_path, notes)
    assert (
        "data: no caption for 5 images (02.png, 03.png, 04.png, ...); the empty caption is used"
        in notes
    )
    assert "data: 2 of 2 captions are empty" in notes


def test_no_caption_at_all(tmp_path):
    captioned(tmp_path, [None, None])
    with pytest.raises(PilotageError, match=r"no image of split 'train' has a caption; .*cat\.txt"):
        load(tmp_path)


def test_a_text_file_of_another_encoding_is_named(tmp_path):
    draw(tmp_path / "a.png", 0)
    write(tmp_path / "a.txt", "été", "latin-1")
    with pytest.raises(PilotageError, match=r"caption file '.*a\.txt' is not UTF-8"):
        load(tmp_path)


# --- metadata ---------------------------------------------------------------------------------


def test_csv_names_files_below_it(tmp_path, notes):
    for i in range(5):
        draw(tmp_path / f"set{i % 2}" / f"{i}.png", i)
    write(tmp_path / "set0" / "4.txt", "from the text file")
    rows = [
        ("file_name", "width", "caption", "artist"),
        ("set0/0.png", 8, 'a "big" cat,\nasleep', "me"),
        ("./set1/1.png", 8, "黑猫 🐈‍⬛", "me"),
        ("set0/2.png", 8, "", "me"),
    ]
    write_csv(tmp_path / "metadata.csv", *rows)
    train, _ = load(tmp_path, notes)
    assert train.classes == ("set0", "set1")
    assert by_shade(train) == {
        0: 'a "big" cat, asleep',
        1: "黑猫 🐈‍⬛",
        2: "",
        3: "",
        4: "from the text file",
    }
    assert notes == [
        "data: no caption for set1/3.png; the empty caption is used",
        "data: 1 of 4 captions is empty",
    ]


def test_a_relative_source_finds_its_metadata(tmp_path, monkeypatch):
    draw(tmp_path / "cats" / "a.png", 3)
    write_csv(tmp_path / "cats" / "metadata.csv", ("file_name", "text"), ("a.png", "a cat"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert by_shade(load("../cats")[0]) == {3: "a cat"}


def test_linked_split_folders(tmp_path):
    draw(tmp_path / "far" / "a.png", 3)
    write_csv(tmp_path / "far" / "metadata.csv", ("file_name", "text"), ("a.png", "a cat"))
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "train").symlink_to(tmp_path / "far")
    assert by_shade(load(tmp_path / "cats")[0]) == {3: "a cat"}


@pytest.mark.parametrize("above", [False, True])
def test_split_folders_with_jsonl(tmp_path, notes, above):
    pairs = {"train": {0: "a cat", 1: "a dog", 2: "été"}, "test": {50: "an owl"}}
    for split, shades in pairs.items():
        for shade in shades:
            draw(tmp_path / split / f"{shade}.png", shade)
        if not above:
            rows = [{"file_name": f"{i}.png", "text": text} for i, text in shades.items()]
            write_jsonl(tmp_path / split / "metadata.jsonl", *rows)
    if above:
        rows = [
            {"file_name": f"{split}/{i}.png", "text": text}
            for split, shades in pairs.items()
            for i, text in shades.items()
        ]
        write_jsonl(tmp_path / "metadata.jsonl", *rows)
    train, held = load_data(tmp_path, captions=True, say=notes.append)
    assert train.classes == held.classes == (tmp_path.name,)
    assert by_shade(train) == pairs["train"]
    assert by_shade(held) == pairs["test"]
    assert notes == [HELD_OUT]


def test_splits_with_class_folders_and_captions(tmp_path, notes):
    captioned(tmp_path / "train" / "cat", ["a", "b"])
    captioned(tmp_path / "train" / "dog", ["c", "d"], start=10)
    captioned(tmp_path / "test" / "dog", ["e", None], start=50)
    train, held = load_data(tmp_path, captions=True, say=notes.append)
    assert train.labels.tolist() == [0, 0, 1, 1]
    assert by_shade(train) == {0: "a", 1: "b", 10: "c", 11: "d"}
    assert by_shade(held) == {50: "e", 51: ""}
    assert "data: no caption for test/dog/01.png; the empty caption is used" in notes


def test_images_beside_folders_are_taken_too(tmp_path, notes):
    root = tmp_path / "cats"
    for i in range(20):
        draw(root / f"{i:02}.png", i)
    rows = [{"file_name": f"{i:02}.png", "text": f"cat {i}"} for i in range(20)]
    write_jsonl(root / "metadata.jsonl", *rows)
    captioned(root / "old" / "2019", ["an old cat"], start=50)
    train, _ = load(root, notes)
    assert train.classes == ("cats",)
    assert by_shade(train) == {i: f"cat {i}" for i in range(20)} | {50: "an old cat"}
    assert notes == [
        f"data: 20 images lie beside the folders of {str(root)!r}: these are no classes",
        f"data: no class folders in {str(root)!r}; all images are of class 'cats'",
    ]
    plain, _ = load_data(root, held_out=0, say=notes.append)
    assert plain.classes == ("old",)
    assert len(plain) == 1
    assert any("20 images beside the class folders" in note for note in notes)


def test_captioned_images_beside_split_folders_are_for_training(tmp_path, notes):
    captioned(tmp_path, ["a", None, "b"])
    captioned(tmp_path / "train", ["c"], start=10)
    captioned(tmp_path / "train" / "more", ["d"], start=20)
    captioned(tmp_path / "test", ["e"], start=30)
    train, held = load_data(tmp_path, captions=True, say=notes.append)
    assert train.classes == held.classes == (tmp_path.name,)
    assert by_shade(train) == {0: "a", 2: "b", 10: "c", 20: "d"}
    assert by_shade(held) == {30: "e"}
    assert notes == [
        f"data: 1 images lie beside the folders of {str(tmp_path / 'train')!r}: these are no "
        "classes",
        f"data: 2 images beside the split folders of {str(tmp_path)!r} are taken for training",
        f"data: 1 images without a caption beside the split folders of {str(tmp_path)!r} are "
        "passed over",
        HELD_OUT,
    ]


def test_images_beside_the_folders_of_a_test_split(tmp_path):
    captioned(tmp_path / "train" / "cat", ["a"])
    captioned(tmp_path / "train" / "dog", ["b"], start=10)
    captioned(tmp_path / "test" / "dog", ["c"], start=20)
    captioned(tmp_path / "test", ["d"], start=30)
    train, held = load(tmp_path)
    assert train.classes == held.classes == (tmp_path.name,)
    assert by_shade(train) == {0: "a", 10: "b"}
    assert by_shade(held) == {20: "c", 30: "d"}
    assert load_data(tmp_path)[1].classes == ("cat", "dog")


def test_a_class_called_train_is_no_split(tmp_path):
    captioned(tmp_path / "train", ["a steam train"])
    captioned(tmp_path / "tram", ["a red tram"])
    assert load(tmp_path)[0].classes == ("train", "tram")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_file_names_with_accents_in_another_form(tmp_path, form):
    from unicodedata import normalize

    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    draw(tmp_path / normalize(form, "été.png"), 4)
    write_csv(
        tmp_path / "metadata.csv", ("file_name", "text"), (normalize(other, "été.png"), "café")
    )
    assert by_shade(load(tmp_path)[0]) == {4: "café"}


@pytest.mark.parametrize("column", ["text", "caption", "captions", "prompt", "description"])
def test_the_column_is_known_by_its_name(tmp_path, column):
    draw(tmp_path / "a.png", 1)
    rows = [("file_name", "title", column), ("a.png", "no", "12")]
    write_csv(tmp_path / "metadata.csv", *rows)
    assert by_shade(load(tmp_path)[0]) == {1: "12"}


def test_the_only_text_column_is_taken(tmp_path, notes):
    draw(tmp_path / "a.png", 1)
    rows = [("file_name", "width", "label", "title"), ("a.png", 8, "cat", "the one")]
    write_csv(tmp_path / "metadata.csv", *rows)
    assert by_shade(load(tmp_path, notes)[0]) == {1: "the one"}
    assert "data: captions are read from column 'title'" in notes


def test_a_column_that_is_asked_for(tmp_path):
    draw(tmp_path / "cat" / "a.png", 1)
    draw(tmp_path / "dog" / "a.png", 2)
    rows = [("file_name", "label", "text"), ("cat/a.png", "one", "x"), ("dog/a.png", "two", "y")]
    write_csv(tmp_path / "metadata.csv", *rows)
    train, _ = load_data(tmp_path, held_out=0, caption_column="label")
    assert by_shade(train) == {1: "one", 2: "two"}
    assert train.classes == ("cat", "dog")
    with pytest.raises(PilotageError, match=r"caption_column='z' is no column of .*metadata\.csv'"):
        load(tmp_path, caption_column="z")
    (tmp_path / "metadata.csv").unlink()
    with pytest.raises(PilotageError, match=r"caption_column='text' is not allowed for .*no metad"):
        load(tmp_path, caption_column="text")


def test_several_captions_in_metadata(tmp_path, notes):
    for i in range(3):
        draw(tmp_path / f"{i}.png", i)
    write_jsonl(
        tmp_path / "metadata.jsonl",
        {"file_name": "0.png", "captions": ["one\u2028line", "another"]},
        {"file_name": "1.png", "captions": "alone"},
        {"file_name": "1.png", "captions": "twice"},
        {"file_name": "2.png", "captions": []},
    )
    assert by_shade(load(tmp_path, notes)[0]) == {0: "one line", 1: "alone", 2: ""}
    several = [note for note in notes if "several captions" in note]
    assert len(several) == 2
    assert "column 'captions' of 'metadata.jsonl'; the first of each is used" in several[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metadata.csv", "file_name,text\nb.png,x\n", r"line 2 of .* 'b\.png', which does not"),
        ("metadata.csv", "file_name,text\n,x\n", r"line 2 of .* names the file ''"),
        ("metadata.csv", "name,text\na.png,x\n", r"'file_name' is no column of .* name, text"),
        ("metadata.csv", "", r"'file_name' is no column of .* none"),
        ("metadata.csv", "file_name,text\na.png,a cat, a dog\n", r"line 2 of .* more fields"),
        ("metadata.csv", "file_name,title,artist\na.png,x,y\n", r"set caption_column to one of"),
        ("metadata.jsonl", '{"file_name": "a.png"}\n{"file_name"\n', r"line 2 of .* not JSON"),
        ("metadata.jsonl", '["a.png", "x"]\n', r"line 1 of .* not a JSON object"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": "\\ud83d"}', r"line 1 .* has '\\ud83d'"),
        ("metadata.jsonl", '{"text": "x"}\n{"file_name": "a.png", "text": 5}', r"line 1 .* None"),
        (
            "metadata.jsonl",
            '{"file_name": "a.png", "text": "x"}\n{"file_name": "a.png", "text": 5}',
            r"line 2 of .* has 5 in column 'text'",
        ),
    ],
)
def test_bad_metadata_is_named(tmp_path, name, content, message):
    draw(tmp_path / "a.png", 1)
    write(tmp_path / name, content)
    with pytest.raises(PilotageError, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_metadata_must_be_utf8(tmp_path):
    draw(tmp_path / "a.png", 1)
    write(tmp_path / "metadata.csv", "file_name,text\na.png,été\n", "latin-1")
    with pytest.raises(PilotageError, match=r"metadata '.*metadata\.csv' is not UTF-8"):
        load(tmp_path)
    write(tmp_path / "metadata.csv", "file_name,text\na.png,été\n", "utf-8-sig")
    assert by_shade(load(tmp_path)[0]) == {1: "été"}


def test_metadata_without_captions_gives_way_to_text_files(tmp_path, notes):
    captioned(tmp_path, ["a cat"])
    write_csv(tmp_path / "metadata.csv", ("file_name", "width"), ("00.png", 8))
    assert by_shade(load(tmp_path, notes)[0]) == {0: "a cat"}
    assert any("metadata.csv' has no column of captions" in note for note in notes)


# --- tables -----------------------------------------------------------------------------------


def write_parquet(path, shades, **columns):
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageFeature

    rows = []
    for shade in shades:
        buffer = io.BytesIO()
        Image.fromarray(picture(shade)).save(buffer, "PNG")
        rows.append({"bytes": buffer.getvalue(), "path": None})
    made = Dataset.from_dict(columns)
    features = Features(image=ImageFeature(), **made.features)
    for name, values in columns.items():
        if not any(values):
            features[name] = Value("string")
    Dataset.from_dict({"image": rows, **columns}, features=features).to_parquet(path)
    return path


def test_parquet_with_captions(tmp_path, notes):
    texts = ["a 🐈", "", None, "un\n chat"]
    path = write_parquet(tmp_path / "x.parquet", range(4), text=texts, title=["no"] * 4)
    train, _ = load(path, notes)
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
        write_parquet(tmp_path / f"{split}.parquet", shades, sentence=texts, label=labels)
    train, held = load(tmp_path)
    assert train.classes == ("cat", "dog")
    assert by_shade(train) == {shade: f"caption {shade}" for shade in range(4)}
    assert by_shade(held) == {shade: f"caption {shade}" for shade in range(50, 54)}


def test_lists_of_captions(tmp_path, notes):
    lists = [["one", "two"], ["three"], [], ["four", "five", "six"], None]
    path = write_parquet(tmp_path / "x.parquet", range(5), captions=lists)
    assert by_shade(load(path, notes)[0]) == {0: "one", 1: "three", 2: "", 3: "four", 4: ""}
    assert (
        "data: 2 images have several captions in column 'captions'; the first of each is used"
        in notes
    )


def test_columns_of_tables(tmp_path):
    columns = {"title": ["a"], "alt": ["b"], "label": ["c"], "n": [1]}
    path = write_parquet(tmp_path / "x.parquet", [9], **columns)
    with pytest.raises(PilotageError, match="set caption_column to one of the columns title, alt"):
        load(path)
    with pytest.raises(PilotageError, match=r"caption_column='z' is no column; .* title, alt"):
        load(path, caption_column="z")
    with pytest.raises(PilotageError, match=r"caption_column='n' holds .*lists of strings"):
        load(path, caption_column="n")
    assert load(path, caption_column="alt")[0].captions == ("b",)
    labelled, _ = load(path, caption_column="label")
    assert labelled.captions == ("c",)
    assert labelled.classes == ("all",)


def test_a_table_without_captions(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", [9], n=[1])
    with pytest.raises(PilotageError, match=r"no caption column among image, n; captions are look"):
        load(path)
    path = write_parquet(tmp_path / "y.parquet", [9, 8], text=[None, None], title=["a", "b"])
    with pytest.raises(PilotageError, match="no image of split 'train' has a caption; captions ar"):
        load(path)


@pytest.mark.parametrize("source", ["digits", "stacked:digits", "25-gaussians"])
def test_sources_without_captions(source):
    with pytest.raises(PilotageError, match="captions are looked for in a text file"):
        load(source)


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
    path = write_parquet(tmp_path / "x.parquet", range(4), text=list("abcd"), **columns)
    train, _ = load(path, notes)
    assert train.classes == ("all",)
    assert train.labels.tolist() == [0] * 4
    assert by_shade(train) == dict(enumerate("abcd"))
    assert notes == [f"data: {note}; all images are of class 'all'"]
    with pytest.raises(PilotageError, match=re.escape(refused)):
        load(path, label_column=next(iter(columns)))
    with pytest.raises(PilotageError, match="label"):
        load_data(path)


def test_arrays_are_no_labels(tmp_path):
    from datasets import Array2D, Dataset, Features
    from datasets import Image as ImageFeature

    made = Dataset.from_parquet(str(write_parquet(tmp_path / "x.parquet", [9], text=["a"])))
    features = Features(**made.features, label=Array2D((1, 2), "int64"))
    columns = {**made.cast_column("image", ImageFeature(decode=False))[:], "label": [[[1, 2]]]}
    path = tmp_path / "y.parquet"
    Dataset.from_dict(columns, features=features).to_parquet(path)
    assert load(path)[0].classes == ("all",)
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
            write_parquet(tmp_path / f"{split}.parquet", shades, text=texts, category=names)
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
        load(tmp_path, label_column="label" if folders else "category")


def test_classes_that_are_too_small_are_held_out_together(tmp_path, notes):
    names = [f"id {i}" for i in range(12)]
    path = write_parquet(tmp_path / "x.parquet", range(12), text=names, category=names)
    train, held = load(path, notes, held_out=0.25)
    assert (len(train), len(held)) == (9, 3)
    assert by_shade(train) | by_shade(held) == dict(enumerate(names))
    assert notes == [
        "data: 12 classes are too small to hold out 0.25 of their images",
        "data: the held-out images are drawn over all classes together",
    ]
    assert len(load(path, held_out=0)[1]) == 0
    assert len(load(path, held_out=0.25, label_column="category")[1]) == 0
    assert len(load_data(path, held_out=0.25)[1]) == 0


def test_labels_that_can_be_used_split_as_ever(tmp_path):
    texts = [f"c {i}" for i in range(12)]
    columns = {"text": texts, "category": ["a", "b", "c"] * 4}
    path = write_parquet(tmp_path / "x.parquet", range(12), **columns)
    train, held = load(path, held_out=0.3)
    assert train.classes == ("a", "b", "c")
    # Runs that are on disk know their data by these numbers.
    assert train.fingerprint.startswith("c7a3d437")
    assert held.fingerprint.startswith("e2752a0c")


def test_one_column_for_labels_and_captions(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", range(2), text=["a", "b"])
    with pytest.raises(PilotageError, match="label_column='text' is the only column that"):
        load(path, label_column="text")
    with pytest.raises(PilotageError, match="caption_column='text' and label_column='text' are"):
        load(path, label_column="text", caption_column="text")
    columns = {"text": ["a", "b"], "prompt": ["c", "d"]}
    path = write_parquet(tmp_path / "y.parquet", range(2), **columns)
    train, _ = load(path, label_column="text")
    assert train.classes == ("a", "b")
    assert train.captions == ("c", "d")


def test_a_hub_data_set(monkeypatch, tmp_path):
    import datasets

    path = str(write_parquet(tmp_path / "x.parquet", range(3), prompt=["a", "b", "c"]))
    found = datasets.Dataset.from_parquet(path, cache_dir=str(tmp_path))
    answer = datasets.DatasetDict(train=found.select([2, 0]), test=found.select([1]))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: answer)
    train, held = load("owner/name")
    assert by_shade(train) == {2: "c", 0: "a"}
    assert by_shade(held) == {1: "b"}


# --- captions and images stay together --------------------------------------------------------


def test_hold_out_keeps_captions_with_their_images(tmp_path, monkeypatch):
    for c, name in enumerate(("cat", "dog")):
        captioned(tmp_path / name, [f"{name} {i}" for i in range(10)], start=100 * c)
    everything = by_shade(load(tmp_path)[0])
    train, held = load(tmp_path, held_out=0.3, seed=4)
    assert (len(train), len(held)) == (14, 6)
    assert by_shade(train) | by_shade(held) == everything
    assert everything[107] == "dog 7"
    monkeypatch.setattr(images, "MAX_BYTES_IN_MEMORY", 0)
    lazy, _ = load(tmp_path, held_out=0.3, seed=4)
    assert not lazy.in_memory
    assert by_shade(lazy) == by_shade(train)


def test_captions_wait_to_be_wanted(tmp_path, notes):
    captioned(tmp_path, ["a", "b"])
    (tmp_path / "00.txt").write_bytes(b"\xff\xfe broken")
    write(tmp_path / "metadata.jsonl", "no JSON")
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
    monkeypatch.setattr(images, "MAX_BYTES_IN_MEMORY", 0)
    before, plain = load(tmp_path)[0].fingerprint, load_data(tmp_path)[0].fingerprint
    write(tmp_path / "01.txt", "c")
    assert load(tmp_path)[0].fingerprint != before != plain
    assert load_data(tmp_path)[0].fingerprint == plain


def test_from_arrays_needs_a_caption_per_image():
    pixels = np.zeros((2, 1, 2, 3), np.uint8)
    with pytest.raises(PilotageError, match="1 captions for 2 images"):
        ImageData.from_arrays(pixels, [0, 0], ("a",), captions=["x"])
    data = ImageData.from_arrays(pixels, [0, 0], ("a",), captions=["x", ""])
    assert data.captions == ("x", "")
    assert ImageData.from_arrays(pixels, [0, 0], ("a",)).captions is None


# --- prompts ----------------------------------------------------------------------------------


def test_prompts_one_a_line(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_bytes("\ufeff a cat 🐈 \r\n\r\n \t\n一只\u2028猫\nun chat".encode())
    assert read_prompts(path) == ["a cat 🐈", "一只\u2028猫", "un chat"]
    assert read_prompts(str(path)) == read_prompts(Path(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"p\.txt' cannot be read: No such file"),
        (b"", r"p\.txt' is empty"),
        (b"\xef\xbb\xbf\n  \n", r"p\.txt' is empty"),
        (b"\xe9t\xe9", r"p\.txt' is not UTF-8"),
    ],
)
def test_prompts_that_are_none(tmp_path, content, message):
    path = tmp_path / "p.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PilotageError, match=r"prompts: the file '.*" + message):
        read_prompts(path)
