"""Which combinations training never shows, so that a model can be asked for something new."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import combinations

from pilotage.data.shapes.scenes import (
    COLOURS,
    KINDS,
    MOST_ALIKE,
    SHAPES,
    SIZES,
    Kind,
    Scene,
    alike_scenes,
    related_scenes,
)
from pilotage.data.shapes.words import parse
from pilotage.utils.seeding import derived_seed

HELD_PARTNERS = 4  # of the 35 other kinds: about a ninth of the pairs


@cache
def held_out_counts() -> frozenset[tuple[Kind, int]]:
    """Kinds with the one count in which training never shows them: a ninth of these scenes.

    Each size and colour has one of them, spread evenly over shapes and counts.
    """
    return frozenset(
        (Kind(size, colour, SHAPES[(i + j) % 3]), 1 + (i + j // 2) % MOST_ALIKE)
        for i, size in enumerate(SIZES)
        for j, colour in enumerate(COLOURS)
    )


@cache
def held_out_pairs() -> frozenset[frozenset[Kind]]:
    """Pairs of kinds that training never shows together, whatever their relation.

    A kind has at most `HELD_PARTNERS` such partners, so none is rare in training.
    """
    order = sorted(
        combinations(KINDS, 2),
        key=lambda pair: derived_seed(0, "held-out shapes", *pair[0], *pair[1]),
    )
    partners: Counter[Kind] = Counter()
    held = []
    for pair in order:
        if all(partners[kind] < HELD_PARTNERS for kind in pair):
            partners.update(pair)
            held.append(frozenset(pair))
    return frozenset(held)


def is_held_out(text: str) -> bool:
    """Whether a caption's combination never occurs in training.

    Raises:
        PilotageError: `text` is no caption of these images.
    """
    return is_new(parse(text))


def is_new(scene: Scene) -> bool:
    """Whether a scene is held out: its kind in this number, or its two kinds together."""
    if scene.second is None:
        return (scene.kind, scene.count) in held_out_counts()
    return frozenset(scene.kinds) in held_out_pairs()


@cache
def scenes_of(held_out: bool) -> tuple[tuple[Scene, ...], tuple[Scene, ...]]:
    """The scenes of one kind and those of two that belong to held-out or to training data."""
    alike, related = (
        tuple(scene for scene in scenes if is_new(scene) is held_out)
        for scenes in (alike_scenes(), related_scenes())
    )
    return alike, related
