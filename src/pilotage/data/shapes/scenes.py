"""What a caption says of an image: kinds of shapes, how many of them, and how two of them lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import NamedTuple

import numpy as np

from pilotage.errors import PilotageError

SIZES = ("small", "large")
COLOURS = ("red", "green", "blue", "yellow", "magenta", "cyan")
SHAPES = ("circle", "square", "triangle")
RELATIONS = ("above", "below", "left of", "right of")
OPPOSITE = {"above": "below", "below": "above", "left of": "right of", "right of": "left of"}
MOST_ALIKE = 3
NONE = -1


class Kind(NamedTuple):
    """A shape's look.

    Attributes:
        size: one of `SIZES`.
        colour: one of `COLOURS`.
        shape: one of `SHAPES`.
    """

    size: str
    colour: str
    shape: str


@dataclass(frozen=True)
class Scene:
    """What a caption says; where exactly the shapes lie is left open.

    Attributes:
        kind: of the only shapes, or of the first of two.
        count: how many alike there are, 1 to `MOST_ALIKE`; 1 where there is a relation.
        relation: how the first lies to the second, one of `RELATIONS`, or None.
        second: kind of the second, which differs from the first; None without a relation.
    """

    kind: Kind
    count: int = 1
    relation: str | None = None
    second: Kind | None = None

    def __post_init__(self):
        for kind in self.kinds:
            for name, allowed in zip(Kind._fields, (SIZES, COLOURS, SHAPES), strict=True):
                _check(name, getattr(kind, name), allowed)
        if self.relation is None and self.second is None:
            _check("count", self.count, range(1, MOST_ALIKE + 1))
            return
        _check("relation", self.relation, RELATIONS)
        _check("count", self.count, (1,))
        if self.second in (None, self.kind):
            raise PilotageError(
                f"second is {self.second}: with a relation it must be another kind than the first."
            )

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The one kind, or the two of a relation."""
        return (self.kind,) if self.second is None else (self.kind, self.second)

    @property
    def total(self) -> int:
        """How many shapes there are."""
        return self.count if self.second is None else 2

    def turned(self) -> Scene:
        """The same told from the other end: "a below b" for "a above b" with a and b exchanged."""
        if self.relation is None or self.second is None:
            return self
        return Scene(self.second, 1, OPPOSITE[self.relation], self.kind)


def _check(name: str, value: object, allowed: Sequence) -> None:
    if value not in allowed:
        raise PilotageError(f"{name} is {value!r}: it must be {', '.join(map(str, allowed))}.")


KINDS = tuple(Kind(*words) for words in product(SIZES, COLOURS, SHAPES))


def alike_scenes() -> tuple[Scene, ...]:
    """Every scene of one kind."""
    return tuple(Scene(kind, count) for kind in KINDS for count in range(1, MOST_ALIKE + 1))


def related_scenes() -> tuple[Scene, ...]:
    """Every scene of two kinds, each told from both ends."""
    pairs = permutations(KINDS, 2)
    return tuple(Scene(a, 1, relation, b) for a, b in pairs for relation in RELATIONS)


class Codes(NamedTuple):
    """N scenes as numbers: places in `SIZES`, `COLOURS`, `SHAPES`, `RELATIONS`, or `NONE`.

    Attributes:
        size: int64 (N, 2), of the first and the second kind.
        colour: int64 (N, 2).
        shape: int64 (N, 2).
        count: int64 (N,).
        relation: int64 (N,).
    """

    size: np.ndarray
    colour: np.ndarray
    shape: np.ndarray
    count: np.ndarray
    relation: np.ndarray

    def take(self, rows: np.ndarray) -> Codes:
        """Some of the scenes, by number."""
        return Codes(*(values[rows] for values in self))


def encode(scenes: Sequence[Scene]) -> Codes:
    """Scenes as arrays, to be placed and drawn together."""
    words = [(scene.kind, scene.second or (None, None, None)) for scene in scenes]
    kinds = np.array(
        [
            [[_place(a, SIZES), _place(b, COLOURS), _place(c, SHAPES)] for a, b, c in pair]
            for pair in words
        ],
        np.int64,
    ).reshape(-1, 2, 3)
    count = np.array([scene.count for scene in scenes], np.int64)
    relation = np.array([_place(scene.relation, RELATIONS) for scene in scenes], np.int64)
    return Codes(kinds[..., 0], kinds[..., 1], kinds[..., 2], count, relation)


def _place(word: str | None, words: Sequence[str]) -> int:
    return NONE if word is None else words.index(word)
