"""Images that cannot be read, are far too small or large, or would do harm."""

import os
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from pilotage.data import decode, image_data, load_data
from pilotage.errors import PilotageError

from .making import all_images, class_folders, encoded, noise, save


def spoil(root):
    """Three files that cannot be read, each in another way."""
    whole = encoded(noise(1, 20, 28), "JPEG")
    (root / "dog" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "cat" / "text.png").write_bytes(b"this is no image")
    (root / "owl" / "empty.bmp").write_bytes(b"")


@pytest.mark.parametrize("lazy", [False, True])
def test_all_bad_images_are_in_one_error(tmp_path, monkeypatch, lazy):
    class_folders(tmp_path, count=3)
    spoil(tmp_path)
    if lazy:
        monkeypatch.setattr(image_data, "MAX_BYTES_IN_MEMORY", 0)
    with pytest.raises(PilotageError, match="3 of 12 images cannot be read") as caught:
        load_data(tmp_path)
    assert "\n" not in str(caught.value)
    for name in ("dog/cut.jpg", "cat/text.png", "owl/empty.bmp", "truncated", "skip_bad"):
        assert name in str(caught.value)


def test_damage_in_the_pixels_alone_is_found_in_both_parts(tmp_path):
    whole = encoded(noise(1, 20, 28), "JPEG")
    for split, names in (("train", "ab"), ("test", "cd")):
        class_folders(tmp_path / split, count=1)
        for name in names:
            (tmp_path / split / "dog" / f"{name}.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PilotageError, match="4 of 10 images cannot be read") as caught:
        load_data(tmp_path)
    assert all(f"dog/{name}.jpg" in str(caught.value) for name in "abcd")


@pytest.mark.parametrize("lazy", [False, True])
def test_bad_images_can_be_left_out(tmp_path, notes, monkeypatch, lazy):
    expected = class_folders(tmp_path, count=3)
    (tmp_path / "yak").mkdir()
    (tmp_path / "yak" / "0.png").write_bytes(b"the only one of its class")
    spoil(tmp_path)
    if lazy:
        monkeypatch.setattr(image_data, "MAX_BYTES_IN_MEMORY", 0)
    train, _ = load_data(tmp_path, held_out=0, skip_bad=True, say=notes.append)
    assert train.classes == ("cat", "dog", "owl")
    assert train.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert np.array_equal(all_images(train)[:, 0], expected)
    (note,) = [note for note in notes if "left out" in note and "images cannot" in note]
    assert note.startswith("data: 4 of 13 images cannot be read: ")
    for name in ("dog/cut.jpg", "cat/text.png", "owl/empty.bmp", "yak/0.png"):
        assert name in note


def test_what_is_left_out_leaves_the_others_as_they_were(tmp_path):
    class_folders(tmp_path)
    before = [part.fingerprint for part in load_data(tmp_path, held_out=0.3)]
    spoil(tmp_path)
    after = load_data(tmp_path, held_out=0.3, skip_bad=True)
    assert [len(part) for part in after] == [21, 9]
    assert sum(len(part) for part in after) == 30
    assert len(set(before)) == 2


def test_nothing_is_left(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(PilotageError, match="no image of split 'train' can be read"):
        load_data(tmp_path, skip_bad=True)


# --- sizes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (1, 28), (20, 1), (4, 5)])
def test_one_tiny_image_does_not_make_all_tiny(tmp_path, notes, shape):
    class_folders(tmp_path)
    save(tmp_path / "dog" / "dot.png", noise(1, *shape))
    with pytest.raises(PilotageError, match=r"1 of 31 images is far smaller .*dog/dot\.png"):
        load_data(tmp_path)
    train, _ = load_data(tmp_path, size=(20, 28), say=notes.append)
    assert train.shape == (1, 20, 28)
    assert any("far smaller" in note and "dog/dot.png" in note for note in notes)


def test_sizes_that_differ_a_little_meet_at_the_smallest(tmp_path):
    class_folders(tmp_path, count=2)
    save(tmp_path / "dog" / "small.png", noise(1, 10, 10))
    assert load_data(tmp_path)[0].shape == (1, 10, 10)


def test_huge_images_need_a_size(tmp_path):
    for i in range(3):
        save(tmp_path / f"{i}.png", np.full((2100, 2200), i, np.uint8))
    with pytest.raises(PilotageError, match=r"at least 2100x2200 .*give size"):
        load_data(tmp_path)
    assert load_data(tmp_path, size=8)[0].shape == (1, 8, 8)


# --- bombs ------------------------------------------------------------------------------------


def png(width, height, kind=0, bits=8):
    """A PNG of zeros that claims this size."""

    def chunk(name, content):
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    rows = zlib.compress(bytes(10_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8193, 30_000, 2**31 - 1])
def test_bombs_are_refused_by_their_header(tmp_path, monkeypatch, side):
    (tmp_path / "bomb.png").write_bytes(png(side, side))
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("it was decoded"))
    with pytest.raises(PilotageError, match=r"bomb\.png") as caught:
        load_data(tmp_path, size=8)
    assert "\n" not in str(caught.value)


def test_large_images_wait_for_each_other():
    budget = decode.Budget(100)
    order = []

    def work(name):
        with budget.take(Image.new("L", (10, 6))):
            order.append(f"+{name}")
            started.set()
            threading.Event().wait(0.05)
            order.append(f"-{name}")

    started = threading.Event()
    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order in (["+a", "-a", "+b", "-b"], ["+b", "-b", "+a", "-a"])


@pytest.mark.parametrize("kind", ["pipe", "folder", "socket", "device", "loop", "dangling"])
def test_only_regular_files_are_opened(tmp_path, kind):
    class_folders(tmp_path, ("cat",))
    path = tmp_path / "cat" / "odd.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        import socket

        here = os.open(tmp_path / "cat", os.O_RDONLY)
        socket.socket(socket.AF_UNIX).bind(f"/proc/self/fd/{here}/odd.png")
        os.close(here)
    else:
        aims = {"device": "/dev/zero", "loop": path, "dangling": tmp_path / "nowhere"}
        path.symlink_to(aims[kind])
    if kind == "folder":
        assert len(load_data(tmp_path, held_out=0)[0]) == 10
    else:
        with pytest.raises(PilotageError, match=r"odd\.png"):
            load_data(tmp_path)


def test_what_starts_other_programs_is_no_image(tmp_path):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "a.png").write_bytes(eps)
    with pytest.raises(PilotageError, match=r"a\.png.*not an image of a kind that is read"):
        load_data(tmp_path)


# --- more than 8 bits -------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_range_of_deep_images_is_that_of_the_data_set(tmp_path, notes, bits):
    top = 2**bits - 1
    save(tmp_path / "train" / "a" / "dark.png", np.array([[0, 1, top // 3]], np.uint16))
    save(tmp_path / "train" / "a" / "bright.tif", np.array([[0, 1, top]], np.int32))
    save(tmp_path / "test" / "a" / "x.png", np.array([[top // 5, 0, top // 3]], np.uint16))
    train, held = load_data(tmp_path, say=notes.append)
    assert all_images(train)[:, 0, 0, 2].tolist() == [255, 85]
    assert all_images(held)[0, 0, 0].tolist() == [51, 0, 85]
    assert any(f"scaled to 0..255, white being {top}" in note for note in notes)
