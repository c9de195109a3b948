"""Folders of images: class folders, split folders with class folders, or images alone.

The walk is our own and not the `imagefolder` builder of `datasets`: that one takes class folders
named like a split for splits, the nearest folder for the class, and keeps a listing of the folder
in its cache. Here the listing is fresh every time, and image bytes are read from their files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pilotage.data.caption_files import is_visible, match_captions, read_metadata
from pilotage.data.captions import CAPTION_OF_FILE
from pilotage.data.request import Request, Say
from pilotage.errors import PilotageError

if TYPE_CHECKING:
    from datasets import Dataset

Described = Mapping[str, str | None] | None  # captions by image; None where they are not wanted

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


class Listing(NamedTuple):
    """Image files, and of each the class name (or None) and the caption, where these are wanted."""

    paths: list[str]
    labels: list[str | None]
    captions: list[str | None] | None

    @property
    def mixed(self) -> bool:
        """Whether some files have a class and others none."""
        return None in self.labels and any(self.labels)

    def of_class(self, name: str) -> Listing:
        """The same files, all of one class."""
        return self._replace(labels=[name] * len(self.paths))

    def joined(self, other: Listing) -> Listing:
        """These files and others, with captions."""
        captions = [*(self.captions or ()), *(other.captions or ())]
        return Listing(self.paths + other.paths, self.labels + other.labels, captions)


def read_folder(root: Path, request: Request) -> dict[str, Dataset]:
    """Open an image folder; classes are named after the first folder level.

    Args:
        root: A folder of class folders; a folder with nothing but split folders (the keys of
            `SPLIT_NAMES`, in any case), where that for training has class folders; or a folder of
            images.
        request: Whether captions are wanted. Then folders are places before they are classes:
            images beside folders are taken like those in them, and then all are of one class; the
            training folder of split folders may hold images without class folders. Its ``say``
            receives notes on empty class folders and on files that are passed over.

    Returns:
        Split name to a dataset with the columns `image` (path), `label` (class name, None
        where a held-out split has no class folders) and, where wanted, `CAPTION_OF_FILE`.

    Raises:
        PilotageError: No image is found, or a caption cannot be read.
    """
    say = request.say
    described = read_metadata(root, request.caption_column, say) if request.captions else None
    if is_split_layout(root, captioned=request.captions):
        splits = read_splits(root, say, described)
        return {name: as_dataset(listing) for name, listing in splits.items() if listing.paths}
    listing = read_classes(root, say, described)
    if not listing.paths:
        looked_for = " ".join(sorted(SUFFIXES))
        raise PilotageError(f"data: no images in {str(root)!r}; looked for {looked_for}")
    if None in listing.labels:
        listing = listing.of_class(root.name)
        say(f"data: no class folders in {str(root)!r}; all images are of class {root.name!r}")
    return {"train": as_dataset(listing)}


def is_split_layout(root: Path, captioned: bool) -> bool:
    """Whether `root` holds split folders and no other, with class folders inside the training one.

    Captioned images need no class folders there.

    Raises:
        PilotageError: If only some folders are splits and one for training has class folders:
            training on splits as if they were classes is never what is meant.
    """
    folders = subfolders(root)
    training = [folder for folder in folders if split_name(folder) == "train"]
    classes = [inner for folder in training for inner in subfolders(folder)]
    names = [split_name(folder) for folder in folders]
    only_splits = None not in names and len(set(names)) == len(names)
    if not any(list_images(inner)[0] for inner in classes):
        loose = any(list_images(folder, deep=False)[0] for folder in training)
        return captioned and only_splits and loose
    if not only_splits:
        raise PilotageError(
            f"data: {str(training[0])!r} has class folders, but not all folders beside it are "
            f"splits of their own; allowed are {', '.join(SPLIT_NAMES)}, each kind once"
        )
    return True


def split_name(folder: Path) -> str | None:
    """The split that a folder's name stands for."""
    return SPLIT_NAMES.get(folder.name.lower())


def read_splits(root: Path, say: Say, described: Described) -> dict[str, Listing]:
    """The images of the split folders in `root`, by split.

    All are of one class where the training images, or only some of a split, are without a class.
    """
    folders = subfolders(root)
    splits = {
        SPLIT_NAMES[folder.name.lower()]: read_classes(folder, say, described) for folder in folders
    }
    if described is not None:
        splits["train"] = splits["train"].joined(read_beside(root, say, described))
    if None in splits["train"].labels or any(listing.mixed for listing in splits.values()):
        return {name: listing.of_class(root.name) for name, listing in splits.items()}
    return splits


def read_beside(root: Path, say: Say, described: Mapping[str, str | None]) -> Listing:
    """The images directly in `root`, beside its split folders, that have a caption."""
    paths, others = list_images(root, deep=False)
    captions, _ = match_captions(paths, others, described)
    found = [pair for pair in zip(paths, captions, strict=True) if pair[1] is not None]
    beside = f"beside the split folders of {str(root)!r}"
    if found:
        say(f"data: {len(found)} images {beside} are taken for training")
    if len(found) < len(paths):
        say(f"data: {len(paths) - len(found)} images without a caption {beside} are passed over")
    return Listing([path for path, _ in found], [None] * len(found), [text for _, text in found])


def read_classes(root: Path, say: Say, described: Described) -> Listing:
    """The images in the class folders of `root`.

    Without a class folder that has images, the images directly in `root`, labelled None; where
    captions are wanted these come along in any case. Captions are those of `described`, by path,
    or of text files; with None for it, they are not wanted.
    """
    paths: list[str] = []
    labels: list[str | None] = []
    others: list[str] = []
    for folder in subfolders(root):
        found, passed = list_images(folder)
        if not found:
            say(f"data: class folder {str(folder)!r} has no images and is passed over")
        paths += found
        labels += [folder.name] * len(found)
        others += passed
    loose, passed = list_images(root, deep=False)
    others += passed
    if paths and loose:
        say_loose(len(loose), root, say, taken=described is not None)
    if not paths or described is not None:
        paths, labels = loose + paths, [*[None] * len(loose), *labels]
    captions = None
    if described is not None:
        captions, others = match_captions(paths, others, described)
    say_passed_over(others, root, say)
    return Listing(paths, labels, captions)


def say_loose(count: int, root: Path, say: Say, taken: bool) -> None:
    """One note on the images directly in `root` where its folders have images too."""
    if taken:
        say(f"data: {count} images lie beside the folders of {str(root)!r}: these are no classes")
    else:
        say(f"data: {count} images beside the class folders of {str(root)!r} are passed over")


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
    images: list[str] = []
    others: list[str] = []
    for here, below, files in os.walk(folder):
        below[:] = sorted(filter(is_visible, below)) if deep else []
        for name in sorted(filter(is_visible, files)):
            kind = images if Path(name).suffix.lower() in SUFFIXES else others
            kind.append(str(Path(here, name)))
    return images, others


def as_dataset(listing: Listing) -> Dataset:
    """A dataset in memory that refers to its image files by path."""
    from datasets import Dataset, Features, Image, Value

    features = Features(image=Image(decode=False), label=Value("string"))
    images = [{"path": path, "bytes": None} for path in listing.paths]
    columns = {"image": images, "label": listing.labels}
    if listing.captions is not None:
        features[CAPTION_OF_FILE] = Value("string")
        columns[CAPTION_OF_FILE] = listing.captions
    return Dataset.from_dict(columns, features=features)
