"""What samples are measured with: an extractor, and the features of real images."""

from collections.abc import Callable
from typing import NamedTuple

from pilotage.data import LabelledData
from pilotage.errors import PilotageError
from pilotage.metrics import Sample
from pilotage.metrics.extractors import Extractor, load_extractor
from pilotage.models.data import load_recipe_data
from pilotage.models.model import Model
from pilotage.settings import SweepSettings
from pilotage.sweep.curves import hardly_better
from pilotage.sweep.table import Row
from pilotage.utils.images import shape_text
from pilotage.version import __version__


class Evaluator(NamedTuple):
    """What samples are measured with.

    Attributes:
        extractor: images to features.
        real: features of the training images.
        manifest: which these are, for the rows.
        floor: features of the held-out images; None if there are too few.
    """

    extractor: Extractor
    real: Sample
    manifest: Row
    floor: Sample | None


def real_images(settings: SweepSettings, run: Model) -> tuple[str, LabelledData, LabelledData]:
    """What the real images are called, those of training, and the held-out ones.

    Raises:
        PilotageError: if they have not the shape of the run's.
    """
    recipe = run.card.recipe
    if settings.data is not None:
        recipe = recipe.model_copy(update={"data": settings.data})
    own = run.card.data if settings.data is None else None
    train, held_out = load_recipe_data(recipe, trained_on=own)
    if train.shape != run.shape:
        raise PilotageError(
            f"data is {recipe.data}: its images are {shape_text(train.shape)}, "
            f"the run's {shape_text(run.shape)}."
        )
    return recipe.data, train, held_out


def make_evaluator(
    spec: str, name: str, train: LabelledData, held_out: LabelledData, say: Callable[[str], None]
) -> Evaluator:
    """The extractor and the features of the real images, which the rows call ``name``."""
    extractor = load_extractor(spec, train, held_out, say=say)
    chance = extractor.chance(len(train.classes))
    if hardly_better(extractor.accuracy, chance):
        say(
            f"warning: the {extractor.name} extractor is right for {extractor.accuracy:.0%} of "
            f"held-out images, hardly better than chance ({chance:.0%}): its distances mean little"
        )
    real = extractor.real_sample(train)
    spatial = real.features.spatial
    if spatial is not None and len(spatial) <= spatial.shape[1]:
        say(
            f"the spatial distance is left out: {name} has {len(spatial)} images, and more than "
            f"{spatial.shape[1]} are needed"
        )
    floor = extractor.real_sample(held_out) if len(held_out) > extractor.dimensions else None
    reference = {"data": name, "split": "train", "n": len(train), "hash": train.fingerprint}
    manifest = {"extractor": extractor.manifest(), "reference": reference, "code": __version__}
    return Evaluator(extractor, real, manifest, floor)


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
