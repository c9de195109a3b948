"""Common parts of all imports: checks of options, and the run folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from pilotage.errors import PilotageError
from pilotage.models.build import builder_of
from pilotage.models.run_folder import IMPORTED, Card, DataFacts, fill, not_finite, write_card
from pilotage.settings import ImportDdganSettings, ImportGlideSettings, ImportSettings, Settings
from pilotage.utils.files import write_tensors

Value = TypeVar("Value")
Options = TypeVar("Options", ImportSettings, ImportDdganSettings, ImportGlideSettings)
Kind = TypeVar("Kind", bound=Settings)


def check_free(out: Path) -> None:
    """Raise a `PilotageError` if the path exists."""
    if out.exists():
        raise PilotageError(f"out is {out}: it must not exist, since nothing is overwritten.")


def required(name: str, value: Value | None, what: str) -> Value:
    """Return an option's value, or raise a `PilotageError` if it is None.

    Args:
        name: the option.
        value: what it was set to.
        what: the fact that tensors do not determine.
    """
    if value is None:
        raise PilotageError(
            f"{name} is missing: it must be given, or a preset, since tensors do not determine "
            f"{what}."
        )
    return value


def with_preset(
    options: Options, presets: Mapping[str, Value], known: Callable[[Value], dict[str, Any]]
) -> Options:
    """Complete the options by the facts of their preset, if there is one.

    Args:
        options: of an import.
        presets: by name.
        known: preset -> the options that it determines.

    Raises:
        PilotageError: if there is no such preset, or an option has another value than it.
    """
    if options.preset is None:
        return options
    if options.preset not in presets:
        raise PilotageError(
            f"preset is {options.preset!r}: it must be one of {', '.join(presets)}."
        )
    facts = known(presets[options.preset])
    for name, value in facts.items():
        given, default = getattr(options, name), type(options).model_fields[name].default
        if given not in (value, default):
            raise PilotageError(
                f"{name} is {given!r}: it must be left out or {value!r}, as in the preset "
                f"{options.preset}."
            )
    return options.replace(**facts)


def check_preset(preset: str, known: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Refuse a network that is not the preset's.

    Args:
        preset: its name.
        known: settings of the preset's network.
        found: the same settings of the checkpoint's network.

    Raises:
        PilotageError: naming the first setting that differs.
    """
    for name, value in known.items():
        if found[name] != value:
            raise PilotageError(
                f"preset is {preset}: {name} must be {value!r}, and is {found[name]!r} in the "
                "checkpoint or the options."
            )


def imported_data(shape: tuple[int, ...], classes: tuple[str, ...] = (), **more: Any) -> DataFacts:
    """Return the facts of absent data, of which only shape and classes are known."""
    return DataFacts(
        shape=shape, classes=classes, train=0, held_out=0, fingerprint=IMPORTED, **more
    )


def settings_of(kind: type[Kind], own: Mapping[str, Any], **changes: Any) -> Kind:
    """Convert a network's settings to those of a recipe.

    Args:
        kind: the class; arguments without a field are left out.
        own: the arguments that rebuild the network; None is a field's default.
        **changes: fields with other values.
    """
    found = {name: own[name] for name in kind.model_fields if own.get(name) is not None}
    return kind(**{**found, **changes})


def write_run(folder: Path, card: Card, network: nn.Module) -> None:
    """Write the card, and the network's weights as both the latest and their average.

    Raises:
        PilotageError: if the network of the card has other weights.
    """
    wrong = not_finite(network.state_dict())
    if wrong is not None:
        raise PilotageError(
            f"checkpoint has {wrong} with numbers that are not finite: it is damaged, or diverged."
        )
    write_card(folder, card)
    for name in ("model", "ema"):
        write_tensors(folder / f"{name}.safetensors", network.state_dict(), step="0")
    fill(built_network(card), folder / "ema.safetensors")


def built_network(card: Card) -> nn.Module:
    """Build the network of a card, with initial weights."""
    return builder_of(card).network(card)
