"""Checks of what every metric takes."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pilotage.errors import PilotageError

Floats = NDArray[np.float64]


def matrix(values: ArrayLike, name: str) -> NDArray[Any]:
    """``values`` as a finite numeric array (N, D) in its own dtype, not copied.

    Raises:
        PilotageError: if it has another rank, no rows or columns, or a NaN or infinity in it.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise PilotageError(f"{name} holds {array.dtype}: it must hold real numbers.")
    if array.ndim != 2 or 0 in array.shape:
        raise PilotageError(
            f"{name} has shape {array.shape}: it must be (N, D), one row per image, "
            "with at least one row and one column."
        )
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):
        raise PilotageError(f"{name} holds a NaN or an infinity: every feature must be finite.")
    return array


def pair(real: ArrayLike, fake: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both sets, checked, with as many features each."""
    a, b = matrix(real, "real"), matrix(fake, "fake")
    same_dims(a.shape[1], b.shape[1])
    return a, b


def same_dims(real: int, fake: int) -> None:
    """Refuse sets of different features."""
    if real != fake:
        raise PilotageError(
            f"real has {real} features and fake has {fake}: both must come from one extractor."
        )


def whole(value: object, name: str, low: int, high: int | None = None, why: str = "") -> int:
    """``value`` as an int within low..high.

    Args:
        value: what the user gave.
        name: what the user calls it.
        low: the least that is allowed.
        high: the most that is allowed, or None.
        why: what sets the upper limit, for the message.
    """
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        number = int(value)
        if number >= low and (high is None or number <= high):
            return number
    limit = f"at least {low}" if high is None else f"from {low} to {high}{why}"
    raise PilotageError(f"{name} is {value!r}: it must be a whole number, {limit}.")
