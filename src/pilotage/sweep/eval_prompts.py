"""Evaluation prompts: captions of real images, and parts of these images to start from."""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pilotage.data import LabelledData
from pilotage.metrics.features import PerSample
from pilotage.models.conditioning import ConditionImages
from pilotage.models.model import Model
from pilotage.models.sampling_spec import ResolvedSpec
from pilotage.objectives.conditioned import BOXES, known_mask, shrunk
from pilotage.sweep.per_sample import (
    attribute_scores,
    condition_psnr,
    judged_by_pixels,
    known_psnr,
)
from pilotage.sweep.table import Row
from pilotage.utils.images import from_uint8
from pilotage.utils.seeding import derived_generator

BATCH = 256


class EvalPrompts(NamedTuple):
    """The prompts of N images, the same in every setting.

    Attributes:
        captions: one per image.
        labels: classes of the real images with these captions (N,); None if there is but one.
        condition: ``low_res``, or ``known`` and ``known_mask``, of each image; empty for a run that
            sees captions alone.
        different: how many of the N have a real image, and a condition, of their own.
        judged: whether the captions' attributes can be seen in the pixels.
        per_caption: images of each caption in a row.
        decides: where all of it comes from, for the rows.
    """

    captions: tuple[str, ...]
    labels: np.ndarray | None
    condition: ConditionImages
    different: int
    judged: bool
    per_caption: int
    decides: Row

    def resolve(self, run: Model, seeds: Sequence[int], **how: Any) -> ResolvedSpec:
        """The request for the images; ``how`` are settings of :meth:`Model.sample`."""
        return run.resolve(self.captions, seeds=seeds, **self.condition, **how)

    def once(self) -> list[slice]:
        """Batches of rows that have every real image, and condition, but once."""
        last, step = self.different * self.per_caption, self.per_caption
        return [slice(k, min(k + BATCH * step, last), step) for k in range(0, last, BATCH * step)]

    def per_sample(self, rows: slice, images: Tensor) -> PerSample:
        """What some of the images, uint8 (B, C, H, W), have right."""
        found: PerSample = {}
        low_res, known = self.condition.get("low_res"), self.condition.get("known")
        mask = self.condition.get("known_mask")
        if self.judged:
            found |= attribute_scores(images, self.captions[rows])
        if low_res is not None:
            found["condition_psnr"] = condition_psnr(images, low_res[rows])
        if known is not None and mask is not None:
            found["known_psnr"] = known_psnr(images, known[rows], mask[rows])
        return found


def eval_prompts(
    run: Model,
    seeds: Sequence[int],
    name: str,
    train: LabelledData,
    held_out: LabelledData,
    say: Callable[[str], None],
    per_caption: int = 1,
) -> EvalPrompts:
    """Take the held-out captions in turn, with their own images where the run sees one.

    Args:
        run: on captions.
        seeds: of the images; they also decide what is erased of an image to complete.
        name: what the data are called.
        train: whose captions are taken where nothing is held out.
        held_out: image i has caption i // per_caption % len(held_out).
        say: receives a note on that.
        per_caption: images of each caption in a row.
    """
    data, split = (held_out, "held-out") if len(held_out) else (train, "train")
    if split == "train":
        say(f"data is {name}: nothing is held out, so the prompts are training captions")
    rows, known = np.arange(len(seeds)) // per_caption % len(data), data.captions or ()
    decides: Row = {
        "captions": {
            "data": name,
            "split": split,
            "n": len(data),
            "hash": hashlib.sha256(json.dumps(data.captions).encode()).hexdigest(),
        },
        "negative": None,
    }
    if per_caption > 1:
        decides["per_caption"] = per_caption
    low_res, recipe = run.card.recipe.low_res, run.card.recipe
    condition = ConditionImages()
    if low_res:
        condition["low_res"] = _real(data, len(seeds), low_res)[rows]
        decides["low_res"] = {"size": list(low_res), "images": data.fingerprint}
    if recipe.inpaint:
        mask = _masks(seeds, (run.shape[1], run.shape[2]))
        condition["known"], condition["known_mask"] = _real(data, len(seeds))[rows] * mask, mask
        decides["known"] = {"boxes": BOXES, "images": data.fingerprint}
    captions = tuple(known[row] for row in rows)
    return EvalPrompts(
        captions=captions,
        labels=data.labels[rows] if len(data.classes) > 1 else None,
        condition=condition,
        different=min(-(-len(seeds) // per_caption), len(data)),
        judged=judged_by_pixels(captions, run.shape),
        per_caption=per_caption,
        decides=decides,
    )


def _real(data: LabelledData, count: int, size: tuple[int, int] | None = None) -> Tensor:
    """The first images in [−1, 1], made smaller if wanted."""
    count = min(count, len(data))
    parts = [np.arange(k, min(k + BATCH, count)) for k in range(0, count, BATCH)]
    batches = (from_uint8(data.batch(part)) for part in parts)
    return torch.cat([shrunk(images, size) if size else images for images in batches])


def _masks(seeds: Sequence[int], size: tuple[int, int]) -> Tensor:
    """What is known of each image (N, 1, H, W): erased are as many boxes as in training."""
    boxes = [torch.rand(BOXES, 4, generator=derived_generator(s, "erased boxes")) for s in seeds]
    return known_mask(torch.stack(boxes), *size)
