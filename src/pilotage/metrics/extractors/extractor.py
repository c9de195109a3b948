"""What every extractor gives, and how its content hash and its cache folder come about."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from pilotage.data.image_data import LabelledData
from pilotage.errors import PilotageError
from pilotage.metrics.features import Array, Features, Sample, join
from pilotage.utils.distributed import process_state
from pilotage.utils.files import usable_folder, usual_folder, whole_file
from pilotage.utils.npz import read_npz

BATCH = 256


class Extractor(ABC):
    """Images to features.

    Attributes:
        name: which one it is; only with "inception-2015" may a distance be called plain FID.
        hash: SHA-256 (hex) of weights and preprocessing: numbers compare only under the same one.
        resize: the filter that brings images to the network's size, or "none".
        dimensions: D of the pooled features.
        accuracy: on held-out images; None where unknown.
    """

    name: str
    hash: str
    resize: str = "none"
    dimensions: int
    accuracy: float | None = None

    @abstractmethod
    def __call__(self, images: UInt8[Tensor, "B C H W"]) -> Features:
        """Features of uint8 images (B, C, H, W); an image's do not depend on the others."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hash[:12]}, accuracy={self.accuracy})"

    def sample(self, images: UInt8[Tensor, "B C H W"]) -> Sample:
        """What metrics compare of one batch of images, which can then be forgotten."""
        clipped = ((images == 0) | (images == 255)).float().mean(dim=(1, 2, 3)).cpu().numpy()
        return Sample(self(images), clipped)

    def real_sample(self, data: LabelledData) -> Sample:
        """What metrics compare of a whole data set, kept on disk for the next time."""
        path = usual_folder("features") / f"{self.hash[:32]}-{data.fingerprint[:32]}.npz"
        arrays = _stored(path, (len(data), self.dimensions))
        if arrays is None:
            found = join(self.sample(data.batch(rows)) for rows in batches(len(data)))
            made = {k: v for k, v in found.features._asdict().items() if v is not None}
            arrays = {"clipped": found.clipped, **made}
            with whole_file(path) as temporary, temporary.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type] # no array is allow_pickle
        features = Features(arrays["pooled"], arrays.get("spatial"), arrays.get("logits"))
        return Sample(features, arrays["clipped"], data.labels)

    def chance(self, classes: int) -> float:
        """The accuracy of guessing, on data of this many classes."""
        return 1 / classes

    def manifest(self) -> dict[str, object]:
        """Which extractor it is, for the rows of what it measured."""
        return {
            "name": self.name,
            "hash": self.hash,
            "dimensions": self.dimensions,
            "resize": self.resize,
            "accuracy": self.accuracy,
        }


def _stored(path: Path, shape: tuple[int, int]) -> dict[str, Array] | None:
    """Features of that shape that were kept, or None where there are none, or a damaged file."""
    if not path.exists():
        return None
    try:
        arrays = read_npz(path, "cache")
    except PilotageError as error:
        warnings.warn(f"{error} It is made anew.", stacklevel=2)
        return None
    whole = {"pooled", "clipped"} <= arrays.keys() and arrays["pooled"].shape == shape
    return arrays if whole and all(len(x) == shape[0] for x in arrays.values()) else None


def batches(count: int) -> Iterator[NDArray[np.int64]]:
    """Row numbers from 0 to count − 1, at most `BATCH` at a time."""
    return (np.arange(k, min(k + BATCH, count)) for k in range(0, count, BATCH))


def cache_folder(cache: str | Path | None = None) -> Path:
    """The folder of cached extractors, there from now on; None: the usual one.

    Raises:
        PilotageError: if it cannot be made.
    """
    return usable_folder(cache) if cache is not None else usual_folder("extractors")


def pick_device(device: torch.device | str | None) -> torch.device:
    """A device given, or this process's own."""
    return process_state().device if device is None else torch.device(device)


def check_images(images: Tensor, channels: tuple[int, ...] | None = None) -> None:
    """Raise PilotageError unless ``images`` is uint8 (B, C, H, W) with one of these C."""
    what = f"{images.dtype} {tuple(images.shape)}"
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise PilotageError(f"images of {what} are not allowed; give torch.uint8 (B, C, H, W).")
    if channels is not None and images.shape[1] not in channels:
        allowed = " or ".join(map(str, channels))
        raise PilotageError(
            f"images of {what} are not allowed; this extractor takes C = {allowed}."
        )


def three_channels(images: Tensor) -> Tensor:
    """Grey images (B, 1, H, W) as three equal channels; colour stays."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def to_array(features: Tensor) -> Array:
    """float32, on the CPU, (N, ...) to (N, D)."""
    return features.detach().flatten(1).float().cpu().numpy()


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Full float32 on GPUs, where TF32 is the default, and the same algorithm each time."""
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait until no other process is inside with the same lock file.

    Raises:
        PilotageError: if the file cannot be written, and so no other in its folder.
    """
    try:
        file = path.open("w")
    except OSError as error:
        raise PilotageError(
            f"cache={str(path.parent)!r} is not allowed ({error}); give a folder that can be "
            "written."
        ) from None
    with file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        except (ImportError, OSError) as error:  # not on every system, nor every file system
            warnings.warn(f"{path} cannot be locked ({error}).", stacklevel=2)
        yield
