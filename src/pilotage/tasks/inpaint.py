"""``pilotage inpaint``: fill the masked part of an image, guided by a prompt."""

import warnings

from pilotage.errors import PilotageError
from pilotage.models.conditioning import ConditionImages
from pilotage.settings import InpaintSettings
from pilotage.tasks.inputs import read_image, read_mask
from pilotage.tasks.outputs import check_out
from pilotage.tasks.sample import load_models, sample_prompts
from pilotage.utils.distributed import process_state
from pilotage.utils.images import shape_text


def inpaint(settings: InpaintSettings) -> None:
    """Inpaint an image where its mask is white.

    Raises:
        PilotageError: for bad input, before anything is sampled or written.
    """
    check_out(settings.out)
    state = process_state()
    (run,) = load_models(settings, state, captions=True)
    if not run.card.recipe.inpaint:
        raise PilotageError(f"run is {settings.run_folder}: it must be trained with inpaint.")
    image = read_image(settings.image, "image", run.shape[0])
    mask = read_mask(settings.mask)
    for name, found in (("image", image), ("mask", mask)):
        if found.shape[2:] != run.shape[1:]:
            raise PilotageError(
                f"{name} is {getattr(settings, name)}: it has {shape_text(found.shape[2:])} "
                f"pixels, and must have {shape_text(run.shape[1:])} as the run's images."
            )
    known = (mask < 0).float()
    if known.all():
        raise PilotageError(
            f"mask is {settings.mask}: it must be white where the image is to be filled."
        )
    if not known.any():
        warnings.warn(
            f"mask is {settings.mask}: all of it is white, so nothing is kept of the image",
            stacklevel=2,
        )
    images = ConditionImages(known=image * known, known_mask=known)
    if settings.low_res is not None:
        images["low_res"] = read_image(settings.low_res, "low_res", run.shape[0])
    sample_prompts(settings, [run], images, state)
