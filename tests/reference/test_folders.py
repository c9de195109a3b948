"""The folders of recorded values themselves: each case holds what its JSON lists."""

import json

import pytest
import torch

from .drawn import drawn, fingerprint
from .reference import CASES, SMALL, case, folders

VECTORISED = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("where", folders())
def test_the_listed_tensors_are_there(where, name):
    facts, tensors = case(name, where)
    for key, (dtype, shape) in facts["tensors"].items():
        found = tensors[key]
        assert (str(found.dtype), list(found.shape)) == (f"torch.{dtype}", shape), key


@pytest.mark.skipif(not VECTORISED, reason="without AVX2, torch.randn gives other last bits")
@pytest.mark.parametrize("name", CASES)
def test_what_is_drawn_is_what_was_recorded(name):
    facts = json.loads((SMALL / f"{name}.json").read_text(encoding="utf-8"))
    for entry in facts.get("drawn", ()):
        assert fingerprint(drawn(entry)) == entry["sha256"], entry["prefix"]


def test_the_small_set_has_every_case_and_stays_small():
    assert {path.stem for path in SMALL.glob("*.safetensors")} == set(CASES)
    assert sum(path.stat().st_size for path in SMALL.rglob("*") if path.is_file()) <= 700_000
