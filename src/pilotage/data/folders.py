"""Trees of images: class folders, split folders with or without class folders, or images alone.

The walk is our own and not the `imagefolder` builder of `datasets`: that one takes class folders
named like a split for splits, the nearest folder for the class, and keeps a listing of the folder
in its cache. Here the listing is fresh every time, and image bytes are read from their files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pilotage.data.caption_files import (
    CAPTION_SUFFIX,
    LABEL_SUFFIX,
    caption_in,
    fill_from_beside,
    label_in,
)
from pilotage.data.captions import CAPTION_OF_FILE
from pilotage.data.metadata import (
    LABEL_TABLES,
    METADATA,
    Label,
    as_numbers,
    captions_of,
    check_column,
    image_table,
    label_columns,
    labels_of,
    read_captions,
    read_label_tables,
    read_rows_of,
)
from pilotage.data.request import FILE_NAME, Request
from pilotage.data.trees import Folder, Tree
from pilotage.errors import PilotageError

if TYPE_CHECKING:
    from datasets import Dataset

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
    "dev": "validation",
    "eval": "validation",
}
# as in train2017, test_set, val-images
SPLIT = re.compile(r"([a-z]+?)([-_ ]?(set|data|images?|imgs?|split|\d+))*")
NAMED_AT_MOST = 5


class Listing(NamedTuple):
    """Image files, and of each the label (or None) and the caption, where these are wanted."""

    paths: list[str]
    labels: list[Any]
    captions: list[str | None] | None

    @property
    def mixed(self) -> bool:
        """Whether some files have a class and others none."""
        return None in self.labels and any(label is not None for label in self.labels)

    def of_class(self, name: str) -> Listing:
        """The same files, all of one class."""
        return self._replace(labels=[name] * len(self.paths))

    def joined(self, other: Listing) -> Listing:
        """These files and others."""
        captions = None
        if self.captions is not None and other.captions is not None:
            captions = self.captions + other.captions
        return Listing(self.paths + other.paths, self.labels + other.labels, captions)

    def where(self, kept: list[bool]) -> Listing:
        """Some of the files."""
        rows = [row for row, keep in enumerate(kept) if keep]
        captions = None if self.captions is None else [self.captions[row] for row in rows]
        return Listing([self.paths[k] for k in rows], [self.labels[k] for k in rows], captions)


class Given(NamedTuple):
    """What is said of the images besides their folders.

    Attributes:
        tree: Where they are.
        request: What is wanted.
        captions: By image, from tables; None where captions are not wanted.
        labels: By image, from tables, text files or file names; None where folders are classes.
    """

    tree: Tree
    request: Request
    captions: Mapping[str, str | None] | None
    labels: Mapping[str, Label | None] | None

    @property
    def places(self) -> bool:
        """Whether folders are places before they are classes."""
        return self.captions is not None or self.labels is not None

    def describe(self, paths: list[str], labels: list[Any], others: list[str]) -> Listing:
        """Images with their captions and labels; one note on the other files."""
        captions: list[str | None] | None = None
        if self.captions is not None:
            captions = [self.captions.get(os.path.normpath(path)) for path in paths]
            read = caption_in(self.tree)
            captions, others = fill_from_beside(paths, others, captions, CAPTION_SUFFIX, read)
        if self.labels is not None:
            labels = [self.labels.get(os.path.normpath(path)) for path in paths]
            others = [path for path in others if Path(path).suffix.lower() != LABEL_SUFFIX]
        tables = LABEL_TABLES if self.captions is None else METADATA
        if self.places:
            others = [path for path in others if Path(path).name not in tables]
        if others:
            self.request.say(
                f"data: files in {self.tree.root.path!r} that are not images are passed over, e.g. "
                f"{Path(others[0]).name!r}"
            )
        return Listing(paths, labels, captions)


def read_tree(tree: Tree, request: Request) -> dict[str, Dataset]:
    """Open a tree of images; classes are named after the first folder level.

    Args:
        tree: Its root has class folders; or nothing but split folders (the keys of `SPLIT_NAMES`,
            in any case), with class folders in them or images; or images. The root may also lie in
            one other folder.
        request: What is wanted. Labels in tables, in text files of WebDataset or in file names go
            before folders. With these or with captions, folders are places before they are
            classes: images beside folders are taken like those in them. Its ``say`` receives notes
            on empty class folders and on files that are passed over.

    Returns:
        Split name to a dataset with the columns `image` (path), `label` (name or number, None
        where a held-out split has none) and, where wanted, `CAPTION_OF_FILE`.

    Raises:
        PilotageError: No image is found, or a label or a caption cannot be read, or folders named
            like splits are none.
    """
    captions = read_captions(tree, request) if request.captions else None
    given = Given(tree, request, captions, read_labels(tree, request))
    name, root = tree.root.name, inner_root(tree.root, request)
    if is_split_layout(root):
        splits = read_splits(root, name, given)
    else:
        splits = {"train": read_classes(root, given)}
    if given.labels is not None:
        training = "train" if "train" in splits else next(iter(splits))
        splits[training] = labelled(splits[training], request)
    splits = {split: listing for split, listing in splits.items() if listing.paths}
    if not splits:
        looked_for = " ".join(sorted(SUFFIXES))
        raise PilotageError(f"data: no images in {tree.root.path!r}; looked for {looked_for}")
    if len(splits) == 1 and any(None in listing.labels for listing in splits.values()):
        splits = {split: listing.of_class(name) for split, listing in splits.items()}
        request.say(f"data: no class folders in {root.path!r}; all images are of class {name!r}")
    return {split: as_dataset(listing, given) for split, listing in splits.items()}


def read_shards(
    tree: Tree, shards: Mapping[str, Sequence[Path]], request: Request
) -> dict[str, Dataset]:
    """Open several tar files in one tree, by split: their folders and names are no classes.

    Raises:
        PilotageError: No image is found, or a label or a caption cannot be read.
    """
    captions = read_captions(tree, request) if request.captions else None
    given = Given(tree, request, captions, read_labels(tree, request))
    splits = {}
    for split, files in shards.items():
        found = [path for file in files for path in tree.root.folders[file.name].walk()]
        paths = [path for path in found if is_image(path)]
        others = [path for path in found if not is_image(path)]
        listing = given.describe(paths, [None] * len(paths), others)
        if given.labels is None:
            listing = listing.of_class(tree.root.name)
        splits[split] = labelled(listing, request) if split == "train" else listing
    return {split: as_dataset(listing, given) for split, listing in splits.items()}


def read_labels(tree: Tree, request: Request) -> dict[str, Label | None] | None:
    """Labels by the path of the image, from file names, tables or text files; None without any."""
    paths = [path for path in tree.root.walk() if is_image(path)]
    if request.label_from == FILE_NAME:
        return labels_of_names(paths)
    if request.captions and request.label_column is None:
        return None
    if labels := read_label_tables(tree, request):
        return labels
    others = [path for path in tree.root.walk() if Path(path).suffix.lower() == LABEL_SUFFIX]
    if not others:
        return None
    found, _ = fill_from_beside(paths, others, [None] * len(paths), LABEL_SUFFIX, label_in(tree))
    request.say(f"data: labels are read from {LABEL_SUFFIX} files")
    pairs = zip(map(os.path.normpath, paths), found, strict=True)
    return as_numbers({path: label or None for path, label in pairs})


def labels_of_names(paths: list[str]) -> dict[str, Label | None]:
    """What stands before the first `_` of the names of files.

    Raises:
        PilotageError: Files have nothing there, the first of which are named.
    """
    found = {os.path.normpath(path): Path(path).name.partition("_") for path in paths}
    if bad := [path for path, (label, line, _) in found.items() if not (label.strip() and line)]:
        names = ", ".join(map(repr, bad[:NAMED_AT_MOST]))
        raise PilotageError(
            f"data: label_from='filename' takes what stands before the first '_' of a file's name; "
            f"{len(bad)} of {len(paths)} files have nothing there: {names}"
        )
    return as_numbers({path: label for path, (label, _, _) in found.items()})


def labelled(listing: Listing, request: Request) -> Listing:
    """The training images that have a label; the others are left out, which is said."""
    kept = [label is not None for label in listing.labels]
    if not any(kept):
        raise PilotageError(f"data: {str(request.source)!r} has no training image with a label")
    if left := [path for path, keep in zip(listing.paths, kept, strict=True) if not keep]:
        request.say(
            f"data: {len(left)} of {len(kept)} training images have no label and are left out, "
            f"e.g. {left[0]!r}"
        )
    return listing.where(kept)


def read_label_file(tree: Tree, file: str, request: Request) -> dict[str, Dataset]:
    """Open the images that a table in a tree names, with its labels and, where wanted, captions.

    Raises:
        PilotageError: It cannot be read, has no such columns, or names a file that is not there or
            not allowed.
    """
    known = {os.path.normpath(path) for path in tree.root.walk()}
    table = image_table(tree, file, read_rows_of(tree, file), known, request)
    check_column("label_column=", request.label_column, file, table.columns)
    captions = None
    if request.captions:
        captions = dict(captions_of(table, request.caption_column, request.say))
    wanted = not request.captions or label_columns(table.columns, request)
    labels = as_numbers(labels_of(table, request, {})) if wanted else {}
    given = Given(tree, request, captions, labels or None)
    listing = given.describe(list(dict.fromkeys(table.images)), [], [])
    listing = labelled(listing, request) if labels else listing.of_class(tree.root.name)
    return {"train": as_dataset(listing, given)}


def inner_root(root: Folder, request: Request) -> Folder:
    """The one folder with images, if it has split folders; else the root itself.

    Raises:
        PilotageError: Several folders have split folders in them.
    """
    folders = subfolders(root)
    nested = [folder for folder in folders if has_splits(folder)]
    if len(folders) == 1 and nested:
        request.say(f"data: the split folders are those in {nested[0].path!r}")
        return inner_root(nested[0], request)
    if nested and None in map(split_name, folders):
        raise PilotageError(
            f"data: {nested[0].path!r} has folders for training and for testing, and there are "
            f"others beside it; name the one folder that has them"
        )
    return root


def has_splits(folder: Folder) -> bool:
    """Whether a folder has one folder for training, another held out, or leads to such."""
    kinds = set(map(split_name, subfolders(folder))) - {None}
    inner = subfolders(folder)
    return ("train" in kinds and len(kinds) > 1) or (len(inner) == 1 and has_splits(inner[0]))


def is_split_layout(root: Folder) -> bool:
    """Whether the folders of `root` that have images are splits.

    Raises:
        PilotageError: If only some folders are splits and one for training has class folders or
            another is held out: to train on splits as if they were classes is never what is meant.
    """
    folders = subfolders(root)
    kinds = [split_name(folder) for folder in folders]
    splits = [kind for kind in kinds if kind is not None]
    if not splits or (len(splits) == len(kinds) == len(set(splits))):
        return bool(splits)
    training = [folder for folder in folders if split_name(folder) == "train"]
    nested = any(subfolders(folder) for folder in training)
    if training and (nested or len(set(splits)) > 1):
        what = "class folders" if nested else "images"
        raise PilotageError(
            f"data: {training[0].path!r} has {what}, but not all folders beside it are "
            f"splits of their own; allowed are {', '.join(SPLIT_NAMES)}, each kind once"
        )
    return False


def split_name(folder: Folder) -> str | None:
    """The split that a folder's name stands for."""
    name = SPLIT.fullmatch(folder.name.lower())
    return SPLIT_NAMES.get(name[1]) if name else None


def read_splits(root: Folder, name: str, given: Given) -> dict[str, Listing]:
    """The images of the split folders in `root`, by split.

    All are of class `name` where the training images, or only some of a split, have no class.
    """
    splits = {str(split_name(folder)): read_classes(folder, given) for folder in subfolders(root)}
    if given.places and "train" in splits:
        splits["train"] = splits["train"].joined(read_beside(root, given))
    if given.labels is not None:
        return splits
    train = splits.get("train")
    unlabelled = train is not None and None in train.labels
    if unlabelled or any(listing.mixed for listing in splits.values()):
        return {split: listing.of_class(name) for split, listing in splits.items()}
    return splits


def read_beside(root: Folder, given: Given) -> Listing:
    """The images directly in `root`, beside its split folders, that have a caption or a label."""
    paths, others = images_of(root, deep=False)
    say = given.request.say
    silent = given._replace(request=replace(given.request, say=lambda _: None))
    listing = silent.describe(paths, [None] * len(paths), others)
    said = listing.labels if listing.captions is None else listing.captions
    kept = [value is not None for value in said]
    beside = f"beside the split folders of {root.path!r}"
    what = "label" if listing.captions is None else "caption"
    if any(kept):
        say(f"data: {sum(kept)} images {beside} are taken for training")
    if not all(kept):
        left = len(kept) - sum(kept)
        say(f"data: {left} images without a {what} {beside} are passed over")
    return listing.where(kept)


def read_classes(root: Folder, given: Given) -> Listing:
    """The images in the class folders of `root`.

    Without a class folder that has images, the images directly in `root`, labelled None; where
    folders are places these come along in any case.
    """
    paths: list[str] = []
    labels: list[Any] = []
    others: list[str] = []
    say = given.request.say
    for folder in root.folders.values():
        found, passed = images_of(folder)
        if not found:
            say(f"data: class folder {folder.path!r} has no images and is passed over")
        paths += found
        labels += [folder.name] * len(found)
        others += passed
    loose, passed = images_of(root, deep=False)
    others += passed
    if paths and loose and given.labels is None:
        taken = given.places
        where = f"{len(loose)} images lie beside the folders of {root.path!r}: these are no classes"
        beside = f"{len(loose)} images beside the class folders of {root.path!r} are passed over"
        say(f"data: {where if taken else beside}")
    if not paths or given.places:
        paths, labels = loose + paths, [*[None] * len(loose), *labels]
    return given.describe(paths, labels, others)


def subfolders(root: Folder) -> list[Folder]:
    """The folders directly in `root` that have images, by name."""
    return [folder for folder in root.folders.values() if any(map(is_image, folder.walk()))]


def is_image(path: str) -> bool:
    """Whether a file's name says that it is an image."""
    return Path(path).suffix.lower() in SUFFIXES


def images_of(folder: Folder, deep: bool = True) -> tuple[list[str], list[str]]:
    """The files in `folder`, and below it if `deep`: images and others, each in name order."""
    images: list[str] = []
    others: list[str] = []
    for path in folder.walk() if deep else folder.own():
        (images if is_image(path) else others).append(path)
    return images, others


def as_dataset(listing: Listing, given: Given) -> Dataset:
    """A dataset in memory that refers to its image files by path."""
    from datasets import Dataset, Features, Image, Value

    whole = any(isinstance(label, int) for label in listing.labels)
    asked = given.request.label_column
    label = asked if asked is not None and given.labels is not None else "label"
    features = Features(image=Image(decode=False))
    features[label] = Value("int64" if whole else "string")
    images = [{"path": path, "bytes": None} for path in listing.paths]
    columns = {"image": images, label: listing.labels}
    if listing.captions is not None:
        features[CAPTION_OF_FILE] = Value("string")
        columns[CAPTION_OF_FILE] = listing.captions
    return Dataset.from_dict(columns, features=features)
