"""Kinds of shapes, how many of them, how two of them lie; in words, as scenes and in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pilotage.errors import PilotageError

Ints = NDArray[np.int64]

SIZES = ("small", "large")
COLOURS = ("red", "green", "blue", "yellow", "magenta", "cyan")
SHAPES = ("circle", "square", "triangle")
RELATIONS = ("above", "below", "left of", "right of")
OPPOSITE = {"above": "below", "below": "above", "left of": "right of", "right of": "left of"}
MOST_ALIKE = 3
NONE = -1
COUNTS = ("a", "two", "three")
VOCABULARY = (
    *COUNTS,
    *SIZES,
    *COLOURS,
    *(shape + ending for shape in SHAPES for ending in ("", "s")),
    *dict.fromkeys(word for relation in RELATIONS for word in relation.split()),
)


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

    def __post_init__(self) -> None:
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


def _check(name: str, value: object, allowed: Sequence[object]) -> None:
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


def caption(scene: Scene) -> str:
    """The one caption of a scene, as "three small green triangles"."""
    first = _noun_phrase(scene.kind, scene.count)
    if scene.relation is None or scene.second is None:
        return first
    return f"{first} {scene.relation} {_noun_phrase(scene.second, 1)}"


def parse(text: str) -> Scene:
    """The scene of a caption, such as `caption` writes them.

    Raises:
        PilotageError: the caption has an unknown word, which is named, or known words that do not
            make a caption.
    """
    scene = _by_caption().get(text)
    if scene is not None:
        return scene
    unknown = [word for word in text.split() if word not in VOCABULARY]
    if unknown:
        raise PilotageError(
            f"caption is {text!r}: {unknown[0]!r} is none of its words, {', '.join(VOCABULARY)}."
        )
    raise PilotageError(
        f"caption is {text!r}: it must read as 'two small red circles' or, of two different "
        "kinds, as 'a small red circle left of a large blue square'."
    )


def parse_all(texts: Sequence[str]) -> list[Scene]:
    """The scenes of several captions.

    Raises:
        PilotageError: `texts` is one string, or holds what `parse` refuses.
    """
    if isinstance(texts, str):
        raise PilotageError(f"captions is {texts!r}: it must be a list of captions.")
    return [parse(text) for text in texts]


def _noun_phrase(kind: Kind, count: int) -> str:
    return f"{COUNTS[count - 1]} {' '.join(kind)}{'s' if count > 1 else ''}"


@cache
def _by_caption() -> dict[str, Scene]:
    """Every caption there is; so `parse` takes exactly what `caption` writes."""
    return {caption(scene): scene for scene in (*alike_scenes(), *related_scenes())}


class Codes(NamedTuple):
    """N scenes as numbers: places in `SIZES`, `COLOURS`, `SHAPES`, `RELATIONS`, or `NONE`.

    Attributes:
        size: int64 (N, 2), of the first and the second kind.
        colour: int64 (N, 2).
        shape: int64 (N, 2).
        number: int64 (N,), how many alike there are.
        relation: int64 (N,).
    """

    size: Ints
    colour: Ints
    shape: Ints
    number: Ints
    relation: Ints

    def take(self, rows: Ints) -> Codes:
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
    number = np.array([scene.count for scene in scenes], np.int64)
    relation = np.array([_place(scene.relation, RELATIONS) for scene in scenes], np.int64)
    return Codes(kinds[..., 0], kinds[..., 1], kinds[..., 2], number, relation)


def _place(word: str | None, words: Sequence[str]) -> int:
    return NONE if word is None else words.index(word)
