"""Conditions of several parts."""

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
    """Conditions of named parts, each in a space of its own; a batch is a dict of theirs.

    Args:
        parts: the space of each part; the names are Python identifiers.
        together: the parts are dropped all at once, and not each on its own.

    Raises:
        PilotageError: if there are no parts, a name will not do, or a part is itself several.
    """

    def __init__(self, parts: Mapping[str, Space], together: bool):
        for name, space in parts.items():
            if not name.isidentifier():
                raise PilotageError(f"parts has {name!r}: a name must be a Python identifier.")
            if isinstance(space, Several):
                raise PilotageError(f"parts[{name!r}] is itself of several parts: name them here.")
        if not parts:
            raise PilotageError("parts is empty: give the space of at least one.")
        self.parts, self.together = dict(parts), together

    @property
    def null(self) -> dict[str, Any]:
        """The null of every part."""
        return {name: space.null for name, space in self.parts.items()}

    def values(self, wanted: Any) -> list[Any]:
        """Single values, of a list or one; None is the null."""
        return single_values(wanted)

    def collate(self, values: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
        """Dicts of single values as a batch; a part that is None or missing is its null.

        Raises:
            PilotageError: if a dict has another part, or a space refuses a value.
        """
        for value in values:
            self._check_names("a condition", value or {})
        return {
            name: space.collate([(value or {}).get(name) for value in values])
            for name, space in self.parts.items()
        }

    def drop(
        self,
        batch: dict[str, Any],
        dropped: Bool[Tensor, "B *parts"] | Mapping[str, Bool[Tensor, " B"]],
    ) -> dict[str, Any]:
        """The batch with the null of every dropped part.

        Args:
            batch: a batch of each part.
            dropped: (B,) for all parts together; or (B, P) with a column for each part in order;
                or (B,) by the name of the part, where parts without a name stay.

        Raises:
            PilotageError: if a name is no part, or there are other than P columns.
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
                f"{what} has {strange[0]!r}: the parts of a condition are {list(self.parts)}."
            )
