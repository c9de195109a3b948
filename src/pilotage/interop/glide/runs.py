"""OpenAI's GLIDE as run folders on captions (2112.10741)."""

from typing import Any

import torch

from pilotage.conditions import ByteLevelBPE, Tokens
from pilotage.errors import PilotageError
from pilotage.interop.foreign_weights import read_weights
from pilotage.interop.glide.published import PUBLISHED_GLIDE, glide_recipe
from pilotage.interop.glide.tensors import load_text_unet
from pilotage.interop.glide.tokenizer import glide_tokenizer
from pilotage.interop.imported_run import (
    built_network,
    check_free,
    check_preset,
    imported_data,
    required,
    settings_of,
    with_preset,
    write_run,
)
from pilotage.models.build import build_schedule
from pilotage.models.run_folder import CONDITIONS, Card
from pilotage.networks.text_unet import TextUNet
from pilotage.settings import ImportGlideSettings, TextRecipe, TextUNetSettings
from pilotage.utils.files import whole_folder

# options of an import that are flags of `load_text_unet`
_FLAGS = ("heads", "head_channels", "heads_up", "text_heads", "dropout", "in_channels")


def import_glide(settings: ImportGlideSettings) -> Card:
    """Convert a network of GLIDE to a run folder on captions.

    The published tokenizer becomes part of it. An upsampler is a cascade's second run; further
    training uses noise conditioning augmentation (``augment``), unlike any published account.

    Raises:
        PilotageError: naming the option that is missing or wrong, or the tensors that do not fit;
            nothing is written then.
    """
    settings = with_preset(settings, PUBLISHED_GLIDE, _known)
    check_free(settings.out)
    size = required("size", settings.size, "the height and width")
    flags = {name: getattr(settings, name) for name in _FLAGS}
    network = load_text_unet(read_weights(settings.checkpoint, settings.key), **flags).float()
    if settings.preset is not None:
        recipe = PUBLISHED_GLIDE[settings.preset]
        check_preset(settings.preset, _published_settings(recipe, size), network.settings)
    recipe = _recipe(network, settings, size)
    build_schedule(recipe)  # refuses too few timesteps
    tokenizer = _tokenizer(network, settings)
    shape = (network.plan.in_channels, *size)
    data = imported_data(shape, tokenizer=tokenizer.hash, vocabulary=tokenizer.size)
    card = Card(recipe, data)
    with whole_folder(settings.out) as folder:
        write_run(folder, card, network)
        Tokens(tokenizer).save(folder / CONDITIONS)
    return card


def _known(recipe: TextRecipe) -> dict[str, Any]:
    """Return the options of an import that a published network determines."""
    facts = {**dict(recipe.network), **dict(recipe)}
    del facts["vocabulary"]  # a number there, a file here
    return {name: facts[name] for name in ImportGlideSettings.model_fields if name in facts}


def _published_settings(recipe: TextRecipe, size: tuple[int, int]) -> dict[str, Any]:
    """Return the settings of a published network."""
    data = imported_data((3, *size), vocabulary=recipe.vocabulary)
    with torch.device("meta"):
        network: Any = built_network(Card(recipe, data))
    return dict(network.settings)


def _recipe(network: TextUNet, settings: ImportGlideSettings, size: tuple[int, int]) -> TextRecipe:
    plan = network.plan
    if plan.outputs not in (plan.in_channels, 2 * plan.in_channels):
        raise PilotageError(
            f"checkpoint is {settings.checkpoint}: its network must be a denoiser, and has "
            f"{plan.outputs} output channels for images of {plan.in_channels}."
        )
    _check_low_res(plan.low_res, settings.low_res, size)
    unlike = {name: getattr(settings, name) for name in ("schedule", "p_uncond")}
    return glide_recipe(
        size=size,
        low_res=settings.low_res,
        inpaint=plan.inpaint,
        vocabulary=plan.vocabulary,
        context=plan.context,
        timesteps=settings.timesteps,
        objective="hybrid" if plan.learned_variance else "simple",
        network=settings_of(TextUNetSettings, network.settings),
        **{name: value for name, value in unlike.items() if value is not None},
    )


def _check_low_res(enlarges: bool, low_res: tuple[int, int] | None, size: tuple[int, int]) -> None:
    if not enlarges:
        if low_res is not None:
            raise PilotageError(
                f"low_res is {low_res}: it must be left out, since the network is no upsampler."
            )
        return
    low = required("low_res", low_res, "the height and width that the network enlarges")
    if any(b % a for a, b in zip(low, size, strict=True)):
        raise PilotageError(f"low_res is {low}: it must divide size, {size}.")


def _tokenizer(network: TextUNet, settings: ImportGlideSettings) -> ByteLevelBPE:
    plan = network.plan
    tokenizer = glide_tokenizer(settings.vocabulary, settings.merges, plan.context)
    if tokenizer.size != plan.vocabulary:
        raise PilotageError(
            f"vocabulary is {settings.vocabulary}: it has {tokenizer.size} ids, and must have "
            f"{plan.vocabulary} for the checkpoint's network."
        )
    return tokenizer
