"""OpenAI's GLIDE as run folders on captions (2112.10741)."""

from typing import Any

import torch

from pilotage.conditions import ByteLevelBPE, Tokens
from pilotage.errors import PilotageError
from pilotage.interop.glide.networks import load_text_unet
from pilotage.interop.glide.presets import PUBLISHED_GLIDE, glide_recipe
from pilotage.interop.glide.tokens import glide_tokenizer
from pilotage.models.build import build_schedule, build_text_network
from pilotage.models.run_folder import CONDITIONS, IMPORTED, Card, DataFacts, write_card
from pilotage.networks.text_unet import TextUNet
from pilotage.settings import ImportGlideSettings, TextRecipe, TextUNetSettings
from pilotage.utils.files import whole_folder, write_tensors


def import_glide(settings: ImportGlideSettings) -> Card:
    """Make a run folder of a network of GLIDE, which samples and trains on as any run on captions.

    The published tokenizer becomes part of it. A network that enlarges is a cascade's second run;
    training on adds noise to what it enlarges (``augment``), which no source says of its training.

    Raises:
        PilotageError: naming the option that is missing or wrong, or the tensors that do not fit;
            nothing is written then.
    """
    settings = _with_preset(settings)
    _check_told(settings)
    network = load_text_unet(settings.checkpoint, **_flags(settings)).float()
    if settings.preset is not None:
        _check_same(network, settings.preset)
    recipe = _recipe(network, settings)
    build_schedule(recipe)  # refuses too few timesteps
    tokenizer = _tokenizer(network, settings)
    card = Card(recipe, _facts(recipe, network, tokenizer))
    with whole_folder(settings.out) as folder:
        write_card(folder, card)
        for name in ("model", "ema"):
            write_tensors(folder / f"{name}.safetensors", network.state_dict(), step="0")
        Tokens(tokenizer).save(folder / CONDITIONS)
    return card


def _with_preset(settings: ImportGlideSettings) -> ImportGlideSettings:
    """The settings, with what a published name tells filled in.

    Raises:
        PilotageError: if there is no such name, or an option beside it says something else.
    """
    if settings.preset is None:
        return settings
    if settings.preset not in PUBLISHED_GLIDE:
        raise PilotageError(
            f"preset is {settings.preset!r}: it must be one of {', '.join(PUBLISHED_GLIDE)}."
        )
    fields = ImportGlideSettings.model_fields
    recipe = PUBLISHED_GLIDE[settings.preset]
    told = {**dict(recipe.network), **dict(recipe)}
    known = {name: told[name] for name in fields.keys() & told.keys() - {"vocabulary"}}
    for name, value in known.items():
        if getattr(settings, name) not in (value, fields[name].default):
            raise PilotageError(
                f"{name} is {getattr(settings, name)!r}: the preset {settings.preset} has "
                f"{value!r}; give one of the two."
            )
    return settings.replace(**known)


def _check_told(settings: ImportGlideSettings) -> None:
    """Refuse what can be refused before a large file is read."""
    if settings.out.exists():
        raise PilotageError(f"out is {settings.out}: it exists, and nothing is overwritten.")
    if settings.size is None:
        raise PilotageError(
            "size is missing: the tensors do not tell the height and width; a preset would."
        )


def _flags(settings: ImportGlideSettings) -> dict[str, Any]:
    names = ("heads", "head_channels", "heads_up", "text_heads", "dropout", "in_channels")
    return {name: getattr(settings, name) for name in names}


def _check_same(network: TextUNet, preset: str) -> None:
    """Refuse a checkpoint of another network than the preset's.

    Raises:
        PilotageError: naming what differs.
    """
    recipe = PUBLISHED_GLIDE[preset]
    facts = DataFacts(
        shape=(3, *recipe.size),
        classes=(),
        train=0,
        held_out=0,
        fingerprint=IMPORTED,
        vocabulary=recipe.vocabulary,
    )
    with torch.device("meta"):
        published = build_text_network(Card(recipe, facts)).settings
    for name, value in network.settings.items():
        if value != published[name]:
            raise PilotageError(
                f"preset is {preset}: its {name} is {published[name]!r}, and the checkpoint's "
                f"{value!r}."
            )


def _recipe(network: TextUNet, settings: ImportGlideSettings) -> TextRecipe:
    plan, own = network.plan, network.settings
    if plan.outputs not in (plan.in_channels, 2 * plan.in_channels):
        raise PilotageError(
            f"checkpoint is {settings.checkpoint}: its network makes {plan.outputs} channels of "
            f"images of {plan.in_channels}, so it is no denoiser."
        )
    _check_low_res(plan.low_res, settings)
    fields = {name: own[name] for name in TextUNetSettings.model_fields if own[name] is not None}
    unlike = {name: getattr(settings, name) for name in ("schedule", "p_uncond")}
    return glide_recipe(
        size=settings.size,
        low_res=settings.low_res,
        inpaint=plan.inpaint,
        vocabulary=plan.vocabulary,
        context=plan.context,
        timesteps=settings.timesteps,
        objective="hybrid" if plan.learned_variance else "simple",
        network=TextUNetSettings(**fields),
        **{name: value for name, value in unlike.items() if value is not None},
    )


def _check_low_res(enlarges: bool, settings: ImportGlideSettings) -> None:
    low = settings.low_res
    if enlarges and low is None:
        raise PilotageError(
            "low_res is missing: the checkpoint's network enlarges, and the tensors do not tell "
            "the height and width that it starts from; a preset would."
        )
    if low is not None and not enlarges:
        raise PilotageError(f"low_res is {low}: the checkpoint's network does not enlarge.")
    if low is not None and any(b % a for a, b in zip(low, settings.size, strict=True)):
        raise PilotageError(f"low_res is {low}: it must divide size, {settings.size}.")


def _tokenizer(network: TextUNet, settings: ImportGlideSettings) -> ByteLevelBPE:
    plan = network.plan
    tokenizer = glide_tokenizer(settings.vocabulary, settings.merges, plan.context)
    if tokenizer.size != plan.vocabulary:
        raise PilotageError(
            f"vocabulary is {settings.vocabulary}: it has {tokenizer.size} ids, and the "
            f"checkpoint's network {plan.vocabulary}."
        )
    return tokenizer


def _facts(recipe: TextRecipe, network: TextUNet, tokenizer: ByteLevelBPE) -> DataFacts:
    return DataFacts(
        shape=(network.plan.in_channels, *recipe.size),
        classes=(),
        train=0,
        held_out=0,
        fingerprint=IMPORTED,
        tokenizer=tokenizer.hash,
        vocabulary=tokenizer.size,
    )
