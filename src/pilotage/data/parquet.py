"""Parquet files, saved folders and Hugging Face hub ids, opened by the `datasets` library."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies

from pilotage.data.decode import Row, bytes_and_path
from pilotage.data.request import Request
from pilotage.errors import PilotageError
from pilotage.utils.files import read_text
from pilotage.utils.parsing import parse_json

if TYPE_CHECKING:
    from datasets import Dataset

SAVED_SPLITS, SAVED_STATE = "dataset_dict.json", "state.json"  # of `save_to_disk`
CONNECT_SECONDS = 3
SPLIT_PREFIX = re.compile(r"train|test|validation|val(?![a-z])")


def parquet_files(path: Path) -> list[Path]:
    """The Parquet file that this is; of a folder, those in it, or else in its `data` folder.

    The latter is the layout of the hub. `metadata.parquet` describes the images of an image folder
    and is no data of its own.
    """
    for place in (path, path / "data"):
        found = [file for file in files_ending(place, ".parquet") if file.stem != "metadata"]
        if found:
            return found
    return []


def files_ending(path: Path, suffix: str) -> list[Path]:
    """The file that this is, if it has the suffix; of a folder, the visible ones in it, by name."""
    found = [path] if path.is_file() else sorted(path.glob("*"))
    found = [file for file in found if file.suffix.lower() == suffix and file.name[0] != "."]
    return [file for file in found if file.is_file()]  # a pipe would be waited for


def read_parquet(files: list[Path], say: Callable[[str], None]) -> dict[str, Dataset]:
    """Open Parquet files as splits; see `by_split` for which file goes where.

    Raises:
        PilotageError: A file is no Parquet file, or the files' columns differ.
    """
    import datasets

    for path in files:
        check_parquet(path)
    cache = Path(datasets.config.HF_DATASETS_CACHE, "pilotage", stamp(files))
    # `datasets` takes a path for a pattern.
    patterns = {
        split: [glob.escape(str(path)) for path in paths]
        for split, paths in by_split(files, say).items()
    }
    try:
        with quiet_datasets():
            loaded = datasets.load_dataset("parquet", data_files=patterns, cache_dir=str(cache))
    except Exception as error:
        where = str(files[0] if len(files) == 1 else files[0].parent)
        raise PilotageError(f"data: cannot read the Parquet data {where!r}: {brief(error)}") from (
            error
        )
    return dict(loaded)


def by_split(files: list[Path], say: Callable[[str], None]) -> dict[str, list[Path]]:
    """Sort files into splits by name: `train*` with `test*` or `validation*`, else all train."""
    splits: dict[str, list[Path]] = {}
    for path in files:
        prefix = SPLIT_PREFIX.match(path.name)
        splits.setdefault(prefix.group() if prefix else "", []).append(path)
    if "train" not in splits or not splits.keys() - {"train", ""}:
        return {"train": files}
    for path in splits.pop("", []):
        say(f"data: {path.name!r} belongs to no split by its name and is passed over")
    return splits


def check_parquet(path: Path) -> None:
    """Raise PilotageError unless `path` starts and ends as a Parquet file does."""
    from pyarrow import ArrowException, parquet

    try:
        parquet.read_schema(path)
    except (ArrowException, OSError) as error:
        raise PilotageError(f"data: {str(path)!r} is no readable Parquet file") from error


def stamp(files: list[Path]) -> str:
    """A name for the cache that changes whenever a file's content may have.

    `datasets` looks at the modification time alone, which copying tools preserve; no tool sets
    the change time.
    """
    facts = [(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for stat in map(Path.stat, files)]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def is_saved(path: Path) -> bool:
    """Whether `save_to_disk` of `datasets` wrote a folder."""
    return any((path / name).is_file() for name in (SAVED_SPLITS, SAVED_STATE))


def read_saved(root: Path) -> dict[str, Dataset]:
    """Open a folder that `save_to_disk` wrote, of one data set or of several splits.

    Raises:
        PilotageError: It is damaged, or names files outside of it.
    """
    import datasets

    try:
        listed = (
            parse_json(read_text(root / SAVED_SPLITS, "data:"))["splits"]
            if ((root / SAVED_SPLITS).is_file())
            else [""]
        )
        for split in listed:
            state = parse_json(read_text(root / split / SAVED_STATE, "data:"))
            names = [split, *(entry["filename"] for entry in state["_data_files"])]
            if bad := [name for name in names if Path(name).name != name]:
                raise PilotageError(f"data: {str(root)!r} names {bad[0]!r}, which leads out of it")
        with quiet_datasets():
            loaded = datasets.load_from_disk(str(root), keep_in_memory=False)
            splits = dict(loaded) if isinstance(loaded, dict) else {"train": loaded}
            for dataset in splits.values():
                dataset.data.table.validate(full=True)
    except PilotageError:
        raise
    except Exception as error:  # of datasets, pyarrow and what the files hold
        raise PilotageError(f"data: cannot read the saved {str(root)!r}: {brief(error)}") from error
    return splits


def inside(roots: Sequence[str | Path], request: Request) -> Callable[[Row], Row]:
    """What finds images by the paths in tables, relative to the first of some folders.

    Paths that lead out of all of these folders, also through links, are refused unless the request
    allows them.
    """
    real = [os.path.realpath(root) for root in roots]

    def fetch(row: Row) -> Row:
        content, path = bytes_and_path(row)
        if content is not None or path is None:
            return row
        found = os.path.realpath(os.path.join(real[0], path))  # noqa: PTH118 (path may be odd)
        if not request.allow_outside and all(os.path.commonpath([found, x]) != x for x in real):
            raise PilotageError(f"it lies outside of {real[0]!r}; allow_outside reads it")
        return {"bytes": None, "path": found}

    return fetch


_unknown: dict[str, str] = {}  # hub ids that were asked for in vain, and why


def read_hub(source: str) -> dict[str, Dataset]:
    """Load `owner/name`, `name` or `owner/name:config` from the Hugging Face hub.

    Nothing is asked for twice in vain. Without a connection only what is in the cache is loaded.

    Raises:
        PilotageError: The id is unknown, needs a configuration, or the hub cannot be reached.
    """
    import datasets

    name, _, config = source.partition(":")
    if source in _unknown:
        raise PilotageError(_unknown[source])
    try:
        with quiet_datasets(), offline_unless(reachable()):
            loaded = datasets.load_dataset(name, config or None)
    except Exception as error:
        _unknown[source] = (
            f"data: no such folder or file {source!r}, and it cannot be loaded from the Hugging "
            f"Face hub either: {brief(error)}"
        )
        raise PilotageError(_unknown[source]) from error
    return dict(loaded) if isinstance(loaded, dict) else {"train": loaded}


def hub_folders() -> list[str]:
    """Where `datasets` keeps what it has loaded from the hub."""
    import datasets
    from huggingface_hub import constants

    return [
        str(datasets.config.HF_DATASETS_CACHE),
        str(datasets.config.DOWNLOADED_DATASETS_PATH),
        str(constants.HF_HUB_CACHE),
    ]


def reachable() -> bool:
    """Whether the hub, or a proxy that may lead there, can be connected to."""
    from huggingface_hub import constants

    if getproxies():
        return True
    place = urlsplit(constants.ENDPOINT)
    try:
        with socket.create_connection((place.hostname, place.port or 443), timeout=CONNECT_SECONDS):
            return True
    except OSError:
        return False


@contextmanager
def offline_unless(online: bool) -> Iterator[None]:
    """Keep `datasets` and the hub's client from trying for long what cannot be reached."""
    import datasets
    from huggingface_hub import constants

    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    if not online:
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


def brief(error: Exception) -> str:
    """An exception in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextmanager
def quiet_datasets() -> Iterator[None]:
    """Keep the progress bars and the log of `datasets` off the terminal for a while."""
    import datasets

    bars_were_off = datasets.utils.are_progress_bars_disabled()
    verbosity = datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        if not bars_were_off:
            datasets.enable_progress_bars()
