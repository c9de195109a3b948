"""Pilotage trains, steers and measures guided diffusion models.

``load_run(path).sample(labels, w=...)`` is the short way in; ``pilotage.diffusion`` holds the
formalism and the functions that everything is made of.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pilotage.version import __version__

if TYPE_CHECKING:
    from pilotage.models.classifier import Classifier, load_classifier
    from pilotage.models.model import Model, load_run

__all__ = ["Classifier", "Model", "__version__", "load_classifier", "load_run"]

_HOMES = {
    "Classifier": "pilotage.models.classifier",
    "Model": "pilotage.models.model",
    "load_classifier": "pilotage.models.classifier",
    "load_run": "pilotage.models.model",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pilotage' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return [*__all__]
