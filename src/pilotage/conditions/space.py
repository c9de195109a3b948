"""What every condition space can do."""

from collections.abc import Sequence
from os import PathLike
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Space(Protocol):
    """Values, batches of them, and the null among them.

    A batch is a tensor (B, ...), or a tuple or dict of batches; see
    :mod:`pilotage.diffusion.rows`.

    Attributes:
        null: the null condition, as guidance takes it: a number, or a batch of one row.
    """

    @property
    def null(self) -> Any:
        """The null condition."""
        ...

    def collate(self, values: Sequence[Any]) -> Any:
        """Single values as a batch; None is the null."""
        ...

    def drop(self, batch: Any, dropped: Tensor) -> Any:
        """The batch with the null where ``dropped`` (B,) is True."""
        ...

    def save(self, folder: str | PathLike[str]) -> None:
        """Write what :func:`pilotage.conditions.load_space` reads."""
        ...
