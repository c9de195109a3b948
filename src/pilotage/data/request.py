"""What is asked of a source: the settings of `load_data`, judged before anything is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeGuard

from pilotage.errors import PilotageError

Say = Callable[[str], None]
Size = tuple[int, int]

HELD_OUT = 0.1
FILE_NAME = "filename"  # where labels may be read from


@dataclass(frozen=True)
class Request:
    """What `load_data` was asked for: its arguments, where they are told in full.

    Attributes:
        size: (height, width) in pixels, or None.
        captions: Whether captions are wanted, by naming their column or not.
        skip_bad: Whether images that cannot be read are left out.
        label_from: "filename" where the labels are what stands before the first `_` of file names.
        allow_outside: Whether tables may name image files outside of their own folder.

    Raises:
        PilotageError: A setting is not allowed.
    """

    source: str | Path
    say: Say
    size: Size | None = None
    held_out: float = HELD_OUT
    seed: int = 0
    image_column: str | None = None
    label_column: str | None = None
    caption_column: str | None = None
    captions: bool = False
    mixed_sizes: bool = True
    skip_bad: bool = False
    label_from: str | None = None
    allow_outside: bool = False

    def __post_init__(self) -> None:
        check_held_out(self.held_out)
        check_seed(self.seed)
        if self.label_from not in (None, FILE_NAME):
            raise PilotageError(
                f"data: label_from={self.label_from!r} is not allowed; give {FILE_NAME!r} or none"
            )
        caption, label = self.caption_column, self.label_column
        if caption is not None and caption == label:
            raise PilotageError(
                f"data: caption_column={caption!r} and label_column={label!r} are the same column; "
                "set label_column to another, or leave it out"
            )

    @property
    def needs_labels(self) -> bool:
        """Whether labels matter: beside captions they do so only by their column."""
        return not self.captions or self.label_column is not None

    def refuse(self, why: str, **settings: object) -> None:
        """Refuse settings that mean nothing to the source.

        Args:
            why: What the source has instead, as a clause.
            settings: Their values, None where they were left alone.

        Raises:
            PilotageError: One is not None.
        """
        for name, value in settings.items():
            if value is not None:
                raise PilotageError(
                    f"data: {name}={value!r} is not allowed with {self.source!r}, {why}; leave it "
                    "out"
                )


# arguments of `load_data` that settings may have by the same names
OPTIONS = (
    *("size", "held_out", "seed", "image_column", "label_column"),
    *("skip_bad", "label_from", "allow_outside"),
)


def options_of(settings: object) -> dict[str, Any]:
    """Those of `OPTIONS` that settings have."""
    return {name: getattr(settings, name) for name in OPTIONS if hasattr(settings, name)}


def check_size(size: int | Sequence[int] | None) -> Size | None:
    """`size` as (height, width) in pixels; a number stands for a square.

    Raises:
        PilotageError: Not one or two positive whole numbers.
    """
    if size is None:
        return None
    pair = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(pair) != 2 or not all(is_length(length) for length in pair):
        raise PilotageError(
            f"data: size={size!r} is not allowed; give a positive whole number of pixels or "
            "(height, width)"
        )
    return int(pair[0]), int(pair[1])


def is_length(value: object) -> TypeGuard[int]:
    """Whether `value` is a positive whole number."""
    return is_whole(value) and value > 0


def is_whole(value: object) -> TypeGuard[int]:
    """Whether `value` is a whole number."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_held_out(held_out: float) -> None:
    """Raise PilotageError unless 0 <= held_out < 1."""
    if not isinstance(held_out, Real) or isinstance(held_out, bool) or not 0 <= held_out < 1:
        raise PilotageError(
            f"data: held_out={held_out!r} is not allowed; give a fraction from 0 up to, but not "
            "including, 1"
        )


def check_seed(seed: int) -> None:
    """Raise PilotageError unless seed is a whole number from 0."""
    if not is_whole(seed) or seed < 0:
        raise PilotageError(f"data: seed={seed!r} is not allowed; give a whole number from 0 up")
