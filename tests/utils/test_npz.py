"""`pilotage.utils.npz`: arrays are judged before they take memory."""

import io
import zipfile

import numpy as np
import pytest

from pilotage.errors import PilotageError
from pilotage.utils.npz import read_npz


def header(shape, dtype="|u1"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def packed(path, compression=zipfile.ZIP_DEFLATED, **members):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def test_arrays_come_back(tmp_path):
    arrays = {"images": np.arange(24).reshape(2, 3, 4), "names": np.array(["a", "bé"])}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    found = read_npz(tmp_path / "a.npz", "images")
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in arrays.items()
    }
    np.savez(tmp_path / "b.npz", x=np.asfortranarray(arrays["images"].T), y=np.float32(3))
    assert read_npz(tmp_path / "b.npz", "images")["y"] == 3


def damaged(kind, path):
    """A file of this kind that is no readable .npz."""
    np.savez_compressed(path, images=np.random.default_rng(0).integers(0, 9, (99, 99)))
    whole = path.read_bytes()
    packing = {
        "claims": {"a": header((6 * 2**30,)) + bytes(9)},
        "claims-text": {"a": header((1,), "<U1000000000")},
        "negative": {"a": header((-1,)) + bytes(9)},
        "objects": {"a": header((1,), "|O") + b"cos\nsystem\n."},
        "records": {"a": header((1,), [("x", "<f4")]) + bytes(4)},
        "other": {"a": b"no array at all"},
        "deep": {"a": header((1,)).replace(b"(1,)", b"(" * 30 + b")" * 30)},
    }
    if kind in packing:
        packed(path, **packing[kind])
    elif kind == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "absent":
        path.unlink()
    else:
        path.write_bytes({"cut": whole[:-99], "empty": b"", "flipped": flipped(whole)}[kind])
    return path


def flipped(content):
    return content[:80] + bytes([content[80] ^ 255]) + content[81:]


KINDS = ["claims", "claims-text", "negative", "objects", "records", "other", "deep", "npy"]


@pytest.mark.parametrize("kind", [*KINDS, "folder", "absent", "cut", "empty", "flipped"])
def test_what_is_no_npz_is_a_sentence(tmp_path, kind):
    with pytest.raises(PilotageError, match=r"images is .*a\.npz: it is not a readable") as caught:
        read_npz(damaged(kind, tmp_path / "a.npz"), "images")
    assert "\n" not in str(caught.value)


def test_bombs_are_refused_before_they_take_memory(tmp_path):
    content = header((2**29,)) + bytes(2**29)
    path = packed(tmp_path / "a.npz", a=content)
    assert path.stat().st_size < 2**20
    del content
    with pytest.raises(PilotageError, match="its arrays would take 536870912 bytes"):
        read_npz(path, "images")
