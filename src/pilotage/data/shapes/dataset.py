"""Captioned shapes as training data, and the combinations that training never shows.

Every image is drawn when it is asked for. A model can be asked for the held-out combinations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from pilotage.data.image_data import hash_of
from pilotage.data.request import check_seed, check_size, is_length
from pilotage.data.shapes.draw import LEAST_SIZE, draw, place, uniforms
from pilotage.data.shapes.scenes import (
    COLOURS,
    KINDS,
    MOST_ALIKE,
    RELATIONS,
    SHAPES,
    SIZES,
    Codes,
    Ints,
    Kind,
    Scene,
    alike_scenes,
    caption,
    encode,
    parse,
    parse_all,
    related_scenes,
)
from pilotage.errors import PilotageError
from pilotage.utils.seeding import derived_seed

CODE_VERSION = 2  # raised whenever an image, caption or class of the same settings changes
RELATED = 0.5  # part of the images that show two kinds in relation
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


@dataclass(frozen=True, eq=False)
class ShapesData:
    """Images of captioned shapes, by the interface of `ImageData`, with captions.

    `load_shapes` makes them and judges the settings. Image i and its caption depend on `seed`,
    `held_out` and i alone. What the image shows and where does not depend on its size: image i of
    two sizes is the same scene. Its class is the colour and shape of its one kind; of two kinds,
    that of the one above, or left of, the other: so the image alone decides it.

    Attributes:
        size: height and width in pixels, at least `LEAST_SIZE`.
        count: number of images N.
        held_out: whether these are the combinations that training never shows, or the others.
        seed: of all that is random.
    """

    size: int = 32
    count: int = 50_000
    held_out: bool = False
    seed: int = 0

    classes = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
    in_memory = True

    def __len__(self) -> int:
        return self.count

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, H, W) in pixels."""
        return 3, self.size, self.size

    @cached_property
    def labels(self) -> Int64[np.ndarray, " N"]:
        """int64 (N,), read-only."""
        _, codes = _table(self.held_out)
        labels = _classes(codes)[self._rows(np.arange(self.count))]
        labels.setflags(write=False)
        return labels

    @cached_property
    def captions(self) -> tuple[str, ...]:
        """What every image shows."""
        texts, _ = _table(self.held_out)
        return tuple(texts[row] for row in self._rows(np.arange(self.count)))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the settings and the version of the code that draws."""
        facts = ["shapes", CODE_VERSION, self.size, self.count, self.held_out, self.seed]
        return hash_of(facts)

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> UInt8[Tensor, "B 3 H W"]:
        """Images by index, as a new uint8 tensor (B, 3, H, W) with values 0..255."""
        asked = np.arange(self.count)[np.atleast_1d(np.asarray(indices, np.int64))]
        _, codes = _table(self.held_out)
        u = uniforms(self._key("places"), asked)
        objects = place(codes.take(self._rows(asked)), u)
        return torch.from_numpy(draw(objects, len(asked), self.size))

    def _rows(self, indices: Ints) -> Ints:
        """Which scene of the table each image shows."""
        alike, related = map(len, scenes_of(self.held_out))
        u = uniforms(self._key("scenes"), indices)
        chosen = alike + (u[:, 1] * related).astype(np.int64)
        return np.where(u[:, 0] < RELATED, chosen, (u[:, 1] * alike).astype(np.int64))

    def _key(self, purpose: str) -> int:
        part = "held-out" if self.held_out else "training"
        return derived_seed(self.seed, "shapes", part, purpose)


@cache
def _table(held_out: bool) -> tuple[tuple[str, ...], Codes]:
    """All scenes of the training or the held-out data, in words and in numbers."""
    scenes = sum(scenes_of(held_out), ())
    return tuple(map(caption, scenes)), encode(scenes)


def _classes(codes: Codes) -> Ints:
    """The class of every scene."""
    turned = np.isin(codes.relation, [RELATIONS.index(word) for word in ("below", "right of")])
    kind = np.arange(len(turned)), turned.astype(np.int64)
    return codes.colour[kind] * len(SHAPES) + codes.shape[kind]


def load_shapes(
    size: int | Sequence[int] | None = (32, 32),
    count: int = 50_000,
    held_out: int = 2_000,
    seed: int = 0,
) -> tuple[ShapesData, ShapesData]:
    """Training and held-out images of captioned shapes.

    Half of the images show one to three shapes of one kind (size, colour and shape), half show two
    of different kinds in relation. The held-out images show nothing but combinations that no
    training image shows, whatever the seed: kinds in a new number, kinds that never met.

    Args:
        size: Height and width in pixels, equal and at least 16, or one number for both.
        count: Number of training images.
        held_out: Number of held-out images.
        seed: Of all that is random.

    Raises:
        PilotageError: A setting is not allowed.
    """
    side = _side(size)
    _check_number("count", count)
    _check_number("held_out", held_out)
    check_seed(seed)
    train = ShapesData(side, int(count), False, int(seed))
    return train, ShapesData(side, int(held_out), True, int(seed))


def held_out_captions(count: int, seed: int = 0) -> tuple[str, ...]:
    """Captions of combinations that training never shows, to evaluate with.

    They are those of the held-out images of this seed, so real images of the same captions are at
    hand. Captions may come several times.

    Args:
        count: how many.
        seed: of the choice.

    Raises:
        PilotageError: A setting is not allowed.
    """
    _check_number("count", count)
    return load_shapes(held_out=count, seed=seed)[1].captions


def draw_captions(
    captions: Sequence[str], size: int | Sequence[int] = 32, seed: int = 0
) -> UInt8[Tensor, "N 3 S S"]:
    """An image of every caption, uint8 (N, 3, S, S).

    Where the shapes of image i lie depends on the seed, i and the caption, not on the size.

    Raises:
        PilotageError: A caption is not one of these images, or a setting is not allowed.
    """
    side = _side(size)
    check_seed(seed)
    codes = encode(parse_all(captions))
    u = uniforms(derived_seed(seed, "shapes", "captions"), np.arange(len(captions)))
    return torch.from_numpy(draw(place(codes, u), len(captions), side))


def _side(size: int | Sequence[int] | None) -> int:
    """The one length in pixels of a size that is allowed."""
    height, width = check_size(size) or (0, 0)
    if height != width or height < LEAST_SIZE:
        raise PilotageError(
            f"data: size={size!r} is not allowed for shapes; height and width must be equal and at "
            f"least {LEAST_SIZE} pixels"
        )
    return height


def _check_number(name: str, value: int) -> None:
    if not is_length(value):
        raise PilotageError(
            f"data: {name}={value!r} is not allowed for shapes; give a positive whole number"
        )
