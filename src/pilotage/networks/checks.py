"""Settings of a network, checked before anything is built."""

from typing import Any

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


def class_settings(num_classes: int | None, null_class: bool) -> None:
    """Raise a `PilotageError` unless the class labels of a network make sense."""
    if num_classes is not None:
        positive_int("num_classes", num_classes)
    elif null_class:
        raise PilotageError(
            "null_class is True but num_classes is None: a null label needs a class-conditional "
            "network, with num_classes of at least 1."
        )
