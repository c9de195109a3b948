"""Features of stacked images: the in-domain classifier of their planes, once per channel."""

from __future__ import annotations

import hashlib
from typing import Unpack

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from pilotage.data.image_data import LabelledData
from pilotage.data.stacked import PLANES, StackedData
from pilotage.errors import PilotageError
from pilotage.metrics.extractors.extractor import Extractor, batches, check_images
from pilotage.metrics.extractors.in_domain import InDomain, Settings, in_domain, tell
from pilotage.metrics.features import Array, Features, Sample, present

NAME = "stacked-in-domain"


class StackedInDomain(Extractor):
    """The classifier of the planes as an `Extractor` of triples; made by `stacked_in_domain`.

    Pooled features are those of the three channels in a row, 3·D. Logits are of the K³ modes: the
    logarithm of the product of the three channels' probabilities. There are no spatial features:
    three times 256 would need more samples than all other numbers.

    Attributes:
        planes: the extractor of a single channel; `planes.accuracy` is the share of held-out grey
            images whose class is right.
        accuracy: share of held-out triples whose three classes are all right; None without any.
    """

    name = NAME

    def __init__(self, planes: InDomain, accuracy: float | None):
        self.planes, self.accuracy = planes, accuracy
        self.dimensions = PLANES * planes.dimensions
        self.hash = hashlib.sha256(f"{NAME} {PLANES} {planes.hash}".encode()).hexdigest()

    def __call__(self, images: Tensor) -> Features:
        """Features of uint8 images (B, 3, H, W), H and W being those of the planes."""
        check_images(images, channels=(PLANES,))
        seen = self.planes(images.flatten(0, 1)[:, None])
        triples = np.arange(PLANES * len(images)).reshape(-1, PLANES)
        logits = stacked_logits(present(seen.logits, "logits"), triples)
        return Features(stacked_pooled(seen.pooled, triples), None, logits)

    def sample(self, images: Tensor) -> Sample:
        """One batch of images; modes stand for logits.

        Thousands of logits an image are too many to keep, and to score within a split.
        """
        found = super().sample(images)
        modes = present(found.features.logits, "logits").argmax(axis=1)
        return found._replace(features=found.features._replace(logits=None), modes=modes)

    def real_sample(self, data: LabelledData) -> Sample:
        """Triples, from the features of their planes, each of which is in many.

        Raises:
            PilotageError: if they are not stacked.
        """
        triples = stacked("data", data)
        planes = self.planes.real_sample(triples.planes)
        logits = present(planes.features.logits, "logits")
        return Sample(
            Features(stacked_pooled(planes.features.pooled, triples.triples), None, None),
            planes.clipped[triples.triples].mean(axis=1),
            triples.labels,
            stacked_modes(logits, triples.triples),
            triples.mode_shares,
        )

    def manifest(self) -> dict[str, object]:
        """Which extractor it is, and how good it is on a single channel."""
        return {**super().manifest(), "digit_accuracy": self.planes.accuracy}


def stacked_in_domain(
    train: LabelledData, held_out: LabelledData, **settings: Unpack[Settings]
) -> StackedInDomain:
    """The classifier of the planes of stacked data: from the cache, else trained and put there.

    Args:
        train: stacked; the classifier is trained on its planes.
        held_out: triples for the accuracy, and planes for that of a single channel; may be empty.
        settings: see `in_domain`.

    Raises:
        PilotageError: if a setting is not allowed, either set is not stacked, or the training
            images are of one class only.
    """
    triples, held_triples = stacked("train", train), stacked("held_out", held_out)
    if len(np.unique(triples.planes.labels)) == 1:
        raise PilotageError(
            "extractor=in-domain is not allowed with stacked images of one class: there is one "
            "mode only; give training images of two classes or more."
        )
    planes = in_domain(triples.planes, held_triples.planes, **settings)
    assert isinstance(planes, InDomain)  # of two classes or more
    found = StackedInDomain(planes, accuracy(planes, held_triples))
    tell(found, settings.get("say", print))
    return found


def stacked(name: str, data: LabelledData) -> StackedData:
    """The data, refused unless they are stacked."""
    if not isinstance(data, StackedData):
        raise PilotageError(
            f"{name} of shape {data.shape} is not allowed; the stacked in-domain extractor "
            "takes stacked images, whose planes and labels are known."
        )
    return data


def accuracy(planes: InDomain, triples: StackedData) -> float | None:
    """Share of triples whose three classes are all right; each plane is classified once."""
    if not len(triples):
        return None
    parts = (planes(triples.planes.batch(rows)).logits for rows in batches(len(triples.planes)))
    logits = np.concatenate([present(part, "logits") for part in parts])
    return float((stacked_modes(logits, triples.triples) == triples.labels).mean())


def stacked_pooled(
    pooled: Float32[np.ndarray, "images D"], triples: Int64[np.ndarray, "N 3"]
) -> Float32[np.ndarray, "N dims"]:
    """Features of triples, (N, 3·D), from those of single images."""
    found: Array = pooled[triples].reshape(len(triples), PLANES * pooled.shape[1])
    return found


def stacked_modes(
    logits: Float32[np.ndarray, "images K"], triples: Int64[np.ndarray, "N 3"]
) -> Int64[np.ndarray, " N"]:
    """The likeliest mode of triples, from the logits of single images."""
    K = logits.shape[1]
    modes: Array = logits.argmax(1)[triples] @ np.array([K * K, K, 1])
    return modes


def stacked_logits(
    logits: Float32[np.ndarray, "images K"], triples: Int64[np.ndarray, "N 3"]
) -> Float32[np.ndarray, "N modes"]:
    """log p of every mode of triples, (N, K³), from the logits of single images."""
    single = torch.from_numpy(logits).log_softmax(1)
    a, b, c = single[torch.from_numpy(triples)].unbind(1)
    joint = a[:, :, None, None] + b[:, None, :, None] + c[:, None, None, :]
    return joint.flatten(1).numpy()
