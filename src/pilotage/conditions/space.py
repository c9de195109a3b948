"""The protocols of condition spaces, and of those of captions."""

from collections.abc import Sequence
from os import PathLike
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Space(Protocol):
    """A condition space: values, batches of them, and the null condition.

    A batch is a tensor (B, ...), or a tuple or dict of batches; see
    :mod:`pilotage.diffusion.batching`.

    Attributes:
        null: the null condition for guidance: a number, or a batch of one row.
    """

    @property
    def null(self) -> Any:
        """The null condition."""
        ...

    def values(self, given: Any) -> list[Any]:
        """Return a list of values from a user's input, one or several; None is the default.

        Raises:
            PilotageError: if an input is no value of the space.
        """
        ...

    def collate(self, values: Sequence[Any]) -> Any:
        """Collate single values to a batch; None is the null."""
        ...

    def drop(self, batch: Any, dropped: Tensor) -> Any:
        """Replace conditions by the null where ``dropped`` (B,) is True."""
        ...

    def save(self, folder: str | PathLike[str]) -> None:
        """Write what :func:`pilotage.conditions.load_space` reads."""
        ...


@runtime_checkable
class CaptionSpace(Space, Protocol):
    """Captions, whose batches are a :class:`~pilotage.networks.text_cond.TextCond` without images.

    Its null is the empty caption: all padding, and its mask False.

    Attributes:
        hash: SHA-256 of the tokenizer or encoder.
        size: number of token ids, or width of an encoder's features.
    """

    @property
    def hash(self) -> str:
        """SHA-256 of the tokenizer or encoder."""
        ...

    @property
    def size(self) -> int:
        """Number of token ids, or width of an encoder's features."""
        ...


def single_values(given: Any) -> list[Any]:
    """Return a list of values from one or several; None is the null."""
    return list(given) if isinstance(given, list) else [given]
