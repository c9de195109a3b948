"""Training and held-out indices, the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import no_type_check

import numpy as np

from pilotage.errors import PilotageError


@no_type_check
def check_split(held_out: float, seed: int) -> None:
    """Raise PilotageError unless 0 <= held_out < 1 and seed is a whole number from 0."""
    if not isinstance(held_out, Real) or isinstance(held_out, bool) or not 0 <= held_out < 1:
        raise PilotageError(
            f"data: held_out={held_out!r} is not allowed; give a fraction from 0 up to, but not "
            "including, 1"
        )
    if not isinstance(seed, Integral) or isinstance(seed, bool) or seed < 0:
        raise PilotageError(f"data: seed={seed!r} is not allowed; give a whole number from 0 up")


def hold_out(
    labels: np.ndarray, fraction: float, seed: int, say: Callable[[str], None] = print
) -> tuple[np.ndarray, np.ndarray]:
    """Split indices class by class.

    Args:
        labels: int64 (N,).
        fraction: Of each class, rounded to whole images; at least one image stays for training.
        seed: Draws which images; no other random state is read or changed.
        say: Told if classes are too small to hold anything out.

    Returns:
        Training and held-out indices, each rising and int64, together `range(N)`.
    """
    held = np.zeros(len(labels), bool)
    too_small = 0
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(int(len(members) * fraction + 0.5), len(members) - 1)
        order = np.random.default_rng([seed, int(label)]).permutation(members)
        held[order[:count]] = True
        too_small += count == 0
    if fraction > 0 and too_small:
        say(f"data: {too_small} classes are too small to hold out {fraction:g} of their images")
    return np.flatnonzero(~held), np.flatnonzero(held)
