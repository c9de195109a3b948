"""Rows that no model has made: real images, and bicubic interpolation."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from pilotage.data import LabelledData
from pilotage.metrics import Sample, compare, join
from pilotage.metrics.features import PerSample
from pilotage.settings import SweepSettings
from pilotage.sweep.eval_prompts import EvalPrompts
from pilotage.sweep.evaluator import Evaluator
from pilotage.sweep.per_sample import attribute_scores, judged_by_pixels
from pilotage.sweep.rows import new_row
from pilotage.sweep.table import Row, append_row, row_id, table_path
from pilotage.utils.images import to_uint8


class Table(NamedTuple):
    """Where a run's rows go, and those that are there, by id."""

    folder: Path
    known: dict[str, Row]


def write_floor(
    table: Table, evaluator: Evaluator, held_out: LabelledData, settings: SweepSettings
) -> None:
    """Real held-out images against real training images: no model can do better at that n."""
    floor = evaluator.floor
    if floor is not None:
        row = {"kind": "real", "n": len(floor.clipped), "force": settings.force}
        _write(table, row, evaluator, lambda: floor._replace(per_sample=_real_scores(held_out)))


def write_bicubic(
    table: Table,
    evaluator: Evaluator,
    prompts: EvalPrompts,
    size: tuple[int, int],
    settings: SweepSettings,
) -> None:
    """The images to be enlarged, enlarged without a model, each once.

    Args:
        table: where the row goes.
        evaluator: what it is measured with.
        prompts: of a run that enlarges.
        size: height and width to enlarge to.
        settings: those of the sweep.
    """
    count = prompts.different
    if count < evaluator.extractor.dimensions and not settings.force:
        return

    low_res = prompts.condition.get("low_res")
    if low_res is None:
        return

    def enlarged() -> Sample:
        samples = []
        for part in prompts.once():
            images = to_uint8(bicubic(low_res[part], size))
            sample = evaluator.extractor.sample(images)
            samples.append(sample._replace(per_sample=prompts.per_sample(part, images)))
        labels = None if prompts.labels is None else prompts.labels[:: prompts.per_caption][:count]
        return join(samples)._replace(labels=labels)

    row = {"kind": "bicubic", "n": count, "force": settings.force, **prompts.decides}
    _write(table, row, evaluator, enlarged)


def bicubic(images: Float[Tensor, "B C h w"], size: tuple[int, int]) -> Float[Tensor, "B C H W"]:
    """Images enlarged by cubic convolution with a = −1/2, as image programs do."""
    return interpolate(images, size, mode="bicubic", antialias=True)  # without, a would be −3/4


def _real_scores(held_out: LabelledData) -> PerSample | None:
    """Whether the real images show their captions, where that can be seen."""
    if held_out.captions is None or not judged_by_pixels(held_out.captions, held_out.shape):
        return None
    return attribute_scores(held_out.batch(np.arange(len(held_out))), held_out.captions)


def _write(table: Table, row: Row, evaluator: Evaluator, sample: Callable[[], Sample]) -> None:
    """Measure a sample that the table has not yet; ``row`` and the evaluator decide its numbers."""
    decides = {**row, **evaluator.manifest}
    if row_id(decides) not in table.known:
        metrics = compare(evaluator.real, sample(), force=row["force"])
        row = new_row(decides, str(table.folder), metrics)
        append_row(table_path(table.folder), row)
