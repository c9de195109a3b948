"""Captions from text files and metadata in an image folder; prompts in a text file."""

from pathlib import Path

import pytest

from pilotage.data import load_data, read_prompts
from pilotage.errors import PilotageError

from .making import (
    HELD_OUT,
    by_shade,
    captioned,
    draw,
    load_captioned,
    write,
    write_csv,
    write_jsonl,
)

CAPTIONS = ["a cat 🐈", "一只黑猫", "un chat égaré", "été", "кот", ""]


# --- text files -------------------------------------------------------------------------------


def test_an_odd_folder_of_a_dozen(tmp_path, notes):
    captions = [*CAPTIONS, *(f"cat number {i}" for i in range(6, 12))]
    for i, caption in enumerate(captions):
        draw(tmp_path / f"cat{i}.png", i, height=5 + i, width=20 - i)
        write(tmp_path / f"cat{i}.txt", caption)
    (tmp_path / "cat7.txt").unlink()
    train, held = load_captioned(tmp_path, notes)
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
    assert by_shade(load_captioned(tmp_path)[0]) == {0: "a cat on a mat", 1: "a dog", 2: ""}


def test_class_folders_keep_their_labels(tmp_path, notes):
    captioned(tmp_path / "cat" / "2024" / "may", ["a tabby"])
    captioned(tmp_path / "dog", ["a pug", None], start=10)
    write(tmp_path / "dog" / "orphan.txt", "of no image")
    train, _ = load_captioned(tmp_path, notes)
    assert train.classes == ("cat", "dog")
    assert train.labels.tolist() == [0, 1, 1]
    assert by_shade(train) == {0: "a tabby", 10: "a pug", 11: ""}
    assert notes == [
        f"data: files in {str(tmp_path)!r} that are not images are passed over, e.g. 'orphan.txt'",
        "data: no caption for dog/01.png; the empty caption is used",
    ]


def test_many_gaps_are_counted(tmp_path, notes):
    captioned(tmp_path, ["", "", *[None] * 5])
    load_captioned(tmp_path, notes)
    assert (
        "data: no caption for 5 images (02.png, 03.png, 04.png, ...); the empty caption is used"
        in notes
    )
    assert "data: 2 of 2 captions are empty" in notes


def test_no_caption_at_all(tmp_path):
    captioned(tmp_path, [None, None])
    with pytest.raises(PilotageError, match=r"no image of split 'train' has a caption; .*cat\.txt"):
        load_captioned(tmp_path)


def test_a_text_file_of_another_encoding_is_named(tmp_path):
    draw(tmp_path / "a.png", 0)
    write(tmp_path / "a.txt", "été", "latin-1")
    with pytest.raises(PilotageError, match=r"caption file '.*a\.txt' is not UTF-8"):
        load_captioned(tmp_path)


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
    train, _ = load_captioned(tmp_path, notes)
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
    assert by_shade(load_captioned("../cats")[0]) == {3: "a cat"}


def test_linked_split_folders(tmp_path):
    draw(tmp_path / "far" / "a.png", 3)
    write_csv(tmp_path / "far" / "metadata.csv", ("file_name", "text"), ("a.png", "a cat"))
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "train").symlink_to(tmp_path / "far")
    assert by_shade(load_captioned(tmp_path / "cats")[0]) == {3: "a cat"}


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
    train, _ = load_captioned(root, notes)
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
    train, held = load_captioned(tmp_path)
    assert train.classes == held.classes == (tmp_path.name,)
    assert by_shade(train) == {0: "a", 10: "b"}
    assert by_shade(held) == {20: "c", 30: "d"}
    assert load_data(tmp_path)[1].classes == ("cat", "dog")


def test_a_class_called_train_is_no_split(tmp_path):
    captioned(tmp_path / "train", ["a steam train"])
    captioned(tmp_path / "tram", ["a red tram"])
    assert load_captioned(tmp_path)[0].classes == ("train", "tram")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_file_names_with_accents_in_another_form(tmp_path, form):
    from unicodedata import normalize

    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    draw(tmp_path / normalize(form, "été.png"), 4)
    write_csv(
        tmp_path / "metadata.csv", ("file_name", "text"), (normalize(other, "été.png"), "café")
    )
    assert by_shade(load_captioned(tmp_path)[0]) == {4: "café"}


@pytest.mark.parametrize("column", ["text", "caption", "captions", "prompt", "description"])
def test_the_column_is_known_by_its_name(tmp_path, column):
    draw(tmp_path / "a.png", 1)
    rows = [("file_name", "title", column), ("a.png", "no", "12")]
    write_csv(tmp_path / "metadata.csv", *rows)
    assert by_shade(load_captioned(tmp_path)[0]) == {1: "12"}


def test_the_only_text_column_is_taken(tmp_path, notes):
    draw(tmp_path / "a.png", 1)
    rows = [("file_name", "width", "label", "title"), ("a.png", 8, "cat", "the one")]
    write_csv(tmp_path / "metadata.csv", *rows)
    assert by_shade(load_captioned(tmp_path, notes)[0]) == {1: "the one"}
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
        load_captioned(tmp_path, caption_column="z")
    (tmp_path / "metadata.csv").unlink()
    with pytest.raises(PilotageError, match=r"caption_column='text' is not allowed for .*no metad"):
        load_captioned(tmp_path, caption_column="text")


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
    assert by_shade(load_captioned(tmp_path, notes)[0]) == {0: "one line", 1: "alone", 2: ""}
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
        load_captioned(tmp_path)
    assert "\n" not in str(caught.value)


def test_metadata_must_be_utf8(tmp_path):
    draw(tmp_path / "a.png", 1)
    write(tmp_path / "metadata.csv", "file_name,text\na.png,été\n", "latin-1")
    with pytest.raises(PilotageError, match=r"metadata '.*metadata\.csv' is not UTF-8"):
        load_captioned(tmp_path)
    write(tmp_path / "metadata.csv", "file_name,text\na.png,été\n", "utf-8-sig")
    assert by_shade(load_captioned(tmp_path)[0]) == {1: "été"}


def test_metadata_without_captions_gives_way_to_text_files(tmp_path, notes):
    captioned(tmp_path, ["a cat"])
    write_csv(tmp_path / "metadata.csv", ("file_name", "width"), ("00.png", 8))
    assert by_shade(load_captioned(tmp_path, notes)[0]) == {0: "a cat"}
    assert any("metadata.csv' has no column of captions" in note for note in notes)


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
