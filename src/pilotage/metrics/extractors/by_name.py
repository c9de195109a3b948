"""`load_extractor`: from what the user names to an extractor."""

from typing import Unpack

from pilotage.data.image_data import ImageData, LabelledData
from pilotage.data.stacked import StackedData
from pilotage.errors import PilotageError
from pilotage.metrics.extractors.dinov2 import DEFAULT_MODEL, dinov2
from pilotage.metrics.extractors.extractor import Extractor
from pilotage.metrics.extractors.in_domain import Settings, in_domain
from pilotage.metrics.extractors.inception import inception
from pilotage.metrics.extractors.stacked_in_domain import stacked_in_domain

ALLOWED = "in-domain, inception, inception:PATH, dinov2 or dinov2:NAME_OR_PATH"


def load_extractor(
    spec: str,
    train: LabelledData | None = None,
    held_out: LabelledData | None = None,
    **settings: Unpack[Settings],
) -> Extractor:
    """The extractor of a name.

    Args:
        spec: ``in-domain``, ``inception``, ``inception:PATH``, ``dinov2`` or
            ``dinov2:NAME_OR_PATH``.
        train: for in-domain only, like ``held_out`` and most settings; of stacked images it is the
            classifier of their planes, see `stacked_in_domain`.
        held_out: images for the accuracy; None or empty leaves it unknown.
        settings: see `in_domain`. The others take ``device``, and inception ``cache``, its folder
            of downloaded files.

    Raises:
        PilotageError: if the name is not allowed, or the extractor cannot be had.
    """
    name, colon, place = spec.partition(":")
    if name not in ("in-domain", "inception", "dinov2") or (
        colon and (not place or name == "in-domain")
    ):
        raise PilotageError(f"extractor={spec!r} is not allowed; give {ALLOWED}.")
    device = settings.get("device")
    if name == "inception":
        return inception(place or None, cache=settings.get("cache"), device=device)
    if name == "dinov2":
        return dinov2(place or DEFAULT_MODEL, device=device)
    if train is None:
        raise PilotageError("extractor=in-domain is not allowed without the training images.")
    make = stacked_in_domain if isinstance(train, StackedData) else in_domain
    return make(train, empty_like(train) if held_out is None else held_out, **settings)


def empty_like(data: LabelledData) -> LabelledData:
    """No images of the same shape and classes."""
    if isinstance(data, StackedData):
        return StackedData.draw(empty_like(data.planes), 0, seed=0, purpose="none")
    return ImageData.from_arrays(data.batch([]).numpy(), [], data.classes)
