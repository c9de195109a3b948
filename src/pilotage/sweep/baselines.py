"""Rows that no model has made: real images, and bicubic interpolation."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from pilotage.data import ImageData
from pilotage.settings import SweepSettings
from pilotage.sweep.eval_prompts import Asked
from pilotage.sweep.evaluator import Yardstick
from pilotage.sweep.measure import Sample, compare, extract, join
from pilotage.sweep.per_sample import attribute_marks, judged_by_pixels
from pilotage.sweep.table import Row, append_row, row_id, table_path
from pilotage.utils.images import to_uint8


class Table(NamedTuple):
    """Where a run's rows go, and those that are there, by id."""

    folder: Path
    known: dict[str, Row]


def write_floor(
    table: Table, yardstick: Yardstick, held_out: ImageData, settings: SweepSettings
) -> None:
    """Real held-out images against real training images: no model can do better at that n."""
    if yardstick.floor is None:
        return
    row = _baseline("real", len(yardstick.floor.clipped), yardstick, settings)
    if row["id"] not in table.known:
        sample = yardstick.floor._replace(marks=_real_marks(held_out))
        _write(table, row, yardstick, sample, settings)


def write_bicubic(
    table: Table,
    yardstick: Yardstick,
    asked: Asked,
    size: tuple[int, int],
    settings: SweepSettings,
) -> None:
    """The images to be enlarged, enlarged without a model, each once.

    Args:
        table: where the row goes.
        yardstick: what it is measured with.
        asked: of a run that enlarges.
        size: height and width to enlarge to.
        settings: those of the sweep.
    """
    count = asked.different
    if count < yardstick.extractor.dimensions and not settings.force:
        return
    row = _baseline("bicubic", count, yardstick, settings, **asked.decides)
    if row["id"] not in table.known:
        samples = []
        for part in asked.once():
            images = to_uint8(bicubic(asked.beside["low_res"][part], size))
            sample = extract(images, yardstick.extractor)
            samples.append(sample._replace(marks=asked.marks(part, images)))
        labels = None if asked.labels is None else asked.labels[:: asked.per_caption][:count]
        _write(table, row, yardstick, join(samples)._replace(labels=labels), settings)


def bicubic(images: Float[Tensor, "B C h w"], size: tuple[int, int]) -> Float[Tensor, "B C H W"]:
    """Images enlarged by cubic convolution with a = −1/2, as image programs do."""
    return interpolate(images, size, mode="bicubic", antialias=True)  # without, a would be −3/4


def _real_marks(held_out: ImageData) -> dict[str, np.ndarray] | None:
    """Whether the real images show their captions, where that can be seen."""
    if held_out.captions is None or not judged_by_pixels(held_out.captions, held_out.shape):
        return None
    return attribute_marks(held_out.batch(np.arange(len(held_out))), held_out.captions)


def _baseline(
    kind: str, count: int, yardstick: Yardstick, settings: SweepSettings, **more: object
) -> Row:
    """A row but for its numbers."""
    decides = {
        "kind": kind,
        "n": count,
        "force": settings.force,
        **more,
        **yardstick.manifest,
    }
    return {"id": row_id(decides), **decides}


def _write(
    table: Table, row: Row, yardstick: Yardstick, sample: Sample, settings: SweepSettings
) -> None:
    metrics = compare(yardstick.real, sample, force=settings.force)
    pairs = {name: list(pair) for name, pair in metrics.items()}
    told = {"run": str(table.folder), "metrics": pairs, "preview": None}
    append_row(table_path(table.folder), {**row, **told})
