"""`pilotage.utils.files`: whole or absent, never unpickled, and the cache."""

import pickle

import pytest
import torch

from pilotage.errors import PilotageError
from pilotage.utils.files import (
    read_metadata,
    read_tensors,
    remove_leftovers,
    usable_folder,
    usual_folder,
    whole_file,
    whole_folder,
    write_tensors,
    write_text,
)


def test_a_writer_that_fails_leaves_the_file_as_it_was(tmp_path):
    def write_half():
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("half way")

    path = tmp_path / "a.txt"
    write_text(path, "before")
    with pytest.raises(RuntimeError, match="half way"):
        write_half()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_once_all_is_in_it(tmp_path):
    with whole_folder(tmp_path / "new") as temporary:
        (temporary / "a").write_text("a")
        assert not (tmp_path / "new").exists()
    assert (tmp_path / "new" / "a").read_text() == "a"
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "other"):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    (tmp_path / ".a.txt.tmp-1").write_text("half")
    (tmp_path / ".b.tmp-2").mkdir()
    (tmp_path / ".b.tmp-2" / "c").write_text("half")
    (tmp_path / "kept").write_text("whole")
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_tensors_come_back_with_their_strings(tmp_path):
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(1)}
    write_tensors(tmp_path / "x.safetensors", tensors, kind="test")
    found = read_tensors(tmp_path / "x.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert read_metadata(tmp_path / "x.safetensors") == {"kind": "test"}


def test_files_that_are_no_tensors_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(PilotageError, match=r"there is no file .*x\.safetensors"):
        read_tensors(path)
    write_tensors(path, {"a": torch.zeros(9)})
    whole = path.read_bytes()
    for content in (whole[:-4], pickle.dumps({"a": 1})):
        path.write_bytes(content)
        with pytest.raises(PilotageError, match="is not a whole safetensors file"):
            read_tensors(path)


def test_the_cache_is_below_xdg_cache_home_where_it_is_set(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert usual_folder("things") == tmp_path / "pilotage" / "things"
    assert (tmp_path / "pilotage" / "things").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(PilotageError, match=r"cache='.*file/x' is not allowed"):
        usable_folder(tmp_path / "file" / "x")
