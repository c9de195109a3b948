"""How far a command walks through the house: files, functions and switches between files.

    python scripts/trips.py            # sample of one digit, and train --steps 2

Counts what is called in ``pilotage`` from a command's words to its files, imports apart. A switch is
a call into another file, or the return from it. The counts say how many places a reader visits;
none of them is a time.
"""

import contextlib
import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pilotage
from pilotage.cli.main import parse

HOUSE = str(Path(pilotage.__file__).parent)
TINY = ["--network.channels", "8", "--network.channel-mult", "1", "--network.head-channels", "8"]


class Trip:
    """Counts calls into the package while it is the profiler."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.functions: set[Any] = set()
        self.switches = 0
        self._last: str | None = None

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Note a call, or the way back from one."""
        if event not in ("call", "return") or not _ours(frame):
            return
        if event == "call":
            self.files.add(frame.f_code.co_filename)
            self.functions.add(frame.f_code)
            self._visit(frame)
        else:
            back = frame.f_back
            while back is not None and not _ours(back):
                back = back.f_back
            if back is not None:
                self._visit(back)

    def _visit(self, frame: FrameType) -> None:
        place = frame.f_code.co_filename
        self.switches += self._last is not None and place != self._last
        self._last = place


def _ours(frame: FrameType) -> bool:
    code = frame.f_code
    return code.co_filename.startswith(HOUSE) and code.co_name != "<module>"


def trip(arguments: Sequence[str]) -> Trip:
    """The trip of one command, from its words to its files."""
    found = Trip()
    sys.setprofile(found)
    try:
        parse(arguments).run()
    finally:
        sys.setprofile(None)
    return found


def main() -> None:
    """Print both trips."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        run = f"{folder}/run"
        train = ["train", "digits", "--steps", "2", *TINY, "--out"]
        sample = ["sample", run, "--labels", "3", "--seeds", "0", "--steps", "2", "--out"]
        with contextlib.redirect_stdout(io.StringIO()):
            for words in ([*train, run], [*sample, f"{folder}/zero.png"]):
                parse(words).run()  # so that imports and caches are not counted
            trips = {
                "sample of one digit": trip([*sample, f"{folder}/one.png"]),
                "train --steps 2": trip([*train, f"{folder}/other"]),
            }
    for name, found in trips.items():
        counts = f"{len(found.files)} files, {len(found.functions)} functions"
        print(f"{name}: {counts}, {found.switches} switches between files")


if __name__ == "__main__":
    main()
