"""Captioned shapes: images drawn on the fly, captions, and a checker that is exact.

One to three alike shapes, or two different ones in relation, such as "three small red circles" or
"a large blue square left of a small cyan triangle". `load_shapes` makes training images and
held-out ones of combinations that training never shows; `check` says from the pixels alone which
attributes of a caption an image has right.
"""

from pilotage.data.shapes.checker import ATTRIBUTES, Checked, check, describe
from pilotage.data.shapes.dataset import (
    ShapesData,
    draw_captions,
    held_out_captions,
    is_held_out,
    load_shapes,
)
from pilotage.data.shapes.scenes import (
    COLOURS,
    RELATIONS,
    SHAPES,
    SIZES,
    VOCABULARY,
    Kind,
    Scene,
    caption,
    parse,
)

__all__ = [
    "ATTRIBUTES",
    "COLOURS",
    "RELATIONS",
    "SHAPES",
    "SIZES",
    "VOCABULARY",
    "Checked",
    "Kind",
    "Scene",
    "ShapesData",
    "caption",
    "check",
    "describe",
    "draw_captions",
    "held_out_captions",
    "is_held_out",
    "load_shapes",
    "parse",
]
