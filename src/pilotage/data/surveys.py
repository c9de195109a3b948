"""All images of a data set, looked at before any is used: which cannot be read, and their sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from pilotage.data.columns import Table
from pilotage.data.decode import (
    LARGE,
    BadImageError,
    Header,
    Shape,
    check_one_size,
    choose_shape,
    choose_top,
)
from pilotage.data.request import Request, Size
from pilotage.errors import PilotageError

NAMED_AT_MOST = 100
FAR_SMALLER = 4  # times, in height or width, than the median


def keep_readable(
    tables: Sequence[Table], request: Request
) -> tuple[list[Table], list[list[Header]]]:
    """The tables without the images that cannot be read, and the headers of the others.

    Raises:
        PilotageError: Images cannot be read, all of which are named, and `skip_bad` is not set; or
            no training image is left.
    """
    surveys = [table.images.survey(whole=request.skip_bad) for table in tables]
    bad = [found for survey in surveys for found in survey if isinstance(found, BadImageError)]
    if bad and not request.skip_bad:
        raise_all(tables, bad)
    if bad:
        request.say(f"data: {listed(bad, sum(map(len, surveys)))}; they are left out")
    good = [[not isinstance(found, BadImageError) for found in survey] for survey in surveys]
    if not any(good[0]):
        raise PilotageError(f"data: no image of split {tables[0].split!r} can be read")
    headers = [[found for found in survey if isinstance(found, Header)] for survey in surveys]
    kept = zip(tables, good, strict=True)
    return [table.select(np.flatnonzero(rows)) for table, rows in kept], headers


def raise_all(tables: Sequence[Table], known: Sequence[BadImageError]) -> NoReturn:
    """Raise one error that names all images which cannot be read; all are decoded to find them."""
    found = [x for table in tables for x in table.images.survey(whole=True)]
    bad = [x for x in found if isinstance(x, BadImageError)] or list(known)
    if len(bad) == 1:
        raise PilotageError(f"{bad[0]} (--skip-bad leaves such images out)") from bad[0].__cause__
    raise PilotageError(
        f"data: {listed(bad, len(found))}; mend or remove them, or set skip_bad to leave them out"
    )


def listed(bad: Sequence[BadImageError], total: int) -> str:
    """Images that cannot be read, by name and reason."""
    names = some([f"{image.name} ({image.reason})" for image in bad])
    return f"{len(bad)} of {total} images cannot be read: {names}"


def choose_form(
    tables: Sequence[Table], surveys: Sequence[Sequence[Header]], request: Request
) -> tuple[Shape, int]:
    """The shape that all images get, and what is white in whole numbers of more than 8 bits.

    Raises:
        PilotageError: No size is given, and the images' own would be that of a few far smaller
            ones, which are named, or is too large, or must be one and is not.
    """
    headers = Counter(header for survey in surveys for header in survey)
    if request.size is None:
        if not request.mixed_sizes:
            check_one_size(headers)
        check_own_size(tables, surveys)
    elif 0 < len(small := far_smaller(tables, surveys, request.size)) < headers.total():
        request.say(
            f"data: {len(small)} of {headers.total()} images are far smaller than "
            f"{request.size[0]}x{request.size[1]} and are enlarged: {some(small)}"
        )
    return choose_shape(headers, request.size, request.say), choose_top(headers)


def check_own_size(tables: Sequence[Table], surveys: Sequence[Sequence[Header]]) -> None:
    """Raise a PilotageError unless the size that no image has to grow for makes sense for all."""
    headers = [header for survey in surveys for header in survey]
    heights = sorted(header.height for header in headers)
    widths = sorted(header.width for header in headers)
    height, width = heights[len(heights) // 2], widths[len(widths) // 2]
    if small := far_smaller(tables, surveys, (height, width)):
        verb = "is" if len(small) == 1 else "are"
        raise PilotageError(
            f"data: {len(small)} of {len(headers)} images {verb} far smaller than the median of "
            f"{height}x{width} (height x width), and all would shrink to that: {some(small)}; "
            "remove them, or give size"
        )
    if heights[0] * widths[0] > LARGE:
        raise PilotageError(
            f"data: the images are at least {heights[0]}x{widths[0]} (height x width), which is "
            "too large to be taken as it is; give size"
        )


def far_smaller(
    tables: Sequence[Table], surveys: Sequence[Sequence[Header]], size: Size
) -> list[str]:
    """Names and sizes of the images that are `FAR_SMALLER` than (height, width)."""
    height, width = size
    return [
        f"{table.images.name(row)} ({header.height}x{header.width})"
        for table, survey in zip(tables, surveys, strict=True)
        for row, header in enumerate(survey)
        if header.height * FAR_SMALLER < height or header.width * FAR_SMALLER < width
    ]


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
