"""Parquet files and Hugging Face hub ids, opened by the `datasets` library."""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pilotage.errors import PilotageError

if TYPE_CHECKING:
    from datasets import Dataset

SPLIT_PREFIX = re.compile(r"train|test|validation|val(?![a-z])")


def parquet_files(path: Path) -> list[Path]:
    """The Parquet file that this is; of a folder, those in it, or else in its `data` folder.

    The latter is the layout of the hub. `metadata.parquet` describes the images of an image folder
    and is no data of its own.
    """
    if path.is_file():
        return [path] if path.suffix.lower() == ".parquet" else []
    for place in (path, path / "data"):
        found = [path for path in sorted(place.glob("*.parquet")) if path.is_file()]
        found = [path for path in found if path.name[0] != "." and path.stem != "metadata"]
        if found:
            return found
    return []


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


def read_hub(source: str) -> dict[str, Dataset]:
    """Load `owner/name`, `name` or `owner/name:config` from the Hugging Face hub.

    Raises:
        PilotageError: The id is unknown, needs a configuration, or the hub cannot be reached.
    """
    import datasets

    name, _, config = source.partition(":")
    try:
        with quiet_datasets():
            loaded = datasets.load_dataset(name, config or None)
    except Exception as error:
        raise PilotageError(
            f"data: no such folder or file {source!r}, and it cannot be loaded from the Hugging "
            f"Face hub either: {brief(error)}"
        ) from error
    return dict(loaded) if isinstance(loaded, dict) else {"train": loaded}


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
