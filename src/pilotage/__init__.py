"""Pilotage trains, steers and measures guided diffusion models.

``load_run(path).sample(labels, w=...)`` is the short way in; ``pilotage.diffusion`` holds the
formalism and the functions that everything is made of.
"""

from typing import TYPE_CHECKING, Any

from pilotage.version import __version__

if TYPE_CHECKING:
    from pilotage.run import Run, load_run

__all__ = ["Run", "__version__", "load_run"]


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for."""
    if name in ("Run", "load_run"):
        from pilotage import run

        return getattr(run, name)
    raise AttributeError(f"module 'pilotage' has no attribute {name!r}")
