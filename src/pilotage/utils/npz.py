"""Arrays in ``.npz`` files that anybody may have written: judged before they take memory."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple
from zipfile import ZipFile

import numpy as np

from pilotage.errors import PilotageError
from pilotage.utils.regular_files import open_regular

PLAIN = "biufcUS"  # kinds of numbers and texts; others are objects, which would be unpickled
SMALL = 2**28  # bytes that arrays may take, however small their file
RATIO = 100  # bytes of arrays for each byte of the file, at most, where they take more


class Described(NamedTuple):
    """What the header of an array says."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    start: int

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npz(path: str | Path, what: str) -> dict[str, np.ndarray]:
    """All arrays of an ``.npz`` file by name; nothing is ever unpickled.

    Args:
        path: The file.
        what: The setting that names it, for messages.

    Raises:
        PilotageError: if it is not there, damaged, of another kind, or claims arrays that are
            too large for the file.
    """
    try:
        with open_regular(path) as file, ZipFile(file) as archive:
            _check_sizes(archive, Path(path).stat().st_size)
            return dict(_arrays(archive))
    except Exception as error:  # zipfile, zlib and numpy have many for damaged files
        reason = getattr(error, "strerror", None) or str(error).splitlines() or [repr(error)]
        reason = reason if isinstance(reason, str) else reason[0]
        raise PilotageError(f"{what} is {path}: it is not a readable .npz ({reason}).") from error


def _arrays(archive: ZipFile) -> Iterator[tuple[str, np.ndarray]]:
    for name in archive.namelist():
        with archive.open(name) as member:
            yield name.removesuffix(".npy"), np.lib.format.read_array(member, allow_pickle=False)


def _check_sizes(archive: ZipFile, stored: int) -> None:
    """Raise a ValueError unless all members are arrays that are what they claim, and no bomb."""
    total = 0
    for member in archive.infolist():
        with archive.open(member) as file:
            described = _describe(file)
        if described.dtype.kind not in PLAIN:
            raise ValueError(f"{member.filename} holds {described.dtype}, no numbers")
        if described.start + described.size != member.file_size:
            raise ValueError(f"{member.filename} is not of the size that it claims")
        total += described.size
    if total > max(SMALL, RATIO * stored):
        raise ValueError(f"its arrays would take {total} bytes, and the file has {stored}")


def _describe(file: IO[bytes]) -> Described:
    major, _ = np.lib.format.read_magic(file)
    read = (
        np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(file)
    if any(length < 0 for length in shape):
        raise ValueError(f"an array has the shape {shape}")
    return Described(shape, dtype, file.tell())
