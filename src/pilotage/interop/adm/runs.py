"""Checkpoints of guided-diffusion as run folders, and run folders as such checkpoints."""

import json
from pathlib import Path
from typing import Any

from pilotage.errors import PilotageError
from pilotage.interop.adm.infer import is_classifier
from pilotage.interop.adm.published import PUBLISHED, Published, export_config
from pilotage.interop.adm.tensors import export_classifier, export_unet, load_classifier, load_unet
from pilotage.interop.foreign_weights import read_weights
from pilotage.interop.imported_run import (
    built_network,
    check_free,
    imported_data,
    required,
    settings_of,
    with_preset,
    write_run,
)
from pilotage.models.build import Scheduled
from pilotage.models.run_folder import IMPORTED, Card, fill, read_card
from pilotage.networks import UNet, UNetEncoder
from pilotage.settings import (
    ClassifierRecipe,
    EncoderSettings,
    ImportSettings,
    Recipe,
    UNetSettings,
)
from pilotage.utils.files import whole_folder, write_tensors, write_text
from pilotage.utils.parsing import parse_json

# options of an import that are flags of `infer_config`, by the same name
_FLAGS = ("head_channels", "heads", "heads_up", "attention_order", "num_res_blocks", "dropout")


def import_adm(settings: ImportSettings) -> Card:
    """Convert a checkpoint to a run folder, for sampling, guidance, sweeps and further training.

    Raises:
        PilotageError: naming the option that is missing or wrong, or the tensors that do not fit;
            nothing is written then.
    """
    settings = _with_exported_options(with_preset(settings, PUBLISHED, _known))
    check_free(settings.out)
    tensors = read_weights(settings.checkpoint, settings.key)
    required("schedule", settings.schedule, "the noise levels, linear or cosine")
    flags = {name: getattr(settings, name) for name in _FLAGS}
    load = load_classifier if is_classifier(tensors) else load_unet
    network = load(tensors, image_size=settings.size, **flags).float()
    card = _card(network, settings)
    with whole_folder(settings.out) as folder:
        write_run(folder, card, network)
    return card


def _known(published: Published) -> dict[str, Any]:
    """Return the options of an import that a published checkpoint determines."""
    flags = dict(published.flags)
    side = flags.pop("image_size")
    own = {"schedule": published.schedule, "timesteps": published.timesteps}
    return {**flags, **own, "size": (side, side)}


def _with_exported_options(settings: ImportSettings) -> ImportSettings:
    """Complete the settings by the options in the JSON file of :func:`export_adm`.

    Raises:
        PilotageError: if that file is damaged.
    """
    path = _options_file(settings.checkpoint)
    if settings.preset is not None or not path.is_file():
        return settings
    try:
        exported = dict(parse_json(path.read_bytes())["import"])
        exported = {k: tuple(v) if isinstance(v, list) else v for k, v in exported.items()}
        ImportSettings(**{**dict(settings), **exported})
    except (ValueError, KeyError, TypeError, PilotageError) as error:
        raise PilotageError(f"{path} must hold the options of an export ({error!r}).") from None
    fields = ImportSettings.model_fields
    missing = {k: v for k, v in exported.items() if getattr(settings, k) == fields[k].default}
    return settings.replace(**missing)


def _options_file(checkpoint: Path) -> Path:
    return checkpoint.with_name(f"{checkpoint.name}.json")


def _card(network: UNet | UNetEncoder, settings: ImportSettings) -> Card:
    own = network.settings
    size = required("size", settings.size or own.get("size"), "the height and width")
    shared = {
        "data": IMPORTED,
        "size": tuple(size),
        "schedule": settings.schedule,
        "timesteps": settings.timesteps,
        "lam_min": settings.lam_min,
        "lam_max": settings.lam_max,
    }
    groups = {"norm_groups": settings.norm_groups}
    recipe: Recipe | ClassifierRecipe
    if isinstance(network, UNetEncoder):
        recipe = ClassifierRecipe(network=settings_of(EncoderSettings, own, **groups), **shared)
    else:
        null = settings.null_class
        recipe = Recipe(
            network=settings_of(UNetSettings, own, null_class=null, **groups),
            objective="hybrid" if own["learned_variance"] else "simple",
            predicts=settings.predicts,
            p_uncond=0.1 if null else 0.0,
            **shared,
        )
    return Card(recipe, imported_data((own["in_channels"], *size), _classes(network, settings)))


def _classes(network: UNet | UNetEncoder, settings: ImportSettings) -> tuple[str, ...]:
    """Return the class names without the null class; numbers by default."""
    own = network.settings
    labels = own["classes"] if isinstance(network, UNetEncoder) else own["num_classes"] or 0
    if settings.null_class and labels < 2:
        raise PilotageError(
            "null_class is on: the checkpoint must have at least 2 labels, of which the last is "
            f"the null, and has {labels}."
        )
    names, where, count = settings.classes, "classes", labels - settings.null_class
    if settings.class_names is not None:
        names, where = _lines(settings.class_names), f"class_names is {settings.class_names}"
    if names is None:
        return tuple(str(k) for k in range(count))
    if len(names) != count:
        raise PilotageError(
            f"{where}: it has {len(names)} names, and must have {count}, one per class."
        )
    return names


def _lines(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise PilotageError(
            f"class_names is {path}: it must be a readable text file ({error})."
        ) from None


def export_adm(run: Path, out: Path) -> dict[str, Any]:
    """Write a run's averaged weights with guided-diffusion's names and layout.

    ``OUT.json`` holds the keywords of ``UNetModel`` or ``EncoderUNetModel`` and the options that
    ``pilotage import adm`` reads to restore the same run.

    Returns:
        The content of the JSON file.

    Raises:
        PilotageError: if the run is missing or damaged, has a learned schedule, Fourier features
            or another network than ADM's, or out has another ending.
    """
    if out.suffix != ".safetensors":
        raise PilotageError(f"out is {out}: it must end in .safetensors.")
    check_free(out)
    card = read_card(run)
    network = built_network(card)
    if isinstance(network, Scheduled):
        raise PilotageError(
            f"run is {run}: it must have a fixed schedule, for guided-diffusion's layout."
        )
    if not isinstance(network, UNet | UNetEncoder):
        raise PilotageError(
            f"run is {run}: its network is a {type(network).__name__}, and must be a UNet or a "
            "UNetEncoder for guided-diffusion's layout."
        )
    fill(network, run / "ema.safetensors")
    facts = {"config": export_config(network), "import": _options(card)}
    tensors = export_unet(network) if isinstance(network, UNet) else export_classifier(network)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(out, tensors)
    write_text(_options_file(out), json.dumps(facts, indent=1) + "\n")
    return facts


def _options(card: Card) -> dict[str, Any]:
    """Return the options of an import that tensors do not determine."""
    recipe, network = card.recipe, card.recipe.network
    heads = {"heads": network.heads} if network.heads else {"head_channels": network.head_channels}
    shared = {
        "size": card.data.shape[1:],
        **heads,
        "classes": card.data.classes or None,
        "norm_groups": network.norm_groups,
        **recipe.noise_levels,
    }
    if recipe.task == "classifier":
        return {**shared, "num_res_blocks": network.num_res_blocks}
    return {
        **shared,
        "heads_up": network.heads_up,
        "predicts": recipe.predicts,
        "null_class": network.null_class and bool(card.data.classes),
    }
