"""Generators of NVIDIA's denoising diffusion GANs as run folders (2112.07804)."""

from pathlib import Path
from typing import Any

from torch import Tensor

from pilotage.errors import PilotageError
from pilotage.interop.ddgan.infer import infer_levels
from pilotage.interop.ddgan.published import PUBLISHED_GANS
from pilotage.interop.ddgan.tensors import load_discriminator, load_generator
from pilotage.interop.foreign_weights import read_weights
from pilotage.interop.imported_run import (
    check_free,
    check_preset,
    imported_data,
    required,
    settings_of,
    with_preset,
    write_run,
)
from pilotage.models.build import build_discriminator, few_steps
from pilotage.models.run_folder import IMPORTED, Card, fill
from pilotage.networks.discriminator import Discriminator
from pilotage.networks.ncsnpp import NCSNpp
from pilotage.settings import (
    AdversarialRecipe,
    DiscriminatorSettings,
    GeneratorSettings,
    ImportDdganSettings,
    NCSNppOptions,
    NCSNppSettings,
)
from pilotage.training.state import DISCRIMINATOR
from pilotage.utils.files import whole_folder, write_tensors

_LEVELS = ("size", "steps_T", "beta_min", "beta_max", "geometric")
_SCRIPTS_NAMES = {"resample_conv": "resamp_with_conv", "block": "resblock_type"}


def import_ddgan(settings: ImportDdganSettings) -> Card:
    """Convert a published generator to a run folder, for sampling, sweeps and further training.

    Further training also uses its discriminator if given; optimisers start anew.

    Raises:
        PilotageError: naming the option that is missing or wrong, or the tensors that do not fit;
            nothing is written then.
    """
    settings = with_preset(
        settings, PUBLISHED_GANS, lambda recipe: {name: getattr(recipe, name) for name in _LEVELS}
    )
    size = required("size", settings.size, "the height and width")
    required("steps_T", settings.steps_T, "the network calls of an image")
    check_free(settings.out)
    generator = _generator(settings)
    discriminator = _discriminator(settings.discriminator, generator)
    recipe = _recipe(settings, generator, discriminator)
    _check_halvings(recipe.network, size)
    few_steps(recipe)  # refuses rates that give no levels
    card = Card(recipe, imported_data((generator.plan.in_channels, *size)))
    with whole_folder(settings.out) as folder:
        write_run(folder, card, generator)
        if discriminator is not None:
            write_tensors(folder / DISCRIMINATOR, discriminator.state_dict(), step="0")
            fill(build_discriminator(card), folder / DISCRIMINATOR)
    return card


def _generator(settings: ImportDdganSettings) -> NCSNpp:
    instead = "netG_*.pth of the same training, which holds the averaged weights"
    tensors = _tensors("checkpoint", settings.checkpoint, instead, settings.key)
    options = settings.network
    levels = infer_levels(tensors, resampling_blocks=options.block != "ddpm")
    network = load_generator(tensors, {**levels, **_arguments(options)}).float()
    if network.plan.time_features == "fourier":
        raise PilotageError(
            f"checkpoint is {settings.checkpoint}: its network must not take the logarithm of the "
            "time, which is 0 at the last step."
        )
    return network


def _arguments(options: NCSNppOptions) -> dict[str, Any]:
    """Convert options to arguments of the published script."""
    named = {_SCRIPTS_NAMES.get(name, name): value for name, value in options}
    if options.block == "biggan_one":
        named["resblock_type"] = "biggan_oneadagn"
    return {"not_use_tanh": not named.pop("tanh"), **named}


def _tensors(option: str, path: Path, instead: str, key: str | None = None) -> dict[str, Tensor]:
    """Read the tensors of an option's file.

    Raises:
        PilotageError: if it cannot be read.
    """
    try:
        return read_weights(path, key)
    except PilotageError as error:
        if path.name != "content.pth" or not path.is_file():
            raise
        raise PilotageError(
            f"{option} is {path}: it must hold tensors only, and also holds objects, which are not "
            f"unpickled; give {instead}."
        ) from error


def _discriminator(path: Path | None, generator: NCSNpp) -> Discriminator | None:
    if path is None:
        return None
    tensors = _tensors("discriminator", path, "its netD_dict, saved in a file of its own")
    network = load_discriminator(tensors).float()
    judged, made = network.plan.in_channels, generator.plan.in_channels
    if judged != made:
        raise PilotageError(
            f"discriminator is {path}: it must be of images of {made} channels, as the generator, "
            f"and is of {judged}."
        )
    return network


def _recipe(
    settings: ImportDdganSettings, generator: NCSNpp, discriminator: Discriminator | None
) -> AdversarialRecipe:
    own = generator.settings
    network = settings_of(GeneratorSettings, own, ncsnpp=settings_of(NCSNppSettings, own))
    recipe = AdversarialRecipe(data=IMPORTED, p_uncond=1.0)
    if settings.preset is not None:
        recipe = PUBLISHED_GANS[settings.preset]
        check_preset(settings.preset, _flat(recipe.network), _flat(network))
    levels = {name: getattr(settings, name) for name in _LEVELS}
    recipe = recipe.replace(network=network, **levels)
    if discriminator is not None:
        own = discriminator.settings
        recipe = recipe.replace(discriminator=settings_of(DiscriminatorSettings, own))
    return recipe


def _flat(settings: GeneratorSettings) -> dict[str, Any]:
    return {**dict(settings.ncsnpp), **dict(settings)}


def _check_halvings(network: GeneratorSettings, size: tuple[int, int]) -> None:
    halvings = len(network.channel_mult) - 1
    if any(side % 2**halvings for side in size):
        raise PilotageError(
            f"size is {size}: both must be multiples of {2**halvings}, since the network halves "
            f"the size {halvings} times."
        )
