"""What every condition space can do, and what one of captions can do beside."""

from collections.abc import Sequence
from os import PathLike
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Space(Protocol):
    """Values, batches of them, and the null among them.

    A batch is a tensor (B, ...), or a tuple or dict of batches; see
    :mod:`pilotage.diffusion.batching`.

    Attributes:
        null: the null condition, as guidance takes it: a number, or a batch of one row.
    """

    @property
    def null(self) -> Any:
        """The null condition."""
        ...

    def values(self, wanted: Any) -> list[Any]:
        """Single values of what a user asks for, one or several; None asks for the usual.

        Raises:
            PilotageError: naming what is no value of the space.
        """
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


@runtime_checkable
class CaptionSpace(Space, Protocol):
    """Captions, whose batches are a :class:`~pilotage.networks.text_cond.TextCond` without images.

    Its null is the empty caption: all padding, and its mask False.

    Attributes:
        hash: SHA-256 of what tells the captions.
        size: number of token ids, or width of an encoder's features.
    """

    @property
    def hash(self) -> str:
        """SHA-256 of what tells the captions."""
        ...

    @property
    def size(self) -> int:
        """Number of token ids, or width of an encoder's features."""
        ...
