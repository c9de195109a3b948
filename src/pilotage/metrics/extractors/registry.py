"""`load_extractor`: from what the user names to an extractor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from pilotage.data.image_data import ImageData
from pilotage.data.stacked import StackedData
from pilotage.errors import PilotageError
from pilotage.metrics.extractors.base import Extractor
from pilotage.metrics.extractors.dinov2 import DEFAULT_MODEL, dinov2
from pilotage.metrics.extractors.in_domain import in_domain
from pilotage.metrics.extractors.inception import inception
from pilotage.metrics.extractors.stacked_in_domain import stacked_in_domain

ALLOWED = "in-domain, inception, inception:PATH, dinov2 or dinov2:NAME_OR_PATH"


def load_extractor(
    spec: str,
    train: ImageData | None = None,
    held_out: ImageData | None = None,
    *,
    seed: int = 0,
    cache: str | Path | None = None,
    device: torch.device | str | None = None,
    passes: int | None = None,
    flip: bool = False,
    say: Callable[[str], None] = print,
) -> Extractor:
    """The extractor of a name.

    Args:
        spec: ``in-domain``, ``inception``, ``inception:PATH``, ``dinov2`` or
            ``dinov2:NAME_OR_PATH``.
        train: for in-domain only, like ``held_out``, ``seed``, ``passes`` and ``flip``; of stacked
            images it is the classifier of their planes, see `stacked_in_domain`.
        held_out: images for the accuracy; None or empty leaves it unknown.
        seed: see `in_domain`.
        cache: folder of trained and downloaded files.
        device: where to run; None: this process's own.
        passes: see `in_domain`.
        flip: see `in_domain`.
        say: receives one-line notes.

    Raises:
        PilotageError: if the name is not allowed, or the extractor cannot be had.
    """
    name, colon, place = spec.partition(":")
    if name not in ("in-domain", "inception", "dinov2") or (
        colon and (not place or name == "in-domain")
    ):
        raise PilotageError(f"extractor={spec!r} is not allowed; give {ALLOWED}.")
    if name == "inception":
        return inception(place or None, cache=cache, device=device)
    if name == "dinov2":
        return dinov2(place or DEFAULT_MODEL, device=device)
    if train is None:
        raise PilotageError("extractor=in-domain is not allowed without the training images.")
    if held_out is None:
        held_out = empty_like(train)
    make = stacked_in_domain if isinstance(train, StackedData) else in_domain
    return make(
        train, held_out, seed=seed, cache=cache, device=device, passes=passes, flip=flip, say=say
    )


def empty_like(data: ImageData) -> ImageData:
    """No images of the same shape and classes."""
    if isinstance(data, StackedData):
        return StackedData.draw(empty_like(data.planes), 0, seed=0, purpose="none")
    return ImageData.from_arrays(data.batch([]).numpy(), [], data.classes)
