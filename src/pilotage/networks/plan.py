"""The settings of a network as one object, and the checks of settings and inputs."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from pilotage.errors import PilotageError


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


# --- checks --------------------------------------------------------------------------------------


def positive_int(name: str, value: Any) -> int:
    """Return ``value``, or raise a `PilotageError` unless it is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise PilotageError(f"{name} is {value!r}: it must be a whole number of at least 1.")
    return value


def fraction(name: str, value: Any) -> float:
    """Return ``value``, or raise a `PilotageError` unless it lies in [0, 1)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise PilotageError(f"{name} is {value!r}: it must be a number in [0, 1).")
    return value


def is_number(value: Any) -> bool:
    """Whether a setting is a whole or real number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def one_of(name: str, value: Any, allowed: Iterable[str]) -> None:
    """Raise a `PilotageError` unless ``value`` is one of those allowed."""
    if value not in allowed:
        raise PilotageError(f"{name} is {value!r}: it must be one of {', '.join(allowed)}.")


def class_settings(num_classes: int | None, null_class: bool) -> None:
    """Raise a `PilotageError` unless the class settings of a network are consistent."""
    if num_classes is not None:
        positive_int("num_classes", num_classes)
    elif null_class:
        raise PilotageError(
            "null_class is True but num_classes is None: it must be at least 1, for a null label."
        )


def check_input(x: Tensor, time: Tensor, channels: int) -> None:
    """Raise a `PilotageError` unless x is (B, channels, H, W) and time (B,)."""
    if x.ndim != 4 or x.shape[1] != channels or x.shape[:1] != time.shape:
        raise PilotageError(
            f"x has shape {tuple(x.shape)} and time {tuple(time.shape)}: they must be "
            f"(B, {channels}, H, W) and (B,)."
        )
