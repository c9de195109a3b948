"""Which combinations training never shows, so that a model can be asked for something new."""

from __future__ import annotations

from functools import cache
from itertools import combinations

from pilotage.data.shapes.scenes import KINDS, MOST_ALIKE, Kind, Scene, alike_scenes, related_scenes
from pilotage.data.shapes.words import parse
from pilotage.seeding import derived_seed

HELD_KINDS = 12  # of 36, with one count each: a ninth of the scenes of one kind
HELD_PAIRS = 63  # of 630 unordered pairs: a tenth


@cache
def held_out_counts() -> frozenset[tuple[Kind, int]]:
    """Kinds with the one count in which training never shows them; every count as often."""
    order = sorted(KINDS, key=lambda kind: derived_seed(0, "held-out shapes", *kind))
    return frozenset((kind, 1 + k % MOST_ALIKE) for k, kind in enumerate(order[:HELD_KINDS]))


@cache
def held_out_pairs() -> frozenset[frozenset[Kind]]:
    """Pairs of kinds that training never shows together, whatever their relation."""
    pairs = combinations(KINDS, 2)
    order = sorted(pairs, key=lambda pair: derived_seed(0, "held-out shapes", *pair[0], *pair[1]))
    return frozenset(map(frozenset, order[:HELD_PAIRS]))


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
