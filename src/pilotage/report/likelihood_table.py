"""Bounds that can be compared: those of the same images."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pilotage.report.bounds import Bound
from pilotage.report.names import listed
from pilotage.report.read import Source


class Coded(NamedTuple):
    """The same images, coded by models and codecs.

    Attributes:
        data: how they were called.
        bounds: the newest of each key, by run in the order given.
        codecs: bits per dimension of each, the newest.
    """

    hash: str
    n: int
    data: str
    bounds: tuple[Bound, ...]
    codecs: dict[str, float]

    @property
    def name(self) -> str:
        """The images in words."""
        return f"{self.data or 'data'} ({self.short})"

    @property
    def short(self) -> str:
        """What tells them from others."""
        return f"n = {self.n}, hash {self.hash[:12]}"


def coded_images(sources: Sequence[Source]) -> list[Coded]:
    """Each data and number of images by itself."""
    found: dict[tuple[str, int], list[Bound]] = {}
    for source in sources:
        for bound in source.bounds:
            found.setdefault((bound.hash, bound.n), []).append(bound)
    return [_coded(*key, bounds) for key, bounds in found.items()]


def _coded(images: str, n: int, bounds: list[Bound]) -> Coded:
    codecs: dict[str, float] = {}
    for bound in bounds:
        codecs |= bound.codecs
    data = listed(dict.fromkeys(bound.data for bound in bounds if bound.data))
    return Coded(images, n, data, _newest(bounds), codecs)


def _newest(bounds: Iterable[Bound]) -> tuple[Bound, ...]:
    return tuple({bound.key: bound for bound in bounds}.values())
