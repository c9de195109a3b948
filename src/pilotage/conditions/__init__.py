"""Conditions: values in condition space, among them the null condition that means "none".

Every space has a ``null`` for guidance, ``collate`` from single values to a batch, ``drop`` to
replace examples of a batch by the null, and ``save``, which :func:`load_space` reads back.
"""

from pilotage.conditions.bpe import ByteLevelBPE
from pilotage.conditions.dropping import draw_dropped, draw_uniform
from pilotage.conditions.frozen import FrozenText, frozen_text
from pilotage.conditions.labels import Labels
from pilotage.conditions.loading import load_space
from pilotage.conditions.multi import Several
from pilotage.conditions.pixels import Images, Known, KnownPixels
from pilotage.conditions.space import CaptionSpace, Space
from pilotage.conditions.tokens import Tokenizer, Tokens

__all__ = [
    "ByteLevelBPE",
    "CaptionSpace",
    "FrozenText",
    "Images",
    "Known",
    "KnownPixels",
    "Labels",
    "Several",
    "Space",
    "Tokenizer",
    "Tokens",
    "draw_dropped",
    "draw_uniform",
    "frozen_text",
    "load_space",
]
