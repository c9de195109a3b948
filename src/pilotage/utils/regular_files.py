"""Regular files, which are all that is ever opened for reading; no heavy package is needed."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: str | Path) -> BinaryIO:
    """A file to be read; what is no regular file, such as a pipe, would never end.

    Raises:
        OSError: if it is not there, or of another kind.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 (as fast for str as for Path)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return open(path, "rb")  # noqa: PTH123
