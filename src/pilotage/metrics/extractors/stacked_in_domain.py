"""Features of stacked images: the in-domain classifier of their planes, once per channel."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from pilotage.data.stacked import PLANES, StackedData
from pilotage.errors import PilotageError
from pilotage.metrics.extractors.base import Features, check_images
from pilotage.metrics.extractors.in_domain import EVALUATION_BATCH, InDomain, in_domain

NAME = "stacked-in-domain"


class StackedInDomain:
    """The classifier of the planes as an `Extractor` of triples; made by `stacked_in_domain`.

    Pooled features are those of the three channels in a row, 3·D. Logits are of the K³ modes: the
    logarithm of the product of the three channels' probabilities. There are no spatial features:
    three times 256 would ask for more samples than all other numbers.

    Attributes:
        planes: the extractor of a single channel; `planes.accuracy` is the share of held-out grey
            images whose class is right.
        accuracy: share of held-out triples whose three classes are all right; None without any.
    """

    name = NAME
    resize = "none"

    def __init__(self, planes: InDomain, accuracy: float | None):
        self.planes, self.accuracy = planes, accuracy
        self.dimensions = PLANES * planes.dimensions
        self.hash = hashlib.sha256(f"{NAME} {PLANES} {planes.hash}".encode()).hexdigest()

    def __repr__(self) -> str:
        return f"StackedInDomain({self.hash[:12]}, accuracy={self.accuracy})"

    def __call__(self, images: Tensor) -> Features:
        """Features of uint8 images (B, 3, H, W), H and W being those of the planes."""
        check_images(images, channels=(PLANES,))
        seen = self.planes(images.flatten(0, 1)[:, None])
        triples = np.arange(PLANES * len(images)).reshape(-1, PLANES)
        return Features(
            stacked_pooled(seen.pooled, triples), None, stacked_logits(seen.logits, triples)
        )


def stacked_in_domain(
    train: StackedData, held_out: StackedData, **settings: Any
) -> StackedInDomain:
    """The classifier of the planes of stacked data: from the cache, else trained and put there.

    Args:
        train: the classifier is trained on its planes.
        held_out: triples for the accuracy, and planes for that of a single channel; may be empty.
        settings: see `in_domain`.

    Raises:
        PilotageError: if a setting is not allowed, either set is not stacked, or the training
            images are of one class only.
    """
    for name, data in (("train", train), ("held_out", held_out)):
        if not isinstance(data, StackedData):
            raise PilotageError(
                f"{name} of shape {data.shape} is not allowed; the stacked in-domain extractor "
                "takes stacked images, whose planes and labels are known."
            )
    if len(np.unique(train.planes.labels)) == 1:
        raise PilotageError(
            "extractor=in-domain is not allowed with stacked images of one class: there is one "
            "mode only; give training images of two classes or more."
        )
    planes = in_domain(train.planes, held_out.planes, **settings)
    found = StackedInDomain(planes, accuracy(planes, held_out))
    score = "unknown" if found.accuracy is None else f"{found.accuracy:.2%}"
    settings.get("say", print)(f"{NAME} extractor {found.hash[:12]}: held-out accuracy {score}")
    return found


def accuracy(planes: InDomain, triples: StackedData) -> float | None:
    """Share of triples whose three classes are all right; each plane is classified once."""
    if not len(triples):
        return None
    starts = range(0, len(triples.planes), EVALUATION_BATCH)
    rows = [np.arange(i, min(i + EVALUATION_BATCH, len(triples.planes))) for i in starts]
    logits = np.concatenate([planes(triples.planes.batch(part)).logits for part in rows])
    return float((stacked_modes(logits, triples.triples) == triples.labels).mean())


def stacked_pooled(
    pooled: Float32[np.ndarray, "images D"], triples: Int64[np.ndarray, "N 3"]
) -> Float32[np.ndarray, "N dims"]:
    """Features of triples, (N, 3·D), from those of single images."""
    return pooled[triples].reshape(len(triples), PLANES * pooled.shape[1])


def stacked_modes(
    logits: Float32[np.ndarray, "images K"], triples: Int64[np.ndarray, "N 3"]
) -> Int64[np.ndarray, " N"]:
    """The likeliest mode of triples, from the logits of single images."""
    K = logits.shape[1]
    return logits.argmax(1)[triples] @ np.array([K * K, K, 1])


def stacked_logits(
    logits: Float32[np.ndarray, "images K"], triples: Int64[np.ndarray, "N 3"]
) -> Float32[np.ndarray, "N modes"]:
    """log p of every mode of triples, (N, K³), from the logits of single images."""
    single = torch.from_numpy(logits).log_softmax(1)
    a, b, c = single[torch.from_numpy(triples)].unbind(1)
    joint = a[:, :, None, None] + b[:, None, :, None] + c[:, None, None, :]
    return joint.flatten(1).numpy()
