"""Checkpoints of guided-diffusion as run folders, and run folders as such checkpoints."""

import json
from pathlib import Path
from typing import Any

from torch import nn

from pilotage.errors import PilotageError
from pilotage.interop.adm.infer import is_classifier
from pilotage.interop.adm.networks import (
    export_classifier,
    export_config,
    export_unet,
    load_classifier,
    load_unet,
)
from pilotage.interop.adm.presets import PUBLISHED
from pilotage.interop.foreign_weights import read_weights
from pilotage.models.build import Scheduled
from pilotage.models.builders import build_model
from pilotage.models.run_folder import IMPORTED, Card, DataFacts, read_card, write_card
from pilotage.models.weights import fill
from pilotage.networks import UNet, UNetEncoder
from pilotage.settings import (
    ClassifierRecipe,
    EncoderSettings,
    ImportSettings,
    Recipe,
    Settings,
    UNetSettings,
)
from pilotage.utils.files import whole_folder, write_tensors, write_text


def import_adm(settings: ImportSettings) -> Card:
    """Make a run folder of a checkpoint, which samples, guides, sweeps and trains on as any other.

    Raises:
        PilotageError: naming the option that is missing or wrong, or the tensors that do not fit;
            nothing is written then.
    """
    settings = _with_options_beside(_with_preset(settings))
    _check_out(settings.out)
    tensors = read_weights(settings.checkpoint)
    if settings.schedule is None:
        raise PilotageError(
            "schedule is missing: the tensors do not tell the noise levels, linear or cosine."
        )
    load = load_classifier if is_classifier(tensors) else load_unet
    network = load(tensors, **_flags(settings)).float()
    card = Card(_recipe(network, settings), _facts(network, settings))
    with whole_folder(settings.out) as folder:
        write_card(folder, card)
        _write_weights(network, card, folder)
    return card


def _with_preset(settings: ImportSettings) -> ImportSettings:
    """The settings, with what a published file's name tells filled in.

    Raises:
        PilotageError: if there is no such name, or an option beside it says something else.
    """
    if settings.preset is None:
        return settings
    published = PUBLISHED.get(settings.preset)
    if published is None:
        raise PilotageError(
            f"preset is {settings.preset!r}: it must be one of {', '.join(PUBLISHED)}."
        )
    flags = dict(published.flags)
    size = flags.pop("image_size")
    known = {
        **flags,
        "size": (size, size),
        "schedule": published.schedule,
        "timesteps": published.timesteps,
    }
    for name in settings.model_fields_set & known.keys():
        if getattr(settings, name) not in (known[name], ImportSettings.model_fields[name].default):
            raise PilotageError(
                f"{name} is {getattr(settings, name)!r}: the preset {settings.preset} has "
                f"{known[name]!r}; give one of the two."
            )
    return settings.replace(**known)


def _with_options_beside(settings: ImportSettings) -> ImportSettings:
    """The settings, with what :func:`export_adm` wrote beside the checkpoint where none is given.

    Raises:
        PilotageError: if that file is damaged.
    """
    path = _beside(settings.checkpoint)
    if settings.preset is not None or not path.is_file():
        return settings
    try:
        told = dict(json.loads(path.read_text(encoding="utf-8"))["import"])
        told = {k: tuple(v) if isinstance(v, list) else v for k, v in told.items()}
        ImportSettings(**{**dict(settings), **told})
    except (ValueError, KeyError, TypeError, PilotageError) as error:
        raise PilotageError(f"{path} holds no options of an export ({error!r}).") from None
    fields = ImportSettings.model_fields
    unsaid = {k: v for k, v in told.items() if getattr(settings, k) == fields[k].default}
    return settings.replace(**unsaid)


def _beside(checkpoint: Path) -> Path:
    return checkpoint.with_name(f"{checkpoint.name}.json")


def _check_out(out: Path) -> None:
    if out.exists():
        raise PilotageError(f"out is {out}: it exists, and nothing is overwritten.")


def _flags(settings: ImportSettings) -> dict[str, Any]:
    names = ("head_channels", "heads", "heads_up", "attention_order", "num_res_blocks", "dropout")
    return {
        "image_size": settings.size,
        **{name: getattr(settings, name) for name in names},
    }


def _recipe(network: UNet | UNetEncoder, settings: ImportSettings) -> Recipe | ClassifierRecipe:
    shared = {
        "data": IMPORTED,
        "size": _size(network, settings),
        "schedule": settings.schedule,
        "timesteps": settings.timesteps,
        "lam_min": settings.lam_min,
        "lam_max": settings.lam_max,
    }
    if isinstance(network, UNetEncoder):
        return ClassifierRecipe(network=_network(network, settings, EncoderSettings), **shared)
    return Recipe(
        network=_network(network, settings, UNetSettings, null_class=settings.null_class),
        objective="hybrid" if network.settings["learned_variance"] else "simple",
        predicts=settings.predicts,
        p_uncond=0.1 if settings.null_class else 0.0,
        **shared,
    )


def _network(
    network: UNet | UNetEncoder, settings: ImportSettings, kind: type[Settings], **more: Any
) -> Any:
    own = {name: network.settings[name] for name in kind.model_fields if name in network.settings}
    if own.get("head_channels") is None:
        own.pop("head_channels", None)
    return kind(**{**own, "norm_groups": settings.norm_groups, **more})


def _size(network: UNet | UNetEncoder, settings: ImportSettings) -> tuple[int, int]:
    found = settings.size or network.settings.get("size")
    if found is None:
        raise PilotageError("size is missing: the tensors do not tell the height and width.")
    return tuple(found)


def _facts(network: UNet | UNetEncoder, settings: ImportSettings) -> DataFacts:
    own = network.settings
    count = own["classes"] if isinstance(network, UNetEncoder) else own["num_classes"] or 0
    if settings.null_class and count < 2:
        raise PilotageError(
            f"null_class is on: the checkpoint has {count} labels, and the last would be the null."
        )
    classes = _class_names(settings, count - settings.null_class)
    shape = (own["in_channels"], *_size(network, settings))
    return DataFacts(shape=shape, classes=classes, train=0, held_out=0, fingerprint=IMPORTED)


def _class_names(settings: ImportSettings, count: int) -> tuple[str, ...]:
    names, where = settings.classes, "classes"
    if settings.class_names is not None:
        names, where = _lines(settings.class_names), f"class_names is {settings.class_names}"
    if names is None:
        return tuple(str(k) for k in range(count))
    if len(names) != count:
        raise PilotageError(f"{where}: {len(names)} names, and the checkpoint has {count} classes.")
    return names


def _lines(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise PilotageError(f"class_names is {path}: it cannot be read ({error}).") from None


def _write_weights(network: nn.Module, card: Card, folder: Path) -> None:
    """Both kinds of weights, which are the same, and fit the network that the card describes."""
    for name in ("model", "ema"):
        write_tensors(folder / f"{name}.safetensors", network.state_dict(), step="0")
    fill(build_model(card).network, folder / "ema.safetensors")


def export_adm(run: Path, out: Path) -> dict[str, Any]:
    """Write a run's averaged weights with guided-diffusion's names and layout.

    Beside them, in ``OUT.json``, go the keywords of ``UNetModel`` or ``EncoderUNetModel`` and the
    options with which ``pilotage import adm`` makes the same run of it; it reads them itself.

    Returns:
        What the JSON holds.

    Raises:
        PilotageError: if the run is missing or damaged, has a learned schedule or Fourier
            features, or out has another ending.
    """
    if out.suffix != ".safetensors":
        raise PilotageError(f"out is {out}: it must end in .safetensors.")
    if out.exists():
        raise PilotageError(f"out is {out}: it exists, and nothing is overwritten.")
    card = read_card(run)
    network = build_model(card).network
    if isinstance(network, Scheduled):
        raise PilotageError(
            f"run is {run}: its schedule is learned, which guided-diffusion's layout cannot hold."
        )
    fill(network, run / "ema.safetensors")
    export = export_classifier if isinstance(network, UNetEncoder) else export_unet
    facts = {"config": export_config(network), "import": _options(card)}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(out, export(network))
    write_text(_beside(out), json.dumps(facts, indent=1) + "\n")
    return facts


def _options(card: Card) -> dict[str, Any]:
    """The options of the import that the tensors do not tell."""
    recipe, network = card.recipe, card.recipe.network
    heads = {"heads": network.heads} if network.heads else {"head_channels": network.head_channels}
    told = {
        "size": card.data.shape[1:],
        **heads,
        "classes": card.data.classes or None,
        "norm_groups": network.norm_groups,
        **recipe.noise_levels,
    }
    if recipe.task == "classifier":
        return {**told, "num_res_blocks": network.num_res_blocks}
    null = network.null_class and bool(card.data.classes)
    return {
        **told,
        "heads_up": network.heads_up,
        "predicts": recipe.predicts,
        "null_class": null,
    }
