"""The settings of a network as one object, which its constructor takes."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The settings of a network, checked when they are put together.

    Raises:
        PilotageError: if a setting is out of range or two settings do not fit together.
    """

    def __post_init__(self) -> None:
        """Check the settings; each class checks its own after those of its bases."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as JSON writes them; ``type(plan)(**plan.settings)`` is an equal plan."""
        pairs = asdict(self).items()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in pairs}
