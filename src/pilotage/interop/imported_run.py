"""What the imports of all origins share: checks of their options, and the run folder."""

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
    """Raise a `PilotageError` if there is anything under that name."""
    if out.exists():
        raise PilotageError(f"out is {out}: it exists, and nothing is overwritten.")


def required(name: str, value: Value | None, what: str) -> Value:
    """Return an option's value, or raise a `PilotageError` if it is None.

    Args:
        name: the option.
        value: what it was set to.
        what: the fact that the tensors leave open.
    """
    if value is None:
        raise PilotageError(
            f"{name} is missing: the tensors leave {what} open; give it, or a preset."
        )
    return value


def with_preset(
    options: Options, presets: Mapping[str, Value], known: Callable[[Value], dict[str, Any]]
) -> Options:
    """The options, with the facts of their preset filled in; as they are without a preset.

    Args:
        options: of an import.
        presets: by name.
        known: preset -> the values of the options that it decides.

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
                f"{name} is {given!r}: the preset {options.preset} has {value!r}; give one of the "
                "two."
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
                f"preset is {preset}: its {name} is {value!r}, and the checkpoint's or the "
                f"option's {found[name]!r}."
            )


def imported_data(shape: tuple[int, ...], classes: tuple[str, ...] = (), **more: Any) -> DataFacts:
    """The facts of data that are not there: only their shape and classes are known."""
    return DataFacts(
        shape=shape, classes=classes, train=0, held_out=0, fingerprint=IMPORTED, **more
    )


def settings_of(kind: type[Kind], own: Mapping[str, Any], **changes: Any) -> Kind:
    """A recipe's settings of a network, from the network's own.

    Args:
        kind: the class; what it has no field for is left out.
        own: the arguments that rebuild the network; None is a field's default.
        **changes: fields that have other values.
    """
    found = {name: own[name] for name in kind.model_fields if own.get(name) is not None}
    return kind(**{**found, **changes})


def write_run(folder: Path, card: Card, network: nn.Module) -> None:
    """Write the card, and the network's weights as both the latest and their average.

    Raises:
        PilotageError: if the network that the card describes has other weights.
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
    """The network that a card describes, with its initial weights."""
    return builder_of(card).network(card)
