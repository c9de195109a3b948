"""What the tensors of a network of guided-diffusion cannot tell about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from pilotage.errors import PilotageError
from pilotage.networks.checks import positive_int

ORDERS = ("legacy", "new")


@dataclass(frozen=True, kw_only=True)
class Flags:
    """The flags of `infer_config`, checked.

    Attributes:
        heads: number of attention heads; either this or ``head_channels``.
        head_channels: channels per attention head.
        heads_up: number of heads on the way up, if it is not ``heads``.
        attention_order: rows of the qkv, "legacy" ([q k v] by head) or "new" ([q | k | v]).
        dropout: probability of dropping an activation; it has no effect on a prediction.
        image_size: side of the images or (H, W); only an attention pool depends on it.
        num_res_blocks: blocks per level, where the tensors of a classifier leave it open.

    Raises:
        PilotageError: if a flag is out of range, or neither or both kinds of heads are given.
    """

    heads: int | None = None
    head_channels: int | None = None
    heads_up: int | None = None
    attention_order: str = "legacy"
    dropout: float = 0.0
    image_size: int | Sequence[int] | None = None
    num_res_blocks: int | None = None

    def __post_init__(self):
        for name in ("heads", "head_channels", "heads_up", "num_res_blocks"):
            if getattr(self, name) is not None:
                positive_int(name, getattr(self, name))
        self._check_heads()
        if self.attention_order not in ORDERS:
            raise PilotageError(
                f"attention_order is {self.attention_order!r}: it must be one of "
                f"{', '.join(ORDERS)}."
            )
        if self.image_size is not None:
            for side in self.size or ():
                positive_int("image_size", side)

    @property
    def size(self) -> tuple[int, int] | None:
        """(H, W) of the images, or None."""
        given = self.image_size
        if given is None:
            return None
        if isinstance(given, list | tuple):
            if len(given) != 2:
                raise PilotageError(f"image_size is {given!r}: it must be one side or (H, W).")
            return given[0], given[1]
        return given, given

    def _check_heads(self) -> None:
        if self.heads is None and self.head_channels is None:
            raise PilotageError(
                "heads and head_channels are both None: one of the two must be given, since the "
                "tensors do not tell how their attention is split."
            )
        if self.heads is not None and self.head_channels is not None:
            raise PilotageError(
                f"heads is {self.heads} and head_channels is {self.head_channels}: "
                "only one of the two may be given."
            )
        if self.heads_up is not None and self.heads is None:
            raise PilotageError(
                f"heads_up is {self.heads_up} but heads is None: it may be given only with heads."
            )


def read_flags(flags: Mapping[str, Any]) -> Flags:
    """The flags as given by name.

    Raises:
        PilotageError: if one is unknown or out of range.
    """
    allowed = [field.name for field in fields(Flags)]
    unknown = sorted(flags.keys() - set(allowed))
    if unknown:
        raise PilotageError(
            f"flags have {', '.join(unknown)}: allowed are {', '.join(allowed)}, or a config."
        )
    return Flags(**flags)
