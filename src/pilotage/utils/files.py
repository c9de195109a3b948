"""Files that are either whole or absent, tensors that are never unpickled, and the cache."""

import errno
import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO, TextIOWrapper
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pilotage.errors import PilotageError
from pilotage.utils.regular_files import open_regular

MARK = "pilotage-tmp"  # what no other program puts into the name of a file
TEMPORARY = re.compile(rf"\..+\.{MARK}-(\d+)", re.DOTALL)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)

METADATA, CONTENT = "pilotage", "sha256"  # keys in our safetensors files


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name once it is written and on disk.

    Raises:
        PilotageError: if the disk is full, or can only be read.
    """
    temporary = _temporary(path)
    with _naming_full_disks(path):
        try:
            yield temporary
            sync(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path`` that takes its name once all in it is on disk.

    Raises:
        PilotageError: if the disk is full, or can only be read.
    """
    temporary = _temporary(path)
    with _naming_full_disks(path):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            for file in temporary.iterdir():
                sync(file)
            temporary.rename(path)
            sync(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{MARK}-{os.getpid()}")


@contextmanager
def _naming_full_disks(path: Path) -> Iterator[None]:
    """Turn what a full disk raises, also safetensors' own error, into a sentence."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        code = getattr(error, "errno", None)
        if code in FULL or (code is None and "os error" in str(error)):
            raise PilotageError(f"{path} cannot be written: {_reason(error)}.") from error
        raise


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def check_writable(folder: Path, name: str = "out") -> None:
    """Try a small file in a folder, or in the nearest one above that exists, before long work.

    Raises:
        PilotageError: if it cannot be written, naming the setting ``name``.
    """
    here = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    probe = _temporary(here / "probe")
    try:
        probe.write_bytes(b" " * 4096)
        sync(probe)
    except OSError as error:
        raise PilotageError(f"{name} is {folder}: it cannot be written ({error.strerror}).") from (
            error
        )
    finally:
        with suppress(OSError):  # then it was never there
            probe.unlink()


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """The text under that name, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_text(path: str | Path, what: str) -> str:
    r"""A UTF-8 file with or without a byte order mark; its lines end in `\n`.

    Args:
        path: The file, which a user wrote.
        what: What it is, as the start of a message; the path follows.

    Raises:
        PilotageError: It cannot be read, or is not UTF-8.
    """
    try:
        with open_regular(path) as file:
            return text_of(file.read(), what, path)
    except OSError as error:
        raise PilotageError(f"{what} {str(path)!r} cannot be read: {error.strerror}") from error


def text_of(content: bytes, what: str, path: str | Path) -> str:
    """The text that a file holds, as `read_text` gives it and with what it raises."""
    try:
        return TextIOWrapper(BytesIO(content), encoding="utf-8-sig").read()
    except UnicodeDecodeError as error:
        raise PilotageError(f"{what} {str(path)!r} is not UTF-8 text") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], **metadata: str) -> None:
    """Write a safetensors file, whole or not at all, with strings as its metadata.

    Its metadata also has the SHA-256 of all that it holds, which :func:`read_tensors` checks. They
    stand under one key, since safetensors writes several in no fixed order.
    """
    flat = {name: tensor.contiguous() for name, tensor in tensors.items()}
    facts = {**metadata, CONTENT: content_hash(flat, metadata)}
    with whole_file(path) as temporary:
        save_file(flat, temporary, {METADATA: json.dumps(facts)})
        temporary.chmod(0o666 & ~_umask())  # as any other file, not for its owner only


def content_hash(tensors: Mapping[str, Tensor], facts: Mapping[str, object]) -> str:
    """SHA-256 (hex) of named tensors and of facts about them, which JSON can write."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        flat = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(flat.numpy().data)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_tensors(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        PilotageError: if the file is missing, cut short, not safetensors (a pickle, say: nothing
            is ever unpickled), or not as it was written.
    """
    with _opened(path, device) as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        metadata = _metadata(file, path)
    if CONTENT in metadata and metadata.pop(CONTENT) != content_hash(found, metadata):
        raise PilotageError(f"{path} is damaged: it no longer holds what was written.")
    return found


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file; raises as :func:`read_tensors` does."""
    with _opened(path, "cpu") as file:
        return {name: text for name, text in _metadata(file, path).items() if name != CONTENT}


def _metadata(file: safe_open, path: Path) -> dict[str, str]:
    """Our metadata, or those of a file of earlier versions or other origin."""
    metadata: dict[str, str] = dict(file.metadata() or {})
    if METADATA not in metadata:
        return metadata
    try:
        found: dict[str, str] = json.loads(metadata[METADATA])
        found[CONTENT]
    except (ValueError, KeyError, TypeError):
        raise PilotageError(f"{path} is damaged: its metadata cannot be read.") from None
    return found


@contextmanager
def _opened(path: Path, device: str) -> Iterator[safe_open]:
    if not path.is_file():
        raise PilotageError(f"there is no file {path}.")
    try:
        with safe_open(path, framework="pt", device=device) as file:
            yield file
    except SafetensorError as error:
        raise PilotageError(
            f"{path} is not a whole safetensors file, but cut short or of another kind ({error})."
        ) from None


@contextmanager
def only_writer(folder: Path, work: str = "training into") -> Iterator[None]:
    """Be the one that writes into a folder; the system lets go when the process ends, however.

    Args:
        folder: which exists.
        work: of another process there, for the message.

    Raises:
        PilotageError: if another process is writing there.
    """
    try:
        import fcntl
    except ImportError:  # not on every system; then the user has to take care
        yield
        return
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PilotageError(f"{folder} is in use: another process is {work} it.") from None
        except OSError as error:  # some network file systems know no locks
            warnings.warn(f"{folder} cannot be locked ({error}).", stacklevel=2)
        yield


def remove_leftovers(folder: Path) -> None:
    """Clear the temporary files and folders that killed processes of ours left in a folder.

    Nothing is followed or removed that is a link, nor what a living process is writing.
    """
    if folder.is_symlink():
        return
    for path in list(folder.glob(f".*.{MARK}-*")):
        found = TEMPORARY.fullmatch(path.name)
        if found is None or path.is_symlink() or _is_alive(int(found[1])):
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _is_alive(process: int) -> bool:
    """Whether another process has this number."""
    if process == os.getpid():
        return False  # it has just started here, so the number is of an earlier one
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is another user's
        return True
    return True


def usual_folder(name: str) -> Path:
    """``~/.cache/pilotage/NAME``, or below ``XDG_CACHE_HOME``; there from now on."""
    # the standard says that an empty value counts as unset
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return usable_folder(Path(home, "pilotage", name))


def usable_folder(folder: str | Path) -> Path:
    """The folder, made if it is not there.

    Raises:
        PilotageError: if it cannot be made.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PilotageError(
            f"cache={str(folder)!r} is not allowed ({error}); give a folder that can be written."
        ) from None
    return Path(folder)


def sync(path: Path) -> None:
    """Wait until a file or a folder is on disk; where folders cannot be waited for, that is said.

    Raises:
        OSError: if a file cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:  # some file systems, and Windows, do this for files only
        if not path.is_dir():
            raise
        warnings.warn(f"{path} may not survive a power cut ({error.strerror}).", stacklevel=2)
