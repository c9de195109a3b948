"""Validation of network settings and of input shapes."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from pilotage.errors import PilotageError


def positive_int(name: str, value: Any) -> int:
    """Return ``value``, or raise a `PilotageError` unless it is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise PilotageError(f"{name} is {value!r}: it must be a whole number of at least 1.")
    return value


def fraction(name: str, value: Any) -> float:
    """Return ``value``, or raise a `PilotageError` unless it lies in [0, 1)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise PilotageError(f"{name} is {value!r}: it must be a number in [0, 1).")
    return value


def is_number(value: Any) -> bool:
    """Whether a setting is a whole or real number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def one_of(name: str, value: Any, allowed: Iterable[str]) -> None:
    """Raise a `PilotageError` unless ``value`` is one of those allowed."""
    if value not in allowed:
        raise PilotageError(f"{name} is {value!r}: it must be one of {', '.join(allowed)}.")


def class_settings(num_classes: int | None, null_class: bool) -> None:
    """Raise a `PilotageError` unless the class settings of a network are consistent."""
    if num_classes is not None:
        positive_int("num_classes", num_classes)
    elif null_class:
        raise PilotageError(
            "null_class is True but num_classes is None: it must be at least 1, for a null label."
        )


def check_input(x: Tensor, time: Tensor, channels: int) -> None:
    """Raise a `PilotageError` unless x is (B, channels, H, W) and time (B,)."""
    if x.ndim != 4 or x.shape[1] != channels or x.shape[:1] != time.shape:
        raise PilotageError(
            f"x has shape {tuple(x.shape)} and time {tuple(time.shape)}: they must be "
            f"(B, {channels}, H, W) and (B,)."
        )
