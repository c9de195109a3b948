"""From what the user names to splits: `{"train": Dataset, "test": Dataset, ...}`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pilotage.data import folders
from pilotage.data import parquet as tables
from pilotage.data.captions import CaptionRequest
from pilotage.errors import PilotageError

if TYPE_CHECKING:
    from datasets import Dataset

HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?(:[\w.-]+)?")
FILE_SUFFIX = re.compile(r"\.(?!v\d)[A-Za-z]\w{0,6}$")  # a version like name.v1 is none


def open_source(
    source: str | Path, say: Callable[[str], None], captions: CaptionRequest | None = None
) -> dict[str, Dataset]:
    """Find out what `source` is and open it, images still encoded.

    Args:
        source: `"digits"`, a folder, a `.parquet` file or a hub id; see `load_data`.
        say: Receives one-line notes.
        captions: If given, an image folder's captions become a column `CAPTION_OF_FILE`.

    Returns:
        Split name to `datasets.Dataset`. Every column is as the source has it.

    Raises:
        PilotageError: There is no such source, or it cannot be read.
    """
    if source == "digits":
        return {"train": digits()}
    if source == "":
        raise PilotageError("data: source='' is not allowed; name a folder, a file or a hub id")
    path = Path(os.path.expanduser(source)).absolute()  # noqa: PTH111 - no error for ~nobody
    if path.is_dir():
        files = tables.parquet_files(path)
        if files:
            return tables.read_parquet(files, say)
        return folders.read_folder(path, say, captions)
    if path.is_file():
        if path.suffix.lower() != ".parquet":
            raise PilotageError(f"data: {str(source)!r} is neither a folder nor a .parquet file")
        return tables.read_parquet([path], say)
    if isinstance(source, str) and is_hub_id(source):
        say(f"data: there is no folder {source!r} here; asking the Hugging Face hub for it")
        return tables.read_hub(source)
    raise PilotageError(
        f"data: no such folder or file {str(source)!r}; allowed are 'digits', an image folder, "
        "a .parquet file and a Hugging Face hub id such as 'owner/name'"
    )


def is_hub_id(source: str) -> bool:
    """Whether `source` reads as `name`, `owner/name` or `owner/name:config`, and not as a path."""
    name = source.partition(":")[0]
    return bool(HUB_ID.fullmatch(source)) and not FILE_SUFFIX.search(name)


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
