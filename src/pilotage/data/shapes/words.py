"""Scenes in words and back: "two large blue squares", "a small red circle above a ..."."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from pilotage.data.shapes.scenes import (
    COLOURS,
    RELATIONS,
    SHAPES,
    SIZES,
    Kind,
    Scene,
    alike_scenes,
    related_scenes,
)
from pilotage.errors import PilotageError

COUNTS = ("a", "two", "three")
VOCABULARY = (
    *COUNTS,
    *SIZES,
    *COLOURS,
    *(shape + ending for shape in SHAPES for ending in ("", "s")),
    *dict.fromkeys(word for relation in RELATIONS for word in relation.split()),
)


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
