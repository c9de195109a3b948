"""Folders of images: class folders, split folders with class folders, or images alone.

The walk is our own and not the `imagefolder` builder of `datasets`: that one takes class folders
named like a split for splits, the nearest folder for the class, and keeps a listing of the folder
in its cache. Here the listing is fresh every time, and image bytes are read from their files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pilotage.errors import PilotageError

if TYPE_CHECKING:
    from datasets import Dataset

Say = Callable[[str], None]

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp"}
    | {".avif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".pcx"}
)
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
}


def read_folder(root: Path, say: Say) -> dict[str, Dataset]:
    """Open an image folder; classes are named after the first folder level.

    Args:
        root: A folder of class folders; a folder with nothing but split folders (the keys of
            `SPLIT_NAMES`, in any case), where that for training has class folders; or a folder of
            images.
        say: Receives notes on empty class folders and on files that are passed over.

    Returns:
        Split name to a dataset with the columns `image` (path) and `label` (class name, None
        where a held-out split has no class folders).

    Raises:
        PilotageError: No image is found.
    """
    if is_split_layout(root):
        splits = {split_name(folder): read_classes(folder, say) for folder in subfolders(root)}
        return {name: as_dataset(*found) for name, found in splits.items() if found[0]}
    paths, labels = read_classes(root, say)
    if not paths:
        looked_for = " ".join(sorted(SUFFIXES))
        raise PilotageError(f"data: no images in {str(root)!r}; looked for {looked_for}")
    if labels[0] is None:
        labels = [root.name] * len(paths)
        say(f"data: no class folders in {str(root)!r}; all images are of class {root.name!r}")
    return {"train": as_dataset(paths, labels)}


def is_split_layout(root: Path) -> bool:
    """Whether `root` holds split folders and no other, with class folders inside the training one.

    Raises:
        PilotageError: If only some folders are splits and one for training has class folders:
            training on splits as if they were classes is never what is meant.
    """
    folders = subfolders(root)
    training = [folder for folder in folders if split_name(folder) == "train"]
    classes = [inner for folder in training for inner in subfolders(folder)]
    if not any(list_images(inner)[0] for inner in classes):
        return False
    names = [split_name(folder) for folder in folders]
    if None in names or len(set(names)) < len(names):
        raise PilotageError(
            f"data: {str(training[0])!r} has class folders, but not all folders beside it are "
            f"splits of their own; allowed are {', '.join(SPLIT_NAMES)}, each kind once"
        )
    return True


def split_name(folder: Path) -> str | None:
    """The split that a folder's name stands for."""
    return SPLIT_NAMES.get(folder.name.lower())


def read_classes(root: Path, say: Say) -> tuple[list[str], Sequence[str | None]]:
    """Paths and class names of the images in the class folders of `root`.

    Without a class folder that has images, the images directly in `root`, labelled None.
    """
    paths: list[str] = []
    labels: list[str] = []
    others: list[str] = []
    for folder in subfolders(root):
        found, passed = list_images(folder)
        if not found:
            say(f"data: class folder {str(folder)!r} has no images and is passed over")
        paths += found
        labels += [folder.name] * len(found)
        others += passed
    loose, passed = list_images(root, deep=False)
    say_passed_over(others + passed, root, say)
    if not paths:
        return loose, [None] * len(loose)
    if loose:
        say(f"data: {len(loose)} images beside the class folders of {str(root)!r} are passed over")
    return paths, labels


def say_passed_over(files: list[str], root: Path, say: Say) -> None:
    """One note on the files that are not images."""
    if files:
        example = Path(files[0]).name
        say(f"data: files in {str(root)!r} that are not images are passed over, e.g. {example!r}")


def subfolders(root: Path) -> list[Path]:
    """The visible folders directly in `root`, by name."""
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and is_visible(entry.name))


def list_images(folder: Path, deep: bool = True) -> tuple[list[str], list[str]]:
    """Visible files in `folder`, and below it if `deep`: images and others, each in name order."""
    images, others = [], []
    for here, below, files in os.walk(folder):
        below[:] = sorted(filter(is_visible, below)) if deep else []
        for name in sorted(filter(is_visible, files)):
            kind = images if Path(name).suffix.lower() in SUFFIXES else others
            kind.append(str(Path(here, name)))
    return images, others


def is_visible(name: str) -> bool:
    """Whether a file or folder name does not start with a dot."""
    return not name.startswith(".")


def as_dataset(paths: list[str], labels: Sequence[str | None]) -> Dataset:
    """A dataset in memory that refers to its image files by path."""
    from datasets import Dataset, Features, Image, Value

    features = Features(image=Image(decode=False), label=Value("string"))
    images = [{"path": path, "bytes": None} for path in paths]
    return Dataset.from_dict({"image": images, "label": list(labels)}, features=features)
