"""Conditions: values in condition space, among them the null condition that means "none"."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pilotage.errors import PilotageError


class Labels(NamedTuple):
    """Class labels 0..K−1, with K as the null label.

    Attributes:
        classes: the names of the K classes, in order.
    """

    classes: tuple[str, ...]

    @property
    def null(self) -> int:
        """The null label, K."""
        return len(self.classes)

    def drop(self, labels: Int[Tensor, " B"], dropped: Bool[Tensor, " B"]) -> Int[Tensor, " B"]:
        """Labels with the null label where ``dropped``, each example on its own."""
        return torch.where(dropped, self.null, labels)

    def indices(self, wanted: Any) -> list[int]:
        """Labels as numbers, from "all", class names, or numbers (a name goes before a number).

        Without any classes, "all" is the null label.

        Raises:
            PilotageError: naming the label that does not exist.
        """
        several = isinstance(wanted, Iterable) and not isinstance(wanted, str)
        wanted = list(wanted) if several else [wanted]
        if wanted == ["all"]:
            return list(range(len(self.classes))) or [self.null]
        found = [self._index(label) for label in wanted]
        if not found:
            raise PilotageError("labels is empty: give at least one, or 'all'.")
        return found

    def _index(self, label: Any) -> int:
        if isinstance(label, str) and label in self.classes:
            return self.classes.index(label)
        number = int(label) if str(label).isdecimal() else -1
        if not 0 <= number < len(self.classes):
            if not self.classes and number == self.null:
                return number
            if not self.classes:
                raise PilotageError(f"labels has {label!r}: the run has no classes, only 'all'.")
            raise PilotageError(
                f"labels has {label!r}: allowed are 'all', a class name ({_some(self.classes)}) "
                f"or a number in 0..{len(self.classes) - 1}."
            )
        return number


def _some(names: tuple[str, ...], most: int = 10) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, ... {len(names)} in all"


def draw_dropped(uniform: Float[Tensor, " B"], p_uncond: float) -> Bool[Tensor, " B"]:
    """Which examples lose their condition: each with probability ``p_uncond``.

    Args:
        uniform: independent U[0, 1) numbers, one per example; 0 drops none and 1 drops all.
        p_uncond: the dropping rate (2207.12598, Algorithm 1, line 3).
    """
    return uniform < p_uncond
