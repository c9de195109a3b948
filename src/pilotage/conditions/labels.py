"""Class labels as conditions."""

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from pilotage.conditions.stored import write_facts
from pilotage.errors import PilotageError, did_you_mean


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
        """Replace labels by the null label where ``dropped``."""
        return torch.where(dropped, self.null, labels)

    def collate(self, labels: Sequence[int | None]) -> Int[Tensor, " B"]:
        """Collate labels to a batch; None is the null label.

        Raises:
            PilotageError: if a number is no label.
        """
        numbers = [self.null if label is None else label for label in labels]
        for number in numbers:
            if not 0 <= number <= self.null:
                raise PilotageError(f"labels has {number}: it must lie in 0..{self.null}.")
        return torch.tensor(numbers, dtype=torch.int64)

    def save(self, folder: str | PathLike[str]) -> None:
        """Write what :func:`pilotage.conditions.load_space` reads."""
        write_facts(folder, {"kind": "labels", "classes": list(self.classes)})

    def values(self, given: Any) -> list[int]:
        """Return labels as numbers, from class names or numbers.

        A text that is the name of one class and the number of another is refused; ``name:TEXT`` and
        ``number:TEXT`` say which is meant. None and "all" mean every class; without classes, the
        null label.

        Raises:
            PilotageError: if a label does not exist.
        """
        several = isinstance(given, Iterable) and not isinstance(given, str)
        given = list(given) if several else [given]
        if given in (["all"], [None]):
            return list(range(len(self.classes))) or [self.null]
        found = [self._index(label) for label in given]
        if not found:
            raise PilotageError("labels is empty: it must have at least one, or be 'all'.")
        return found

    def _index(self, label: Any) -> int:
        if isinstance(label, str) and label in self.classes:
            found = self.classes.index(label)
            number = _number(label)
            if 0 <= number < len(self.classes) and number != found:
                raise PilotageError(
                    f"labels has {label!r}: it is the name of class {found} and the number of "
                    f"{self.classes[number]!r}; write name:{label} or number:{label}."
                )
            return found
        kind, _, rest = str(label).partition(":")
        if kind == "name" and rest in self.classes:
            return self.classes.index(rest)
        label = rest if kind == "number" else label
        number = _number(str(label))
        if not 0 <= number < len(self.classes):
            if not self.classes and number == self.null:
                return number
            if not self.classes:
                raise PilotageError(
                    f"labels has {label!r}: it must be 'all', since the run has no classes."
                )
            raise PilotageError(
                f"labels has {label!r}: it must be 'all', a class name ({_some(self.classes)}) "
                f"or a number in 0..{len(self.classes) - 1}."
                f"{did_you_mean(str(label), self.classes)}"
            )
        return number


def _number(text: str) -> int:
    """The number that a text is, or −1."""
    return int(text) if text.isdecimal() and len(text) < 10 else -1


def _some(names: tuple[str, ...], most: int = 10) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, ... {len(names)} in all"
