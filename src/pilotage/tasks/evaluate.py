"""``pilotage evaluate``: metrics of images of any origin."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from pilotage.data import LabelledData, load_data, options_of
from pilotage.data.points import PointData
from pilotage.errors import PilotageError
from pilotage.metrics import Measured, compare, gaussian_modes, join
from pilotage.metrics.features import Array, PerSample
from pilotage.settings import EvaluateSettings
from pilotage.sweep.evaluator import make_evaluator
from pilotage.sweep.per_sample import attribute_scores, judged_by_pixels
from pilotage.sweep.rows import new_row
from pilotage.sweep.table import Row, append_row, read_rows
from pilotage.utils.files import check_writable
from pilotage.utils.images import shape_text
from pilotage.utils.npz import read_npz

BATCH = 256


def evaluate(settings: EvaluateSettings, say: Callable[[str], None] = print) -> Row:
    """Measure images against the training images of a data set; return, perhaps write, the row.

    Raises:
        PilotageError: for bad input, before anything is measured.
    """
    if settings.out is not None:
        read_rows(settings.out)  # is it a table of ours, or not there?
        check_writable(settings.out.parent)
    train, held_out = load_data(settings.data, say=say, **options_of(settings))
    if isinstance(train, PointData) and isinstance(held_out, PointData):
        return _evaluate_points(settings, train, held_out)
    found = _images(settings, held_out)
    name, images = found.name, found.images
    if images.shape[1:] != train.shape:
        raise PilotageError(
            f"images is {name}: they are {shape_text(images.shape[1:])}, and must be "
            f"{shape_text(train.shape)} as the data."
        )
    evaluator = make_evaluator(settings.extractor, settings.data, train, held_out, say)
    sample = join(map(evaluator.extractor.sample, torch.split(images, BATCH)))
    sample = sample._replace(labels=found.labels, per_sample=_scores(found))
    metrics = compare(evaluator.real, sample, force=settings.force)
    return _row(settings, name, len(images), metrics, evaluator.manifest)


def _row(
    settings: EvaluateSettings,
    name: str,
    count: int,
    metrics: dict[str, Measured],
    manifest: Row,
) -> Row:
    """Make the row of images or points, and write it to ``out`` if given."""
    kind = "real" if settings.images == "real" else "images"
    row = new_row({"kind": kind, "images": name, "n": count, **manifest}, name, metrics)
    if settings.out is not None:
        append_row(settings.out, row)
    return row


def _evaluate_points(settings: EvaluateSettings, train: PointData, held_out: PointData) -> Row:
    """Measure modes hit, share of points near one, and KL over modes, of points (N, D)."""
    name = settings.images
    if name == "real":
        points = held_out.batch(np.arange(len(held_out))).numpy()
    else:
        points = _read_npz(Path(name), "points", np.float32, 2)[0]
    found = gaussian_modes(points, train.modes.means, train.modes.std)
    share = found.within * (1 - found.within) / max(1, len(points) - 1)
    metrics: dict[str, Measured] = {
        "modes": Measured(found.hit),
        "within_3_std": Measured(found.within, share**0.5),
        "modes_kl": Measured(found.kl),
    }
    manifest = {"reference": {"data": settings.data, "hash": train.fingerprint}}
    return _row(settings, name, len(points), metrics, manifest)


class GivenImages(NamedTuple):
    """Images to measure, uint8 (N, C, H, W), with labels and captions if known."""

    name: str
    images: torch.Tensor
    labels: Array | None = None
    captions: Sequence[str] | None = None


def _scores(given: GivenImages) -> PerSample | None:
    """Score images against captions of shapes; None for other captions."""
    captions = given.captions
    if captions is None or not judged_by_pixels(captions, given.images.shape[1:]):
        return None
    if len(captions) != len(given.images):
        raise PilotageError(
            f"images is {given.name}: it has {len(captions)} captions for {len(given.images)} "
            "images, and must have one each."
        )
    return attribute_scores(given.images, captions)


def _images(settings: EvaluateSettings, held_out: LabelledData) -> GivenImages:
    """Read the images of the command."""
    if settings.images == "real":
        if not len(held_out):
            raise PilotageError("images is 'real': the data must have held-out images.")
        images = held_out.batch(np.arange(len(held_out)))
        return GivenImages("real", images, held_out.labels, held_out.captions)
    path = Path(settings.images)
    if path.suffix == ".npz":
        pixels, arrays = _read_npz(path, "images", np.uint8, 4)
        captions = arrays["captions"].astype(str).tolist() if "captions" in arrays else None
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        return GivenImages(str(path), images, arrays.get("labels"), captions)
    folder, _ = load_data(
        path, held_out=0, say=lambda _: None, mixed_sizes=False, **options_of(settings)
    )
    return GivenImages(str(path), folder.batch(np.arange(len(folder))))


def _read_npz(
    path: Path, name: str, dtype: type, dimensions: int
) -> tuple[Array, dict[str, Array]]:
    """Read an array of that name (or "arr_0"), and all arrays.

    Raises:
        PilotageError: if it is missing, or of another type or shape.
    """
    arrays = read_npz(path, "images")
    found = arrays.get(name, arrays.get("arr_0"))
    if found is None or found.dtype != dtype or found.ndim != dimensions:
        shape = "(N, H, W, C)" if dimensions == 4 else "(N, D)"
        raise PilotageError(
            f"images is {path}: it must have an array {name!r} (or 'arr_0') of "
            f"{np.dtype(dtype).name} {shape}."
        )
    labels = arrays.get("labels")
    if labels is not None and (labels.dtype.kind not in "iu" or labels.shape != found.shape[:1]):
        raise PilotageError(
            f"images is {path}: its labels are {labels.dtype} {labels.shape}; they must be whole "
            f"numbers ({len(found)},)."
        )
    return found, arrays


def _text(value: float) -> str:
    return f"{value:.0f}" if isinstance(value, int) else f"{value:.4f}"


def format_row(row: Row) -> str:
    """Format the numbers as lines of text."""
    return "\n".join(
        f"{name:>18}  {_text(value)}" + (f" ± {error:.4f}" if error is not None else "")
        for name, (value, error) in row["metrics"].items()
    )
