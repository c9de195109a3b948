"""Generators of NVIDIA's denoising diffusion GANs as run folders (2112.07804)."""

from pathlib import Path
from typing import Any

from torch import Tensor

from pilotage.errors import PilotageError
from pilotage.interop.ddgan.infer import infer_levels
from pilotage.interop.ddgan.networks import load_discriminator, load_generator, stripped
from pilotage.interop.ddgan.presets import PUBLISHED_GANS
from pilotage.models.build import build_discriminator_network, build_model, few_steps
from pilotage.models.run_folder import IMPORTED, Card, DataFacts, write_card
from pilotage.models.weights import fill
from pilotage.networks.discriminator import Discriminator
from pilotage.networks.ncsnpp import NCSNpp
from pilotage.settings import (
    AdversarialRecipe,
    DiscriminatorSettings,
    GeneratorSettings,
    ImportDdganSettings,
    NCSNppOptions,
    NCSNppSettings,
    Settings,
)
from pilotage.training.state import DISCRIMINATOR
from pilotage.utils.files import whole_folder, write_tensors

_SCRIPTS_NAMES = {"resample_conv": "resamp_with_conv", "block": "resblock_type"}


def import_ddgan(settings: ImportDdganSettings) -> Card:
    """Make a run folder of a published generator, which samples, sweeps and trains on as any other.

    With its discriminator, training goes on with that one; the optimisers start afresh.

    Raises:
        PilotageError: naming the option that is missing or wrong, or the tensors that do not fit;
            nothing is written then.
    """
    published = _published(settings)
    if settings.out.exists():
        raise PilotageError(f"out is {settings.out}: it exists, and nothing is overwritten.")
    generator = _generator(settings)
    judge = None if settings.discriminator is None else _judge(settings.discriminator, generator)
    card = _card(published, settings, generator, judge)
    few_steps(card.recipe)  # refuses rates that give no levels
    with whole_folder(settings.out) as folder:
        write_card(folder, card)
        _write_weights(generator, judge, card, folder)
    return card


def _published(settings: ImportDdganSettings) -> AdversarialRecipe | None:
    """The recipe of the preset, if there is one.

    Raises:
        PilotageError: if there is no such name, or an option beside it says something else.
    """
    if settings.preset is None:
        _check_told(settings)
        return None
    if settings.preset not in PUBLISHED_GANS:
        raise PilotageError(
            f"preset is {settings.preset!r}: it must be one of {', '.join(PUBLISHED_GANS)}."
        )
    recipe = PUBLISHED_GANS[settings.preset]
    for name in ("size", "steps_T", "beta_min", "beta_max", "geometric"):
        given, known = getattr(settings, name), getattr(recipe, name)
        if given not in (known, ImportDdganSettings.model_fields[name].default):
            raise PilotageError(
                f"{name} is {given!r}: the preset {settings.preset} has {known!r}; give one of the "
                "two."
            )
    return recipe


def _check_told(settings: ImportDdganSettings) -> None:
    for name, what in (("size", "the height and width"), ("steps_T", "the network calls an image")):
        if getattr(settings, name) is None:
            raise PilotageError(
                f"{name} is missing: the tensors do not tell {what}; a preset would."
            )


def _generator(settings: ImportDdganSettings) -> NCSNpp:
    instead = "netG_*.pth of the same training, which holds the averaged weights"
    tensors, options = _tensors("checkpoint", settings.checkpoint, instead), settings.network
    levels = infer_levels(tensors, resampling_blocks=options.block != "ddpm")
    network = load_generator(tensors, {**levels, **_arguments(options)}).float()
    if network.plan.time_features == "fourier":
        raise PilotageError(
            f"checkpoint is {settings.checkpoint}: its network takes the logarithm of the time, "
            "which is 0 at the last step, so it makes no images."
        )
    return network


def _arguments(options: NCSNppOptions) -> dict[str, Any]:
    """The options as arguments of the published script."""
    told = {_SCRIPTS_NAMES.get(name, name): value for name, value in options}
    if options.block == "biggan_one":
        told["resblock_type"] = "biggan_oneadagn"
    return {"not_use_tanh": not told.pop("tanh"), **told}


def _tensors(option: str, path: Path, instead: str) -> dict[str, Tensor]:
    """The tensors of an option's file.

    Raises:
        PilotageError: if it cannot be read.
    """
    try:
        return stripped(path)
    except PilotageError as error:
        if path.name != "content.pth" or not path.is_file():
            raise
        raise PilotageError(
            f"{option} is {path}: beside tensors it holds the script's arguments, objects that "
            f"Pilotage does not unpickle; give {instead}."
        ) from error


def _judge(path: Path, generator: NCSNpp) -> Discriminator:
    tensors = _tensors("discriminator", path, "its netD_dict, saved in a file of its own")
    network = load_discriminator(tensors).float()
    judged, made = network.plan.in_channels, generator.plan.in_channels
    if judged != made:
        raise PilotageError(
            f"discriminator is {path}: it judges images of {judged} channels, and the generator's "
            f"have {made}."
        )
    return network


def _card(
    published: AdversarialRecipe | None,
    settings: ImportDdganSettings,
    generator: NCSNpp,
    judge: Discriminator | None,
) -> Card:
    recipe = published or AdversarialRecipe(
        data=IMPORTED,
        size=settings.size,
        steps_T=settings.steps_T,
        beta_min=settings.beta_min,
        beta_max=settings.beta_max,
        geometric=settings.geometric,
        p_uncond=1.0,
    )
    network = _network_settings(generator)
    if published is not None:
        _check_same(published.network, network, settings.preset)
    recipe = recipe.replace(network=network)
    if judge is not None:
        recipe = recipe.replace(discriminator=_judge_settings(judge))
    factor = 2 ** (len(network.channel_mult) - 1)
    if any(side % factor for side in recipe.size):
        raise PilotageError(
            f"size is {recipe.size}: both must be multiples of {factor}, since the network halves "
            f"the size {len(network.channel_mult) - 1} times."
        )
    shape = (generator.plan.in_channels, *recipe.size)
    facts = DataFacts(shape=shape, classes=(), train=0, held_out=0, fingerprint=IMPORTED)
    return Card(recipe, facts)


def _network_settings(network: NCSNpp) -> GeneratorSettings:
    own = network.settings
    return GeneratorSettings(
        ncsnpp=NCSNppSettings(**_those_of(NCSNppSettings, own)), **_those_of(GeneratorSettings, own)
    )


def _judge_settings(network: Discriminator) -> DiscriminatorSettings:
    return DiscriminatorSettings(**_those_of(DiscriminatorSettings, network.settings))


def _those_of(kind: type[Settings], values: dict[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in kind.model_fields if name in values}


def _check_same(published: GeneratorSettings, found: GeneratorSettings, preset: str) -> None:
    for known, given in ((published, found), (published.ncsnpp, found.ncsnpp)):
        for name, value in known:
            if name != "ncsnpp" and getattr(given, name) != value:
                raise PilotageError(
                    f"preset is {preset}: its {name} is {value!r}, and the checkpoint's or the "
                    f"option's {getattr(given, name)!r}."
                )


def _write_weights(
    generator: NCSNpp, judge: Discriminator | None, card: Card, folder: Path
) -> None:
    """All files of weights, which fit the networks that the card describes."""
    for name in ("model", "ema"):
        write_tensors(folder / f"{name}.safetensors", generator.state_dict(), step="0")
    fill(build_model(card).network, folder / "ema.safetensors")
    if judge is not None:
        write_tensors(folder / DISCRIMINATOR, judge.state_dict(), step="0")
        fill(build_discriminator_network(card), folder / DISCRIMINATOR)
