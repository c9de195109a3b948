"""The one shape that all images of a data set get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import no_type_check

from pilotage.data.decode import Header
from pilotage.errors import PilotageError

Size = tuple[int, int]


@no_type_check
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


def is_length(value: object) -> bool:
    """Whether `value` is a positive whole number."""
    return isinstance(value, Integral) and not isinstance(value, bool) and value > 0


def choose_shape(
    headers: Counter[Header], size: Size | None, say: Callable[[str], None]
) -> tuple[int, int, int]:
    """The shape (C, H, W) for images with these headers, said where it changes any of them.

    Args:
        headers: How many images have each header.
        size: (height, width) as asked for, or None: the common size, and for mixed sizes the
            smallest height and the smallest width.
        say: Receives one-line notes.
    """
    total = headers.total()
    if alpha := sum(n for header, n in headers.items() if header.alpha):
        say(f"data: the alpha channel of {alpha} of {total} images is dropped")
    if deep := sum(n for header, n in headers.items() if header.deep):
        say(f"data: {deep} of {total} images have more than 8 bits and are scaled to 0..255")
    return choose_channels(headers, say), *choose_size(headers, size, say)


def choose_channels(headers: Counter[Header], say: Callable[[str], None]) -> int:
    """1 if every image is grey, else 3."""
    grey = sum(n for header, n in headers.items() if header.channels == 1)
    if 0 < grey < headers.total():
        say(f"data: {grey} of {headers.total()} images are grey and become RGB like the others")
    return 1 if grey == headers.total() else 3


def check_one_size(headers: Counter[Header]) -> None:
    """Raise a `PilotageError` if images are of several sizes."""
    sizes = sorted({(header.height, header.width) for header in headers})
    if len(sizes) > 1:
        shown = ", ".join(f"{height}x{width}" for height, width in sizes[:3])
        raise PilotageError(
            f"images have {len(sizes)} sizes ({shown}{', ...' if len(sizes) > 3 else ''}): they "
            "must all have one, or give size to resize them."
        )


def choose_size(
    headers: Counter[Header], size: Size | None, say: Callable[[str], None]
) -> tuple[int, int]:
    """The size (height, width) as asked for, or the largest that no image has to grow for."""
    heights = [header.height for header in headers]
    widths = [header.width for header in headers]
    height, width = size or (min(heights), min(widths))
    others = sum(n for h, n in headers.items() if (h.height, h.width) != (height, width))
    if others:
        say(
            f"data: {others} of {headers.total()} images are resized and centre-cropped to "
            f"{height}x{width} (height x width); heights are {min(heights)} to {max(heights)}, "
            f"widths {min(widths)} to {max(widths)}"
        )
    return height, width
