"""`pilotage.utils.files`: whole or absent, never unpickled, and the cache."""

import errno
import os
import pickle
import stat
import subprocess
import sys

import pytest
import torch
from safetensors import SafetensorError

from pilotage.errors import PilotageError
from pilotage.utils.files import (
    MARK,
    check_writable,
    only_writer,
    read_metadata,
    read_tensors,
    read_text,
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


def dead():
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    number = dead()
    (tmp_path / f".a.txt.{MARK}-{number}").write_text("half")
    (tmp_path / f".b.{MARK}-{number}").mkdir()
    (tmp_path / f".b.{MARK}-{number}" / "c").write_text("half")
    (tmp_path / f".c.{MARK}-{os.getpid()}").write_text("of an earlier process of this number")
    (tmp_path / "kept").write_text("whole")
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize(
    "name",
    [
        *(".thesis.tmp-final", ".git.tmp-2", ".a.tmp-1", f".{MARK}-1", f".a.{MARK}-final"),
        *(f"a.{MARK}-1", f".a.{MARK}-1.bak", f".a.{MARK}-{os.getppid()}", f".a.{MARK}-"),
    ],
)
@pytest.mark.parametrize("folder", [False, True])
def test_what_is_not_ours_or_still_written_stays(tmp_path, name, folder):
    path = tmp_path / name
    path.mkdir() if folder else path.write_text("years of work")
    remove_leftovers(tmp_path)
    assert path.exists()


def test_leftovers_are_not_looked_for_behind_links(tmp_path):
    far, near = tmp_path / "far", tmp_path / "near"
    name = f".a.{MARK}-{dead()}"
    (far / name).mkdir(parents=True)
    (far / name / "thesis").write_text("years of work")
    near.symlink_to(far)
    remove_leftovers(near)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(far / name)
    remove_leftovers(tmp_path / "run")
    assert (tmp_path / "run" / name / "thesis").read_text() == "years of work"


def fail(code):
    def raise_it(*_, **__):
        raise OSError(code, os.strerror(code))

    return raise_it


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_a_sentence_and_the_file_stays(tmp_path, monkeypatch, code):
    write_text(tmp_path / "a.txt", "before")
    monkeypatch.setattr(os, "fsync", fail(code))
    with pytest.raises(PilotageError, match=rf"a\.txt cannot be written: {os.strerror(code)}"):
        write_text(tmp_path / "a.txt", "after")
    with pytest.raises(PilotageError, match=r"b cannot be written"), whole_folder(tmp_path / "b"):
        os.fsync(0)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_a_full_disk_is_a_sentence_for_tensors(tmp_path, monkeypatch):
    from pilotage.utils import files

    def full(*_):
        raise SafetensorError("Error while serializing: No space left on device (os error 28)")

    monkeypatch.setattr(files, "save_file", full)
    with pytest.raises(PilotageError, match=r"x\.safetensors cannot be written: .*No space left"):
        write_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(1)})
    assert list(tmp_path.iterdir()) == []


def fsync_of_files_only(code):
    def fsync(descriptor, real=os.fsync):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        real(descriptor)

    return fsync


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EIO])
def test_folders_that_cannot_be_synced_are_warned_of(tmp_path, monkeypatch, code):
    monkeypatch.setattr(os, "fsync", fsync_of_files_only(code))
    with pytest.warns(UserWarning, match="may not survive"), whole_folder(tmp_path / "x") as folder:
        (folder / "a").write_text("a")
    assert (tmp_path / "x" / "a").read_text() == "a"


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_systems_without_locks_are_warned_of(tmp_path, monkeypatch, code):
    import fcntl

    monkeypatch.setattr(fcntl, "flock", fail(code))
    with pytest.warns(UserWarning, match="cannot be locked"), only_writer(tmp_path):
        pass


def test_folders_that_cannot_be_written_are_found_before_work(tmp_path, monkeypatch):
    check_writable(tmp_path / "not" / "yet")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(PilotageError, match=r"out is .*file/x: it cannot be written"):
        check_writable(tmp_path / "file" / "x")
    monkeypatch.setattr(os, "fsync", fail(errno.ENOSPC))
    with pytest.raises(PilotageError, match="No space left"):
        check_writable(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PilotageError, match="no regular file"):
        read_text(tmp_path / "pipe", "prompts: the file")
    with pytest.raises(PilotageError, match="there is no file"):
        read_tensors(tmp_path / "pipe")


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
