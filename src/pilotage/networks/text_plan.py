"""The settings of a `TextUNet`, checked, and the attention that they make."""

from dataclasses import dataclass
from typing import Any

from pilotage.networks.attention import Attention
from pilotage.networks.text_transformer import check_text_settings
from pilotage.networks.unet import UNetPlan

_CLASSES = ("num_classes", "null_class", "fourier")  # of a `UNet` alone


@dataclass(frozen=True, kw_only=True)
class TextPlan(UNetPlan):
    """The settings of a `TextUNet`, checked.

    Raises:
        PilotageError: if a setting is out of range or two settings do not fit together.
    """

    vocabulary: int | None
    context: int
    text_width: int
    text_layers: int
    text_heads: int
    final_norm: bool
    padding: bool
    low_res: bool
    inpaint: bool
    encoder_width: int | None = None
    num_classes: None = None
    null_class: bool = False
    fourier: None = None

    def __post_init__(self):
        super().__post_init__()
        check_text_settings(
            self.vocabulary,
            self.context,
            self.text_width,
            self.text_layers,
            self.text_heads,
            self.encoder_width,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as JSON writes them."""
        return {n: value for n, value in super().settings.items() if n not in _CLASSES}

    @property
    def beside(self) -> int:
        """Channels of the images beside x."""
        known = self.in_channels + 1 if self.inpaint else 0
        return known + (self.in_channels if self.low_res else 0)

    @property
    def inputs(self) -> int:
        """Channels that the first layer sees."""
        return self.in_channels + self.beside

    def attention(self, channels: int) -> Attention:
        """Attention to pixels and text with the heads of the way down and the middle."""
        return Attention(channels, self.heads_in(channels), self.norm_groups, self.text_width)

    def attention_up(self, channels: int) -> Attention:
        """Attention to pixels and text with the heads of the way up."""
        heads = self.heads_up or self.heads_in(channels)
        return Attention(channels, heads, self.norm_groups, self.text_width)
