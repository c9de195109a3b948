"""Trees of image files: a folder, a zip file or tar files, all of them read in place."""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple
from zipfile import ZipFile, ZipInfo

from pilotage.data.decode import Row, bytes_and_path
from pilotage.errors import PilotageError
from pilotage.utils.files import text_of
from pilotage.utils.regular_files import open_regular

ARCHIVES = (".zip", ".tar")
# what systems and programs put beside images
NOT_DATA = frozenset(
    {"@eadir", "@tmp", "@recycle", "#recycle", "$recycle.bin", "system volume information"}
    | {"__macosx", "lost+found", "__pycache__", "thumbs.db", "desktop.ini", "recycler"}
)
MAX_MEMBER = 2**28  # bytes of a file in an archive
SMALL_MEMBER = 2**24  # bytes that a file in a zip file may take, however small it is packed
RATIO = 100  # bytes for each packed one, at most, of a file that takes more
DEEPEST = 64  # folders in folders
DRIVE = re.compile(r"[A-Za-z]:")
LINKED = 2  # levels of folders down to which links to folders are followed


@dataclass(frozen=True)
class Folder:
    """A visible folder and all below it.

    Attributes:
        path: What it is called, and where the paths of its files begin.
        files: The names of its visible files, in order.
        folders: The visible folders in it by name, in order.
    """

    path: str
    files: list[str] = field(default_factory=list)
    folders: dict[str, Folder] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return Path(self.path).stem if self.path.endswith(ARCHIVES) else Path(self.path).name

    def own(self) -> list[str]:
        """The paths of its files."""
        return [f"{self.path}/{name}" for name in self.files]

    def walk(self) -> Iterator[str]:
        """The paths of its files, and then of those in each folder."""
        yield from self.own()
        for folder in self.folders.values():
            yield from folder.walk()

    def ordered(self) -> Folder:
        """The same with files and folders by name."""
        folders = {name: self.folders[name].ordered() for name in sorted(self.folders)}
        return Folder(self.path, sorted(self.files), folders)


class Tree(NamedTuple):
    """A root folder and how its files are read.

    Attributes:
        root: The folder.
        open: A file by its path.
        fetch: An image's row, of which the path is in the tree, as one that can be read.
    """

    root: Folder
    open: Callable[[str], BinaryIO]
    fetch: Callable[[Row], Row]

    def read_text(self, path: str, what: str) -> str:
        r"""The text of a file; its lines end in `\n`.

        Raises:
            PilotageError: It cannot be read, or is not UTF-8.
        """
        try:
            with self.open(path) as file:
                content = file.read()
        except Exception as error:  # zipfile and zlib have many
            reason = getattr(error, "strerror", None) or error
            raise PilotageError(f"{what} {path!r} cannot be read: {reason}") from error
        return text_of(content, what, path)


def is_visible(name: str) -> bool:
    """Whether a file or folder is neither hidden nor of what systems put beside data."""
    return not name.startswith(".") and name.lower() not in NOT_DATA


def folder_tree(root: Path) -> Tree:
    """A folder of the file system; of names that are not UTF-8, the odd bytes are written out.

    Raises:
        PilotageError: A folder cannot be listed, or folders are nested too deeply.
    """
    odd: dict[str, str] = {}

    def scan(place: str, path: str, depth: int) -> Folder:
        check_depth(depth, path)
        folder = Folder(path)
        with os.scandir(place) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                name = os.fsencode(entry.name).decode("utf-8", "backslashreplace")
                below = f"{path}/{name}"
                if not is_visible(name):
                    continue
                linked = entry.is_symlink()
                if not (os.path.isdir(entry.path) if linked else entry.is_dir()):  # noqa: PTH112
                    folder.files.append(name)
                elif not linked or (depth < LINKED and not contains(entry.path, place)):
                    folder.folders[name] = scan(entry.path, below, depth + 1)
                    continue
                if below != entry.path:
                    odd[below] = entry.path
        return folder

    def opened(path: str) -> BinaryIO:
        return open_regular(odd.get(path, path))

    def fetch(row: Row) -> Row:
        content, path = bytes_and_path(row)
        known = content is None and path in odd
        return {"bytes": None, "path": odd[str(path)]} if known else row

    try:
        return Tree(scan(str(root), str(root), 0), opened, fetch)
    except OSError as error:
        raise PilotageError(
            f"data: {error.filename or str(root)!r} cannot be listed: {error.strerror}"
        ) from error


def contains(link: str, place: str) -> bool:
    """Whether a link leads to a folder that it lies in itself."""
    real = os.path.realpath(link)
    return os.path.commonpath([real, os.path.realpath(place)]) == real


def zip_tree(path: Path) -> Tree:
    """The files of a zip file, none of which is ever extracted.

    Raises:
        PilotageError: It is no zip file, or one made to do harm.
    """
    try:
        archive = ZipFile(open_regular(path))
        members = [member for member in archive.infolist() if not member.is_dir()]
    except Exception as error:  # zipfile has many for damaged files
        raise PilotageError(f"data: {str(path)!r} is no readable zip file ({error})") from error
    check_members(path, members)
    sizes = {member.filename: member.file_size for member in members}

    def opened(name: str) -> BinaryIO:
        with archive.open(name) as file:
            return io.BytesIO(file.read(sizes[name]))  # without a number it may swell beyond that

    return archive_tree(str(path), list(sizes), opened)


def check_members(path: Path, members: Sequence[ZipInfo]) -> None:
    """Raise a PilotageError if a zip file would swell, by large members or ones that overlap."""
    end = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        large = member.file_size > MAX_MEMBER
        packed = member.file_size > max(SMALL_MEMBER, RATIO * member.compress_size)
        if large or packed or member.header_offset < end:
            raise PilotageError(
                f"data: {str(path)!r} is not read: its member {member.filename!r} would take "
                f"{member.file_size} bytes of {member.compress_size}, or shares them with another"
            )
        end = member.header_offset + member.compress_size


def tar_tree(files: Sequence[Path]) -> Tree:
    """The files of a tar file, or of several, each of which then counts as a folder.

    Raises:
        PilotageError: One is no tar file.
    """
    places: dict[str, tuple[Path, int, int]] = {}
    for path in files:
        before = f"{path.name}/" if len(files) > 1 else ""
        try:
            with tarfile.open(fileobj=open_regular(path), mode="r:") as archive:
                found = [x for x in archive if x.isreg() and not x.issparse()]
        except Exception as error:  # tarfile has many for damaged files
            raise PilotageError(
                f"data: {str(path)!r} is no readable tar file ({error}); compressed ones are not "
                "read, but zip files are"
            ) from error
        places |= {before + x.name: (path, x.offset_data, x.size) for x in found}

    def opened(name: str) -> BinaryIO:
        path, start, size = places[name]
        if size > MAX_MEMBER:
            raise ValueError(f"it has {size} bytes; at most {MAX_MEMBER} are read")
        with open_regular(path) as file:
            file.seek(start)
            return io.BytesIO(file.read(size))

    root = files[0] if len(files) == 1 else files[0].parent
    return archive_tree(str(root), list(places), opened)


def archive_tree(root: str, names: Iterable[str], open_member: Callable[[str], BinaryIO]) -> Tree:
    """The tree of an archive's members, of which each has another name.

    Raises:
        PilotageError: The name of one leads out of it.
    """
    folder = Folder(root)
    members: dict[str, str] = {}
    for name in names:
        shown = os.fsencode(name).decode("utf-8", "backslashreplace").replace("\\", "/")
        parts = [part for part in shown.split("/") if part not in ("", ".")]
        if not parts or ".." in parts or shown[0] == "/" or DRIVE.match(shown):
            raise PilotageError(
                f"data: {root!r} has the member {name!r}, which leads outside of it"
            )
        check_depth(len(parts), root)
        if not all(map(is_visible, parts)):
            continue
        here = folder
        for part in parts[:-1]:
            here = here.folders.setdefault(part, Folder(f"{here.path}/{part}"))
        here.files.append(parts[-1])
        members[f"{here.path}/{parts[-1]}"] = name

    def opened(path: str) -> BinaryIO:
        return open_member(members[path])

    def fetch(row: Row) -> Row:
        path = bytes_and_path(row)[1]
        with opened(str(path)) as file:
            return {"bytes": file.read(), "path": path}

    return Tree(folder.ordered(), opened, fetch)


def check_depth(depth: int, path: str) -> None:
    """Raise a PilotageError if folders are nested too deeply."""
    if depth > DEEPEST:
        raise PilotageError(f"data: {path[:99]!r}... has folders in folders, beyond {DEEPEST}")
