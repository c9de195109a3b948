"""What `load_data` can load: a registry of sources, each with the names that it takes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pilotage.data.captions import LOOKED_FOR
from pilotage.data.folders import is_image, read_label_file, read_shards, read_tree
from pilotage.data.image_data import LabelledData
from pilotage.data.npz_images import load_arrays
from pilotage.data.parquet import (
    by_split,
    files_ending,
    hub_folders,
    inside,
    is_saved,
    parquet_files,
    read_hub,
    read_parquet,
    read_saved,
)
from pilotage.data.points import is_mixture, load_points
from pilotage.data.request import HELD_OUT, Request, Say, check_size
from pilotage.data.shapes import load_shapes
from pilotage.data.splits import load_splits
from pilotage.data.stacked import PREFIX, stack
from pilotage.data.trees import Tree, folder_tree, tar_tree, zip_tree
from pilotage.errors import PilotageError

if TYPE_CHECKING:
    from datasets import Dataset

Sets = tuple[LabelledData, LabelledData]

FILES = "a .parquet, .npz, .zip, .tar, .csv or .jsonl file"
HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?(:[\w.-]+)?")
FILE_SUFFIX = re.compile(r"\.(?!v\d)[A-Za-z]\w{0,6}$")  # a version like name.v1 is none


@dataclass(frozen=True)
class Source:
    """A kind of data, known to `load_data` once it is among `SOURCES`.

    Attributes:
        takes: Whether what the user named is of this kind.
        open: Its training and its held-out set, as they were asked for. `load_splits` makes them of
            `datasets.Dataset`s, `ImageData.from_arrays` of arrays.
    """

    takes: Callable[[str | Path], bool]
    open: Callable[[Request], Sets]


def load_data(
    source: str | Path,
    size: int | Sequence[int] | None = None,
    held_out: float = HELD_OUT,
    seed: int = 0,
    image_column: str | None = None,
    label_column: str | None = None,
    say: Say = print,
    mixed_sizes: bool = True,
    caption_column: str | None = None,
    captions: bool = False,
    skip_bad: bool = False,
    label_from: str | None = None,
    allow_outside: bool = False,
) -> Sets:
    """Load a training and a held-out set of labelled images, with captions if wanted, or of points.

    Args:
        source: One of

            - `"digits"`: scikit-learn's 8x8 digits (`./digits` names a folder of that name);
            - a folder of class folders; a folder with the folders `train` and `test` or
              `validation` (or their common other names), of class folders or of images; a folder of
              images, all of one class. Labels in `metadata.csv`, `metadata.jsonl` or `labels.csv`
              (columns `file_name` and `label`) go before the folders;
            - a `.zip` or `.tar` file of such a folder, or a folder of `.tar` files, with captions
              (`.txt`) and labels (`.cls`) of WebDataset; nothing is extracted;
            - such a table itself (`.csv`, `.jsonl`), for the images that it names;
            - an `.npz` file of images, see `load_arrays`; a folder that `save_to_disk` wrote;
            - `"shapes"`: captioned shapes, see `load_shapes`, with no other settings than size and
              seed;
            - a `.parquet` file, or a folder of them, where `train*.parquet` with `test*.parquet`
              or `validation*.parquet` are splits and any other set of names is training data;
            - a Hugging Face hub id `name`, `owner/name` or `owner/name:config`, if no such path
              exists;
            - `"stacked:SOURCE"`: three random grey images of any of these as the channels of one,
              see `StackedData`; all other settings are those of SOURCE;
            - `"25-gaussians"`: points in the plane around a grid of 5x5 means, see `PointData`.
        size: Height and width in pixels, or one number for a square. None keeps the size that all
            images share, and takes the smallest height and the smallest width of mixed ones.
            Images of another size are resized to cover it and centre-cropped.
        held_out: Fraction of each class to hold out, from 0 up to, but not including, 1. Not used
            where the source has a labelled test or validation split. Of captioned images whose
            classes are all too small, and were not asked for, it is the fraction of all.
        seed: Draws the held-out images.
        image_column: Column of encoded images, found by its type if None.
        label_column: Column of labels, found by its type or name if None. Whole numbers or
            strings; without any, all images are of class "all". Where captions are wanted and no
            column is named, labels that cannot be used count as none.
        say: Receives each one-line note once.
        mixed_sizes: Whether images of several sizes may be brought to one where size is None.
        caption_column: Column of captions in Parquet files, a hub data set or the metadata of an
            image folder, found by its name or type if None. Strings, or lists of strings, of which
            the first counts. Naming one asks for captions.
        captions: Whether captions are wanted. In an image folder they are in `metadata.csv` or
            `metadata.jsonl` (column `file_name`, relative to that file) or in a text file beside
            each image; folders named like splits are then splits even without class folders, and
            images beside folders are taken with those in them, all of one class.
        skip_bad: Whether images that cannot be read are left out, which is said, in place of an
            error that names them. All images are then decoded once more.
        label_from: "filename" to take what stands before the first `_` of a file's name.
        allow_outside: Whether tables may name image files outside of their own folder.

    Returns:
        The training and the held-out set, of the same classes and shape. Grey images have one
        channel, all others three; alpha is dropped, EXIF orientation applied. Classes are those
        that the source's training split has images of. A missing caption is told and becomes the
        empty one.

    Raises:
        PilotageError: A setting is not allowed, the source, a label, a caption or an image is not
            usable, or captions are wanted and no image has one.
    """
    request = Request(
        source=source,
        say=once(say),
        size=check_size(size),
        held_out=held_out,
        seed=seed,
        image_column=image_column,
        label_column=label_column,
        caption_column=caption_column,
        captions=captions or caption_column is not None,
        mixed_sizes=mixed_sizes,
        skip_bad=skip_bad,
        label_from=label_from,
        allow_outside=allow_outside,
    )
    return open_source(request)


def open_source(request: Request) -> Sets:
    """The sets of the first of `SOURCES` that takes what was named.

    Raises:
        PilotageError: There is none.
    """
    named = request.source
    if named == "":
        raise PilotageError("data: source='' is not allowed; name a folder, a file or a hub id")
    if "\0" in str(named) or os.fsencode(named).decode("utf-8", "replace") != str(named):
        raise PilotageError(f"data: source={str(named)!r} is not allowed; its name is not UTF-8")
    for source in SOURCES:
        if source.takes(named):
            return source.open(request)
    if located(named).is_file():
        raise PilotageError(f"data: {str(named)!r} is neither a folder nor {FILES}")
    raise PilotageError(
        f"data: no such folder or file {str(named)!r}; allowed are 'digits', an image folder, "
        f"{FILES} and a Hugging Face hub id such as 'owner/name'"
    )


def absolute(source: str) -> str:
    """A source that means the same from every folder: what is a path becomes an absolute one."""
    if source.startswith(PREFIX):
        return PREFIX + absolute(source.removeprefix(PREFIX))
    named = source in ("", "digits", "shapes") or is_mixture(source)
    return source if named or not located(source).exists() else os.path.abspath(located(source))  # noqa: PTH100 (links stay)


def once(say: Say) -> Say:
    """`say` without repetitions."""
    said: set[str] = set()

    def say_once(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    return say_once


def located(source: str | Path) -> Path:
    """The place that a source is, if it is a path."""
    return Path(os.path.expanduser(source)).absolute()  # noqa: PTH111 - no error for ~nobody


def open_shapes(request: Request) -> Sets:
    """Captioned shapes, see `load_shapes`."""
    request.refuse(
        "whose images, captions, classes and held-out images are drawn",
        held_out=None if request.held_out == HELD_OUT else request.held_out,
        caption_column=request.caption_column,
        image_column=request.image_column,
        label_column=request.label_column,
        label_from=request.label_from,
    )
    return load_shapes(request.size, seed=request.seed)


def open_points(request: Request) -> Sets:
    """Points of a named mixture, see `load_points`."""
    refuse_captions(request)
    request.refuse(
        "which has points instead of images",
        size=request.size,
        image_column=request.image_column,
        label_column=request.label_column,
        label_from=request.label_from,
    )
    return load_points(str(request.source), request.held_out, request.seed, request.say)


def open_stacked(request: Request) -> Sets:
    """Triples of the images of another source, see `stack`."""
    refuse_captions(request)
    planes = open_source(replace(request, source=str(request.source).removeprefix(PREFIX)))
    return stack(*planes, request.seed, request.say)


def refuse_captions(request: Request) -> None:
    """Raise PilotageError if captions are wanted."""
    if request.captions:
        raise PilotageError(f"data: {request.source!r} has no captions; {LOOKED_FOR}")


def open_parquet(request: Request) -> Sets:
    """Images in Parquet files."""
    refuse_file_names(request)
    root = located(request.source)
    files = parquet_files(root)
    roots = [files[0].parent, root if root.is_dir() else root.parent]
    return load_splits(read_parquet(files, request.say), request, inside(roots, request))


def open_folder(request: Request) -> Sets:
    """Images in folders, by class and split."""
    return open_tree(folder_tree(located(request.source)), request)


def open_tree(tree: Tree, request: Request) -> Sets:
    """Images of a folder or an archive."""
    return load_splits(read_tree(tree, request), request, tree.fetch)


def open_zip(request: Request) -> Sets:
    """Images in a zip file, by class and split."""
    return open_tree(zip_tree(located(request.source)), request)


def open_tars(request: Request) -> Sets:
    """Images in tar files, such as those of WebDataset, by their labels, classes or splits."""
    files = files_ending(located(request.source), ".tar")
    tree = tar_tree(files)
    if len(files) == 1:
        return open_tree(tree, request)
    splits = read_shards(tree, by_split(files, request.say), request)
    return load_splits(splits, request, tree.fetch)


def open_label_file(request: Request) -> Sets:
    """Images that a table names."""
    path = located(request.source)
    tree = folder_tree(path.parent)
    splits = read_label_file(tree, f"{tree.root.path}/{path.name}", request)
    return load_splits(splits, request, tree.fetch)


def open_npz(request: Request) -> Sets:
    """Images in arrays, see `load_arrays`."""
    return load_arrays(located(request.source), request)


def open_saved(request: Request) -> Sets:
    """Images in a folder that `save_to_disk` of `datasets` wrote."""
    root = located(request.source)
    refuse_file_names(request)
    return load_splits(read_saved(root), request, inside([root], request))


def refuse_file_names(request: Request) -> None:
    """Raise PilotageError if labels are to be read from file names."""
    request.refuse("whose images need not be files", label_from=request.label_from)


def open_hub(request: Request) -> Sets:
    """Images on the Hugging Face hub."""
    name = str(request.source)
    refuse_file_names(request)
    request.say(f"data: there is no folder {name!r} here; asking the Hugging Face hub for it")
    return load_splits(read_hub(name), request, inside(hub_folders(), request))


def is_hub_id(source: str | Path) -> bool:
    """Whether `source` reads as `name`, `owner/name` or `owner/name:config`, and not as a path."""
    if not isinstance(source, str) or not HUB_ID.fullmatch(source) or located(source).is_file():
        return False
    return not FILE_SUFFIX.search(source.partition(":")[0])


def open_digits(request: Request) -> Sets:
    """Scikit-learn's handwritten digits."""
    refuse_file_names(request)
    return load_splits({"train": digits()}, request)


def digits() -> Dataset:
    """Scikit-learn's 1797 handwritten digits, 8x8 grey, classes "0" to "9".

    The original values v are whole numbers from 0 to 16; the stored uint8 value is
    `(255 v + 8) // 16`, that is 255 v / 16 rounded half up, so 0 stays 0, 16 becomes 255, the
    17 levels stay apart and `round(16 x / 255)` gives v back.
    """
    from datasets import ClassLabel, Dataset, Features, Image
    from sklearn.datasets import load_digits

    found = load_digits()
    images = ((255 * found.images.astype("int64") + 8) // 16).astype("uint8")
    features = Features(image=Image(decode=False), label=ClassLabel(names=list("0123456789")))
    return Dataset.from_dict({"image": list(images), "label": found.target}, features=features)


def is_file_of(*suffixes: str) -> Callable[[str | Path], bool]:
    """Whether a source is a file with one of these suffixes."""
    return lambda source: located(source).suffix.lower() in suffixes and located(source).is_file()


def has_only_tars(source: str | Path) -> bool:
    """Whether a source is a tar file, or a folder with tar files and no images."""
    files = files_ending(located(source), ".tar")
    if not files or located(source).is_file():
        return bool(files)
    return not any(map(is_image, folder_tree(located(source)).root.walk()))


SOURCES: list[Source] = [  # the first that takes a name opens it
    Source(lambda source: source == "digits", open_digits),
    Source(lambda source: source == "shapes", open_shapes),
    Source(is_mixture, open_points),
    Source(lambda source: isinstance(source, str) and source.startswith(PREFIX), open_stacked),
    Source(is_file_of(".npz"), open_npz),
    Source(is_file_of(".zip"), open_zip),
    Source(is_file_of(".csv", ".jsonl"), open_label_file),
    Source(has_only_tars, open_tars),
    Source(lambda source: bool(parquet_files(located(source))), open_parquet),
    Source(lambda source: is_saved(located(source)), open_saved),
    Source(lambda source: located(source).is_dir(), open_folder),
    Source(is_hub_id, open_hub),
]
