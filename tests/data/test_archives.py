"""Zip files, tar files and WebDataset, read in place."""

import io
import os
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from pilotage.data import image_data, load_data
from pilotage.errors import PilotageError

from .making import all_images, by_shade, encoded, load_captioned, noise, picture


def pack_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def pack_tar(path, members, mode="w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


PACKED = {"zip": pack_zip, "tar": pack_tar}


@pytest.fixture(params=PACKED)
def pack(request, tmp_path):
    return lambda members: PACKED[request.param](tmp_path / f"photos.{request.param}", members)


def images(*names, start=0):
    return {name: encoded(noise(start + i, 6, 8)) for i, name in enumerate(names)}


@pytest.mark.parametrize("lazy", [False, True])
def test_class_folders(pack, tmp_path, monkeypatch, notes, lazy):
    members = images("set/dog/b.png", "set/cat/2.png", "set/cat/more/1.png", "set/cat/1.png")
    members |= {"set/cat/.x.png": b"", "__MACOSX/set/cat/._1.png": b"", "set/cat/notes.md": b""}
    inner = {name.removeprefix("set/"): content for name, content in members.items()}
    if lazy:
        monkeypatch.setattr(image_data, "MAX_BYTES_IN_MEMORY", 0)
    path = pack(inner)
    before = sorted(tmp_path.rglob("*"))
    train, _ = load_data(path, held_out=0, say=notes.append)
    assert train.classes == ("cat", "dog")
    assert train.labels.tolist() == [0, 0, 0, 1]
    assert np.array_equal(all_images(train)[:, 0], [noise(i, 6, 8) for i in (3, 1, 2, 0)])
    assert sorted(tmp_path.rglob("*")) == before
    assert any("'notes.md'" in note for note in notes)
    assert load_data(pack(members), held_out=0)[0].classes == ("set",)


def test_splits_tables_and_images_alone(pack):
    train, held = load_data(pack(images("x/train/a.png", "x/train/b.png", "x/val/c.png")))
    assert (len(train), len(held), train.classes) == (2, 1, ("photos",))
    table = {"labels.csv": b"file_name,label\na.png,one\nb.png,two\n"}
    assert load_data(pack(images("a.png", "b.png") | table))[0].classes == ("one", "two")
    assert load_data(pack(images("a.png", "b.png")))[0].classes == ("photos",)
    table = {"labels.csv": b"file_name,label\n../a.png,one\n"}
    with pytest.raises(PilotageError, match="outside of"):
        load_data(pack(images("a.png") | table))


def test_bad_images_are_named(pack):
    path = pack(images("cat/a.png") | {"cat/b.png": b"no image", "cat/c.jpg": b""})
    with pytest.raises(PilotageError, match=r"2 of 3 .*photos\.\w+/cat/b\.png.*cat/c\.jpg"):
        load_data(path)
    assert len(load_data(path, skip_bad=True, held_out=0)[0]) == 1


@pytest.mark.parametrize(
    "name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "C:\\evil.png", "a\\..\\..\\e.png"]
)
def test_names_that_lead_outside_are_refused(pack, name):
    with pytest.raises(PilotageError, match="leads outside of it"):
        load_data(pack(images("cat/a.png", name)))


def test_folders_nested_too_deeply(pack):
    with pytest.raises(PilotageError, match="folders in folders"):
        load_data(pack(images("a/" * 5000 + "a.png")))


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "content", [b"", b"PK", b"PK\x05\x06" + bytes(18), bytes(512), b"x" * 2000]
)
def test_what_is_no_archive(tmp_path, kind, content):
    (tmp_path / f"a.{kind}").write_bytes(content)
    with pytest.raises(PilotageError, match=r"no readable|no images in"):
        load_data(tmp_path / f"a.{kind}")


# --- zip bombs --------------------------------------------------------------------------------


def test_members_that_would_swell_are_refused(tmp_path):
    path = pack_zip(tmp_path / "a.zip", {"cat/a.bmp": bytes(2**25)})
    assert path.stat().st_size < 2**16
    with pytest.raises(PilotageError, match=r"'cat/a\.bmp' would take 33554432 bytes"):
        load_data(path)


def test_members_that_swell_beyond_what_they_claim_stay_small(tmp_path):
    import tracemalloc

    path = pack_zip(tmp_path / "a.zip", {"cat/a.bmp": bytes(2**27)})
    content = path.read_bytes().replace(struct.pack("<I", 2**27), struct.pack("<I", 1000))
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(PilotageError, match=r"cat/a\.bmp"):
        load_data(path)
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()


def test_members_that_share_their_bytes_are_refused(tmp_path):
    path = pack_zip(tmp_path / "a.zip", images("cat/a.png", "cat/b.png"))
    with zipfile.ZipFile(path) as archive:
        second = archive.infolist()[1].header_offset
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02") + 42
    assert content[at : at + 4] == struct.pack("<I", second)
    content[at : at + 4] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(PilotageError, match="shares them with another"):
        load_data(path)


def test_encrypted_members_are_bad_images(tmp_path):
    path = pack_zip(tmp_path / "a.zip", images("cat/a.png"))
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(PilotageError, match=r"cat/a\.png.*encrypted"):
        load_data(path)


# --- tar --------------------------------------------------------------------------------------


def test_links_devices_and_holes_in_tars_are_no_files(tmp_path):
    path = pack_tar(tmp_path / "a.tar", images("cat/a.png"))
    with tarfile.open(path, "a") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo(f"cat/{kind[0]}.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    assert len(load_data(path, held_out=0)[0]) == 1


def test_a_cut_tar_is_a_sentence(tmp_path):
    path = pack_tar(tmp_path / "a.tar", images("cat/a.png", "cat/b.png", "cat/c.png"))
    path.write_bytes(path.read_bytes()[:1800])
    with pytest.raises(PilotageError, match=r"a\.tar"):
        load_data(path)


def test_compressed_tars_are_told_apart(tmp_path):
    pack_tar(tmp_path / "a.tar", images("cat/a.png"), "w:gz")
    with pytest.raises(PilotageError, match="compressed ones are not read"):
        load_data(tmp_path / "a.tar")


def sample(number, label, caption):
    return {
        f"{number:04}.png": encoded(picture(number)),
        f"{number:04}.cls": str(label).encode(),
        f"{number:04}.txt": caption.encode(),
    }


def shard(path, *numbers):
    members = {}
    for number in numbers:
        members |= sample(number, 10 - number % 3, f"caption {number}")
    return pack_tar(path, members)


def test_webdataset(tmp_path, notes):
    one = shard(tmp_path / "one.tar", *range(6))
    train, _ = load_data(one, held_out=0, say=notes.append)
    assert train.classes == ("8", "9", "10")
    assert train.labels.tolist() == [2, 1, 0, 2, 1, 0]
    captioned, _ = load_captioned(one)
    assert by_shade(captioned) == {i: f"caption {i}" for i in range(6)}


def test_webdataset_in_shards(tmp_path):
    for k in range(3):
        shard(tmp_path / "wds" / f"train-{k:06}.tar", *range(3 * k, 3 * k + 3))
    shard(tmp_path / "wds" / "val-000000.tar", 20, 21)
    (tmp_path / "wds" / "README.md").write_text("shards")
    train, held = load_data(tmp_path / "wds")
    assert train.classes == held.classes == ("8", "9", "10")
    assert all_images(train)[:, 0, 0, 0].tolist() == list(range(9))
    assert all_images(held)[:, 0, 0, 0].tolist() == [20, 21]
    captioned, _ = load_captioned(tmp_path / "wds")
    assert by_shade(captioned) == {i: f"caption {i}" for i in range(9)}


def test_shards_without_labels_are_of_one_class(tmp_path):
    for k in range(2):
        pack_tar(tmp_path / "wds" / f"{k}.tar", images("a.png", "b.png", start=2 * k))
    train, _ = load_data(tmp_path / "wds", held_out=0)
    assert train.classes == ("wds",)
    assert np.array_equal(all_images(train)[:, 0], [noise(i, 6, 8) for i in range(4)])


def test_a_tar_file_beside_images_is_passed_over(tmp_path):
    pack_tar(tmp_path / "backup.tar", images("a.png"))
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").write_bytes(encoded(noise(0, 6, 8)))
    assert load_data(tmp_path)[0].classes == ("cat",)


def test_archives_are_read_from_regular_files_only(tmp_path):
    os.mkfifo(tmp_path / "a.zip")
    with pytest.raises(PilotageError, match=r"no such folder or file '.*a\.zip'"):
        load_data(tmp_path / "a.zip")
