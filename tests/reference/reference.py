"""Recorded inputs and outputs of the published code that Pilotage is measured against."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor


def folder() -> Path:
    """The folder named by PILOTAGE_REFERENCE, or the one beside the repository."""
    beside = Path(__file__).parents[2].parent / "shared" / "reference"
    return Path(os.environ.get("PILOTAGE_REFERENCE") or beside)


def case(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The settings and the tensors of one case; the test is skipped where they are absent."""
    paths = [folder() / f"{name}.json", folder() / f"{name}.safetensors"]
    for path in paths:
        if not path.is_file():
            pytest.skip(f"no reference file {path} (PILOTAGE_REFERENCE names its folder)")
    return json.loads(paths[0].read_text(encoding="utf-8")), load_file(paths[1])


def state_dict(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors named ``prefix/...``, without the prefix."""
    start = prefix.rstrip("/") + "/"
    return {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}
