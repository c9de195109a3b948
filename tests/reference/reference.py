"""Recorded inputs and outputs of the published code that Pilotage is measured against.

A small set lies beside the tests; the large one is used as well where it is found. A test takes
whatever a folder holds: `every_folder` gives it a case of each, `each` the items of a list that the
case itself has. What a folder lacks makes a test skip, by name.
"""

import json
import os
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

from .drawn import drawn, fingerprint

SMALL = Path(__file__).parent / "small"
CASES = (
    *("adm_unet", "adm_classifier", "gaussian_diffusion", "glide_text2im", "ddgan"),
    *("vdm", "samplers", "metrics", "guiders"),
)


def folders() -> dict[str, Path]:
    """The folders to test with: the small set, and the large one if it is named or found.

    PILOTAGE_REFERENCE names the large set; by default it lies beside the repository.
    """
    named = os.environ.get("PILOTAGE_REFERENCE")
    beside = Path(__file__).parents[2].parent / "shared" / "reference"
    large = Path(named or beside)
    return {"small": SMALL} | ({"full": large} if named or large.is_dir() else {})


def folder() -> Path:
    """The large set, or the small one without it."""
    return folders()[next(reversed(folders()))]


class Found(dict[str, Any]):
    """What a folder has of a case; asking for anything else skips the test."""

    def __init__(self, entries: dict[str, Any], where: str):
        super().__init__(entries)
        self.where = where

    def __missing__(self, name: str) -> Any:
        pytest.skip(f"{self.where} has no {name}")


Case = tuple[Found, Found]


def case(name: str, where: str | None = None) -> Case:
    """The settings and the tensors of one case; the test is skipped where they are absent.

    Args:
        name: of the case.
        where: key of `folders`; by default the large set, or the small one without it.
    """
    return _loaded(name, where or next(reversed(folders())))


@cache
def _loaded(name: str, where: str) -> Case:
    paths = [folders()[where] / f"{name}.{suffix}" for suffix in ("json", "safetensors")]
    for path in paths:
        if not path.is_file():
            pytest.skip(f"{where} has no {path}")
    facts = json.loads(paths[0].read_text(encoding="utf-8"))
    tensors, label = load_file(paths[1]), f"{where}/{name}"
    for entry in facts.pop("drawn", ()):
        made = drawn(entry)
        if fingerprint(made) == entry["sha256"]:
            tensors |= made
            continue
        label = f"{where}/{name} (torch.randn gives other last bits here)"
        if entry["matrices"]:  # a network lacks all where it lacks some
            tensors = {k: t for k, t in tensors.items() if not k.startswith(entry["prefix"])}
    return Found(facts, f"{where}/{name}"), Found(tensors, label)


def state_dict(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors named ``prefix/...``, without the prefix; the test is skipped without any."""
    start = prefix.rstrip("/") + "/"
    found = {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}
    return found or tensors[f"{start}*"]


# --- a test for everything that is there ---------------------------------------------------------


def every_folder(name: str) -> Any:
    """A fixture ``recorded``: that case, from every folder."""

    @pytest.fixture(scope="module", params=folders(), name="recorded")
    def recorded(request: pytest.FixtureRequest) -> Case:
        return case(name, request.param)

    return recorded


def each(
    name: str, listed: Callable[[Case], Iterable[Any]], *arguments: str, what: str = "items"
) -> Any:
    """Run a test for every item of a list, in every folder.

    Args:
        name: of the case, which the test takes as ``recorded``.
        listed: the items, from the case. One may be a `pytest.param`.
        what: they are, to say that there are none.
        *arguments: of the test that take an item.
    """
    runs = []
    for where in folders():
        try:
            items = list(listed(case(name, where))) or [absent(f"{where}/{name} has no {what}")]
        except pytest.skip.Exception as missing:
            items = [absent(str(missing))]
        for item in items:
            given, marks = item, ()
            if isinstance(item, type(pytest.param())):
                given, marks = item.values, item.marks
            given = given if isinstance(given, tuple) else (given,)
            given += (None,) * (len(arguments) - len(given))
            label = "-".join([where, *(word for word in given if isinstance(word, str))])
            runs.append(pytest.param(where, *given, marks=marks, id=label))
    return pytest.mark.parametrize(("recorded", *arguments), runs, indirect=["recorded"])


def absent(reason: str, name: str = "none") -> Any:
    """An item that says why there is no other."""
    return pytest.param(name, marks=pytest.mark.skip(reason=reason))


class Answers:
    """Functions that compute recorded tensors, each for the names that fit a pattern.

    Args:
        name: of the case.
        shown: what an answer is known by: the tensor's name, less its precision. None for tensors
            that are given, not answers.
    """

    def __init__(self, name: str, shown: Callable[[str], str | None]):
        self.name, self.shown = name, shown
        self.known: dict[re.Pattern[str], Callable[..., Tensor]] = {}

    def __call__(self, pattern: str) -> Callable[[Any], Any]:
        """Register the function that computes the tensors that fit."""

        def register(function: Any) -> Any:
            self.known[re.compile(pattern)] = function
            return function

        return register

    def each(self) -> Any:
        """Run a test for every answer that a folder has; kinds that it has not are skipped."""
        return each(self.name, self._listed, "name")

    def _listed(self, found: Case) -> Iterable[Any]:
        facts, tensors = found
        names = {name: short for name in sorted(tensors) if (short := self.shown(name))}
        yield from names
        for pattern in self.known:
            if not any(map(pattern.fullmatch, names.values())):
                kind = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"<\1>", pattern.pattern).replace("\\", "")
                yield absent(f"{facts.where} has no {kind}", kind)

    def of(self, name: str, run: Any) -> Tensor:
        """What ours is, by the one function that knows the name."""
        short = self.shown(name) or ""
        found = [(f, match) for p, f in self.known.items() if (match := p.fullmatch(short))]
        assert len(found) == 1, f"{len(found)} answers know {short}"
        function, match = found[0]
        return function(run, **match.groupdict())


# --- tolerances ----------------------------------------------------------------------------------


def distance(a: Tensor, b: Tensor) -> float:
    """The largest difference of two tensors of one shape."""
    assert a.shape == b.shape
    return (a - b).abs().max().item()


def largest(tensor: Tensor) -> float:
    """The largest absolute value."""
    return tensor.abs().max().item()


def float32_room(measured: float, reference: Tensor) -> float:
    """Ten times what the reference's own two precisions differ by, and a digit for zeros."""
    return 10 * measured + 1e-6 * largest(reference)


def float64_room(reference: Tensor) -> float:
    """Rounding, after many operations."""
    return 1e-9 * largest(reference)
