"""The settings of a network as one object."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from pilotage.networks.checks import fraction, positive_int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The settings of a network, validated on construction.

    Raises:
        PilotageError: from any plan, if a setting is out of range or settings are inconsistent.
    """

    def __post_init__(self) -> None:
        """Validate the settings; each class validates its own after those of its bases."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as JSON writes them; ``type(plan)(**plan.settings)`` is an equal plan."""
        pairs = asdict(self).items()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in pairs}


class Network(nn.Module):
    """A network that is determined by its plan.

    Args:
        plan: the settings.

    Attributes:
        plan: the same.
        settings: the same as JSON types; ``UNet(UNetPlan(**unet.settings))`` is one like ``unet``.
    """

    plan: Plan

    def __init__(self, plan: Plan):
        super().__init__()
        self.plan = plan
        self.settings = plan.settings


@dataclass(frozen=True, kw_only=True)
class MultiscalePlan(Plan):
    """The settings of networks with several resolutions.

    Attributes:
        in_channels: channels of the images.
        channels: base width; the time and class embedding is 4 times as wide.
        channel_mult: width of each level, in units of ``channels``; each level halves the size.
        num_res_blocks: residual blocks per level (one more on the way up).
        attention_resolutions: down-sampling rates (1, 2, 4, ...) with attention; the middle always
            has it.
        dropout: probability of dropping an activation in a residual block.
    """

    in_channels: int = 3
    channels: int = 64
    channel_mult: Sequence[float] = (1, 2, 2)
    num_res_blocks: int = 2
    attention_resolutions: Sequence[int] = (2, 4)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("in_channels", "channels", "num_res_blocks"):
            positive_int(name, getattr(self, name))
        fraction("dropout", self.dropout)

    def attended(self, level: int) -> bool:
        """Whether the blocks of this level are followed by attention."""
        return 2**level in self.attention_resolutions
