"""What samples are measured with: an extractor, and the features of real images."""

from collections.abc import Callable
from typing import NamedTuple

from pilotage.data import ImageData
from pilotage.errors import PilotageError
from pilotage.metrics.extractors import (
    Extractor,
    InDomainRotations,
    StackedInDomain,
    load_extractor,
)
from pilotage.models.data import load_recipe_data
from pilotage.models.model import Model
from pilotage.settings import SweepSettings
from pilotage.sweep.measure import Sample, real_sample
from pilotage.utils.images import shape_text
from pilotage.version import __version__

HARDLY = 0.6  # of two classes, where twice by chance would be all


class Yardstick(NamedTuple):
    """What samples are measured with.

    Attributes:
        extractor: images to features.
        real: features of the training images.
        manifest: which these are, for the rows.
        floor: features of the held-out images; None if there are too few.
    """

    extractor: Extractor
    real: Sample
    manifest: dict
    floor: Sample | None


def real_images(settings: SweepSettings, run: Model) -> tuple[str, ImageData, ImageData]:
    """What the real images are called, those of training, and the held-out ones.

    Raises:
        PilotageError: if they have not the shape of the run's.
    """
    recipe = run.card.recipe
    if settings.data is not None:
        recipe = recipe.model_copy(update={"data": settings.data})
    train, held_out = load_recipe_data(recipe)
    if train.shape != run.shape:
        raise PilotageError(
            f"data is {recipe.data}: its images are {shape_text(train.shape)}, "
            f"the run's {shape_text(run.shape)}."
        )
    return recipe.data, train, held_out


def make_yardstick(
    spec: str, name: str, train: ImageData, held_out: ImageData, say: Callable[[str], None]
) -> Yardstick:
    """The extractor and the features of the real images, which the rows call ``name``."""
    extractor = load_extractor(spec, train, held_out, say=say)
    rotations = isinstance(extractor, InDomainRotations)
    chance = 1 / (extractor.angles if rotations else len(train.classes))
    if extractor.accuracy is not None and extractor.accuracy < min(2 * chance, HARDLY):
        say(
            f"warning: the {extractor.name} extractor is right for {extractor.accuracy:.0%} of "
            f"held-out images, hardly better than chance ({chance:.0%}): its distances mean little"
        )
    floor = real_sample(held_out, extractor) if len(held_out) > extractor.dimensions else None
    stacked = isinstance(extractor, StackedInDomain)
    manifest = {
        "extractor": {
            "name": extractor.name,
            "hash": extractor.hash,
            "dimensions": extractor.dimensions,
            "resize": extractor.resize,
            "accuracy": extractor.accuracy,
            **({"digit_accuracy": extractor.planes.accuracy} if stacked else {}),
        },
        "reference": {
            "data": name,
            "split": "train",
            "n": len(train),
            "hash": train.fingerprint,
        },
        "code": __version__,
    }
    return Yardstick(extractor, real_sample(train, extractor), manifest, floor)


def check_enough(settings: SweepSettings, name: str, images: int, dimensions: int) -> None:
    """Refuse a distance from too few images, real or generated, unless it is forced.

    Raises:
        PilotageError: saying how many are needed.
    """
    if settings.force:
        return
    if images < dimensions:
        raise PilotageError(
            f"data is {name}: {images} images are too few for a distance in {dimensions} "
            "dimensions, which needs at least as many (or --force)."
        )
    if settings.samples < dimensions:
        raise PilotageError(
            f"samples is {settings.samples}: a distance in {dimensions} dimensions needs at least "
            "as many (or --force)."
        )
