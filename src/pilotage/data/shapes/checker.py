"""Is it what the caption says? An answer from the pixels alone, for each attribute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pilotage.data.shapes.draw import LEAST_SIZE
from pilotage.data.shapes.objects import find
from pilotage.data.shapes.scenes import (
    COLOURS,
    MOST_ALIKE,
    NONE,
    SHAPES,
    SIZES,
    Kind,
    Scene,
    parse_all,
)
from pilotage.errors import PilotageError

ATTRIBUTES = ("size", "colour", "shape", "count", "relation")

Bools = NDArray[np.bool_]
Look = tuple[str | None, str | None, str | None]
Thing = tuple[Look, float, float]  # with x and y of its centre of mass


@dataclass(frozen=True, eq=False)
class Checked:
    """Which attributes of its caption every image has right, each bool (N,).

    Of a caption with one kind, sizes, colours and shapes are right if there is a shape and all of
    them are as asked for. With two kinds, the two shapes count that have the most attributes in
    common with those asked for, and both must be right.

    Attributes:
        size: the sizes.
        colour: the colours.
        shape: the shapes.
        count: how many shapes there are in all.
        relation: the direction, to the nearest of four, in which the first lies from the second;
            True where no relation is asked for.
        related: whether a relation is asked for.
    """

    size: Bools
    colour: Bools
    shape: Bools
    count: Bools
    relation: Bools
    related: Bools

    @cached_property
    def all(self) -> Bools:
        """Every attribute is right."""
        right: Bools = np.logical_and.reduce([getattr(self, name) for name in ATTRIBUTES])
        return right

    def rates(self) -> dict[str, float]:
        """Part of the images that are right, by attribute and for "all".

        The relation's is among the captions with one, and absent where there are none.
        """
        rates = {name: getattr(self, name) for name in (*ATTRIBUTES, "all")}
        rates["relation"] = self.relation[self.related]
        return {name: float(right.mean()) for name, right in rates.items() if len(right)}


def check(images: Tensor | np.ndarray, captions: Sequence[str]) -> Checked:
    """Compare images with their captions.

    The images may come from a model: noise, blur of about a pixel and too much contrast are borne
    with; regions below a quarter of a small shape are taken for specks. Shapes that run together
    are one region, and what has no named size, colour or shape is wrong in it.

    Args:
        images: (N, 3, S, S), S at least 16; uint8, or floats in [−1, 1].
        captions: N captions.

    Raises:
        PilotageError: The images or a caption cannot be judged.
    """
    scenes = parse_all(captions)
    seen = things(to_pixels(images))
    if len(seen) != len(scenes):
        raise PilotageError(
            f"captions are {len(scenes)}: there must be one for each of the {len(seen)} images."
        )
    right = np.array([judge(*pair) for pair in zip(scenes, seen, strict=True)], bool)
    related = np.array([scene.relation is not None for scene in scenes], bool)
    columns = right.reshape(-1, len(ATTRIBUTES)).T
    return Checked(**dict(zip(ATTRIBUTES, columns, strict=True)), related=related)


def describe(image: Tensor | np.ndarray) -> Scene | None:
    """What one image (3, S, S) shows, or None where no caption says it.

    Of two kinds, the scene tells which is above the other or left of it (`Scene.turned` tells the
    same from the other end).

    Raises:
        PilotageError: The image cannot be judged.
    """
    (seen,) = things(to_pixels(image[None]))
    seen.sort(key=lambda thing: thing[1:])
    kinds = [Kind(a, b, c) for (a, b, c), _, _ in seen if a and b and c]
    if not kinds or len(kinds) < len(seen):
        return None
    if len(set(kinds)) == 1:
        return Scene(kinds[0], len(kinds)) if len(kinds) <= MOST_ALIKE else None
    if len(kinds) > 2:
        return None
    scene = Scene(kinds[0], 1, relation(*seen), kinds[1])
    return scene.turned() if scene.relation in ("below", "right of") else scene


def to_pixels(images: Tensor | np.ndarray) -> NDArray[np.float32]:
    """Images as float32, 0 to 255; what is not a number is black."""
    images = torch.as_tensor(images).detach().cpu()
    height, width = images.shape[-2:] if images.ndim == 4 else (0, 0)
    if images.ndim != 4 or images.shape[1] != 3 or height != width or height < LEAST_SIZE:
        raise PilotageError(
            f"images has shape {tuple(images.shape)}: it must be (N, 3, S, S) with S at least "
            f"{LEAST_SIZE}."
        )
    if images.dtype == torch.uint8:
        return images.float().numpy()
    if not images.is_floating_point():
        raise PilotageError(f"images has dtype {images.dtype}: it must be uint8 or floats.")
    return ((images.float().nan_to_num(-1) + 1) * 127.5).numpy()


def things(pixels: NDArray[np.float32]) -> list[list[Thing]]:
    """The shapes of every image, in words."""
    found = find(pixels)
    seen: list[list[Thing]] = [[] for _ in pixels]
    for image, size, colour, shape, x, y in zip(*(v.tolist() for v in found), strict=True):
        look = (_word(SIZES, size), _word(COLOURS, colour), _word(SHAPES, shape))
        seen[image].append((look, x, y))
    return seen


def judge(scene: Scene, seen: list[Thing]) -> tuple[bool, ...]:
    """Whether each of `ATTRIBUTES` is right."""
    count = len(seen) == scene.total
    if scene.second is None:
        alike = [_alike(scene.kind, thing) for thing in seen] or [[False] * 3]
        return (*map(all, zip(*alike, strict=True)), count, True)
    if len(seen) < 2:
        return False, False, False, count, False
    first, second = max(permutations(seen, 2), key=lambda pair: _likeness(scene, *pair))
    alike = [_alike(scene.kind, first), _alike(scene.second, second)]
    return (*map(all, zip(*alike, strict=True)), count, relation(first, second) == scene.relation)


def relation(first: Thing, second: Thing) -> str:
    """How the first lies to the second, to the nearest of four directions."""
    right, down = first[1] - second[1], first[2] - second[2]
    if abs(down) > abs(right):
        return "below" if down > 0 else "above"
    return "right of" if right > 0 else "left of"


def _likeness(scene: Scene, first: Thing, second: Thing) -> tuple[int, bool]:
    """Attributes in common, and for pairs with equally many, whether the relation is right."""
    alike = (*_alike(scene.kinds[0], first), *_alike(scene.kinds[1], second))
    return sum(alike), relation(first, second) == scene.relation


def _alike(kind: Kind, thing: Thing) -> list[bool]:
    return [seen == asked for seen, asked in zip(thing[0], kind, strict=True)]


def _word(words: Sequence[str], place: int) -> str | None:
    return None if place == NONE else words[place]
