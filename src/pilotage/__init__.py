"""Pilotage trains, steers and measures guided diffusion models.

``load_run(path).sample(labels, w=...)`` is the short way in; ``pilotage.diffusion`` holds the
formalism and the functions that everything is made of.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pilotage.version import __version__

if TYPE_CHECKING:
    from pilotage.models.classifier import NoisyRun, load_classifier
    from pilotage.models.load import load_run
    from pilotage.models.model import Run

__all__ = ["NoisyRun", "Run", "__version__", "load_classifier", "load_run"]

_HOMES = {
    "NoisyRun": "pilotage.models.classifier",
    "Run": "pilotage.models.model",
    "load_classifier": "pilotage.models.classifier",
    "load_run": "pilotage.models.load",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pilotage' has no attribute {name!r}")
