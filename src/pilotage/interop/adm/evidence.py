"""What the names and shapes of guided-diffusion's tensors say, block by block.

One damaged tensor should not hide the others: every number is the one that most tensors give, so
that the check against the network can name the odd one out.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from pilotage.errors import PilotageError


@dataclass(frozen=True)
class Block:
    """One of ADM's ``input_blocks`` after the stem.

    Attributes:
        kind: "block" (residual), "op" (a strided convolution) or "none" (no tensors at all).
        width: output channels of a residual block, 0 otherwise.
        attention: whether attention follows.
        scale_shift: whether the time gives it a scale and a shift.
    """

    kind: str
    width: int = 0
    attention: bool = False
    scale_shift: bool = False


class Evidence:
    """Names and shapes of a state dict, by block.

    Args:
        tensors: names to tensors, which may lie on the meta device.
    """

    def __init__(self, tensors: Mapping[str, Tensor]):
        self._shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        self._parts: dict[str, set[tuple[str, ...]]] = {}
        for name in self._shapes:
            head, _, rest = name.partition(".")
            self._parts.setdefault(head, set()).add(tuple(rest.split(".")))

    def length(self, *names: str, axis: int = 0) -> int:
        """The length along ``axis`` that most of the tensors present have.

        Raises:
            PilotageError: if none of them is there, or has such an axis.
        """
        return most(self._lengths(names, axis)) or self._lack(names)

    def has(self, prefix: str) -> bool:
        """Whether any tensor's name starts so."""
        return any(name.startswith(prefix) for name in self._shapes)

    def blocks_down(self) -> list[Block]:
        """``input_blocks`` after the stem, in order; gaps are blocks without tensors."""
        return [self._block(index) for index in range(1, self._count("input_blocks"))]

    def blocks_up(self) -> int:
        """The number of ``output_blocks``."""
        return self._count("output_blocks")

    def ups(self, layer: str) -> int:
        """How many ``output_blocks`` hold this layer after their first one."""
        parts = self._parts.get("output_blocks", set())
        return len({p[0] for p in parts if len(p) > 2 and p[1] != "0" and p[2] == layer})

    def _count(self, head: str) -> int:
        known = (p for p in self._parts.get(head, set()) if len(p) > 2 and p[2] in _LAYERS)
        return max((int(p[0]) + 1 for p in known if p[0].isdigit()), default=0)

    def _block(self, index: int) -> Block:
        start = f"input_blocks.{index}."
        if self.has(start + "0.op."):
            return Block("op")
        width = most(self._lengths([start + "0." + name for name in _OUTPUTS], 0))
        if not width:
            return Block("none")
        rows = most(self._lengths([f"{start}0.emb_layers.1.{end}" for end in _ENDS], 0))
        return Block(
            kind="block",
            width=width,
            attention=self.has(start + "1."),
            scale_shift=rows == 2 * width,
        )

    def _lengths(self, names: Iterable[str], axis: int) -> list[int]:
        shapes = (self._shapes.get(name, ()) for name in names)
        return [shape[axis] for shape in shapes if len(shape) > axis]

    def _lack(self, names: tuple[str, ...]) -> int:
        raise PilotageError(
            f"weights lack {' and '.join(names)}: they must be those of a network of "
            "guided-diffusion."
        )


_ENDS = ("weight", "bias")
_LAYERS = ("in_layers", "emb_layers", "out_layers", "op")
_OUTPUTS = [
    *(f"in_layers.2.{end}" for end in _ENDS),
    *(f"out_layers.{place}.{end}" for place in (0, 3) for end in _ENDS),
]


def most(votes: Iterable[int]) -> int:
    """The most frequent number, the larger of two equally frequent ones; 0 of none at all."""
    counts = Counter(votes)
    return max(counts, key=lambda vote: (counts[vote], vote), default=0)
