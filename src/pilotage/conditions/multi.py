"""Conditions of several named parts."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from pilotage.conditions.space import Space, single_values
from pilotage.conditions.stored import write_facts
from pilotage.errors import PilotageError


class Several:
    """Conditions of named parts, each in its own space; a batch is a dict of their batches.

    Args:
        parts: the space of each part; the names are Python identifiers.
        together: whether the parts are dropped jointly, not independently.

    Raises:
        PilotageError: if there are no parts, a name is no identifier, or a part has parts.
    """

    def __init__(self, parts: Mapping[str, Space], together: bool):
        for name, space in parts.items():
            if not name.isidentifier():
                raise PilotageError(f"parts has {name!r}: a name must be a Python identifier.")
            if isinstance(space, Several):
                raise PilotageError(f"parts[{name!r}] is a Several: its parts must be listed here.")
        if not parts:
            raise PilotageError("parts is empty: it must have the space of at least one.")
        self.parts, self.together = dict(parts), together

    @property
    def null(self) -> dict[str, Any]:
        """The null of every part."""
        return {name: space.null for name, space in self.parts.items()}

    def values(self, given: Any) -> list[Any]:
        """Return a list of values from one or several; None is the null."""
        return single_values(given)

    def collate(self, values: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
        """Collate dicts of single values to a batch; a None or missing part is its null.

        Raises:
            PilotageError: if a dict has another part, or a space refuses a value.
        """
        for value in values:
            self._check_names("cond", value or {})
        return {
            name: space.collate([(value or {}).get(name) for value in values])
            for name, space in self.parts.items()
        }

    def drop(
        self,
        batch: dict[str, Any],
        dropped: Bool[Tensor, "B *parts"] | Mapping[str, Bool[Tensor, " B"]],
    ) -> dict[str, Any]:
        """Replace every dropped part by its null.

        Args:
            batch: a batch of each part.
            dropped: (B,) for all parts together; or (B, P) with a column for each part in order;
                or (B,) by the name of the part, where parts without a name stay.

        Raises:
            PilotageError: if a name is no part, or the number of columns is not P.
        """
        self._check_names("batch", batch)
        masks = self._by_name(dropped)
        return {
            name: self.parts[name].drop(part, masks[name]) if name in masks else part
            for name, part in batch.items()
        }

    def _by_name(self, dropped: Tensor | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if isinstance(dropped, Mapping):
            self._check_names("dropped", dropped)
            return dropped
        if dropped.ndim == 1:
            return dict.fromkeys(self.parts, dropped)
        if dropped.shape[1] != len(self.parts):
            raise PilotageError(
                f"dropped has {dropped.shape[1]} columns: it must have one for each of "
                f"{list(self.parts)}."
            )
        return dict(zip(self.parts, dropped.unbind(1), strict=True))

    def save(self, folder: str | PathLike[str]) -> None:
        """Write every part into a folder of its name, for ``load_space``."""
        facts = {"kind": "several", "parts": list(self.parts), "together": self.together}
        folder = write_facts(folder, facts)
        for name, space in self.parts.items():
            space.save(Path(folder, name))

    def _check_names(self, what: str, named: Mapping[str, Any]) -> None:
        strange = [name for name in named if name not in self.parts]
        if strange:
            raise PilotageError(
                f"{what} has {strange[0]!r}: it must be one of the parts {list(self.parts)}."
            )
