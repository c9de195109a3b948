"""The U-Net of ADM: Dhariwal & Nichol, "Diffusion Models Beat GANs" (2105.05233)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from pilotage.errors import PilotageError
from pilotage.networks.attention import Attention
from pilotage.networks.blocks import GroupNorm, Stage, Upsample, double
from pilotage.networks.checks import class_settings, positive_int
from pilotage.networks.embedding import Conditioning
from pilotage.networks.encoder_path import check_input, middle, way_down, zero, zero_branches
from pilotage.networks.fourier import check_fourier, input_channels, with_fourier
from pilotage.networks.plan import Plan, check_split


class UNetLayers(nn.Module):
    """The layers of the ADM U-Net, and the way through them.

    Args:
        plan: the settings.
        condition: gives every block its vector; it has an attribute ``null``.
    """

    def __init__(self, plan: "UNetPlan", condition: nn.Module):
        super().__init__()
        self.settings: dict[str, Any] = plan.settings
        self.fourier = plan.fourier
        self.condition = condition
        self.null = condition.null
        self.stem = nn.Conv2d(plan.inputs, plan.widths[0], 3, padding=1)
        self.encoder, skips = way_down(plan)
        self.middle = middle(plan)
        self.decoder = _decoder(plan, skips)
        self.norm = GroupNorm(plan.widths[0], plan.norm_groups)
        self.out = nn.Conv2d(plan.widths[0], plan.outputs, 3, padding=1)
        if plan.zero_init:
            zero_branches(self)
            zero(self.out)

    def predict(self, x: Tensor, emb: Tensor, text: Tensor | None = None) -> Tensor:
        """(B, C, H, W), a vector (B, E) and perhaps a text (B, L, W) to (B, out, H, W)."""
        h = self.stem(with_fourier(x, self.fourier))
        skips = [h]
        for stage in self.encoder:
            h = stage(h, emb, text)
            skips.append(h)
        h = self.middle(h, emb, text)
        for stage in self.decoder:
            h = stage(_join(h, skips.pop()), emb, text)
        return self.out(silu(self.norm(h)))


class UNet(UNetLayers):
    """The ADM U-Net for images of any channel count, height and width.

    Down-sampling rounds a size up and the way up crops to the size on the way down, so that any
    size fits; where every size halves evenly, the result is exactly that of ADM.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the prediction; as many as ``in_channels`` if None.
        channels: base width; the time and class vector is 4 times as wide.
        channel_mult: width of each level, in units of ``channels``; each level halves the size.
        num_res_blocks: residual blocks per level (one more on the way up).
        attention_resolutions: down-sampling rates (1, 2, 4, ...) with attention; the middle always
            has it.
        num_classes: number of classes, or None for an unconditional network.
        null_class: one more label, ``num_classes``, that means "no class".
        learned_variance: twice the output channels; the second half describes the variance.
        head_channels: channels per attention head; 32 if neither this nor ``heads`` is given.
        heads: number of attention heads, instead of ``head_channels``.
        heads_up: number of heads on the way up, if it is not ``heads``.
        scale_shift_norm: the time and class scale and shift a norm instead of being added.
        resblock_updown: residual blocks resample, instead of layers of their own.
        conv_resample: those layers of their own have a convolution.
        norm_groups: groups of every norm, fewer where they do not divide its channels; with as many
            groups as channels, a norm forgets each channel's mean, so narrow networks want fewer.
        dropout: probability of dropping an activation in a residual block.
        zero_init: residual branches and the output start at zero, as in ADM.
        fourier: (n_min, n_max): the first layer sees [x, sin 2π2ⁿx, cos 2π2ⁿx] for every n between,
            both included, which helps a likelihood (2107.00630, appendix C); x alone if None.

    Attributes:
        settings: the arguments that rebuild the network, ``UNet(**unet.settings)``, as JSON types.
        null: the null label, or None.

    Raises:
        PilotageError: if a setting is out of range or two settings do not fit together.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int | None = None,
        channels: int = 64,
        channel_mult: Sequence[float] = (1, 2, 2),
        num_res_blocks: int = 2,
        attention_resolutions: Sequence[int] = (2, 4),
        num_classes: int | None = None,
        null_class: bool = False,
        learned_variance: bool = False,
        head_channels: int | None = None,
        heads: int | None = None,
        heads_up: int | None = None,
        scale_shift_norm: bool = True,
        resblock_updown: bool = True,
        conv_resample: bool = True,
        norm_groups: int = 32,
        dropout: float = 0.0,
        zero_init: bool = True,
        fourier: Sequence[int] | None = None,
    ):
        plan = UNetPlan(
            in_channels=in_channels,
            out_channels=out_channels,
            channels=channels,
            channel_mult=channel_mult,
            num_res_blocks=num_res_blocks,
            attention_resolutions=attention_resolutions,
            num_classes=num_classes,
            null_class=null_class,
            learned_variance=learned_variance,
            head_channels=head_channels,
            heads=heads,
            heads_up=heads_up,
            scale_shift_norm=scale_shift_norm,
            resblock_updown=resblock_updown,
            conv_resample=conv_resample,
            norm_groups=norm_groups,
            dropout=dropout,
            zero_init=zero_init,
            fourier=fourier,
        )
        super().__init__(plan, Conditioning(channels, num_classes, null_class))

    def forward(self, x: Tensor, time: Tensor, cond: Tensor | None = None) -> Tensor:
        """Predict from a noisy image.

        Args:
            x: (B, C, H, W) images.
            time: (B,) times.
            cond: (B,) int64 classes, or None; with a null label, None is that label for all.

        Returns:
            (B, out, H, W), ``out`` being ``out_channels``, or twice that with a learned variance.

        Raises:
            PilotageError: if a shape is wrong, or ``cond`` is missing or given in vain.
        """
        check_input(x, time, self.settings["in_channels"])
        return self.predict(x, self.condition(time, cond))


@dataclass(frozen=True, kw_only=True)
class UNetPlan(Plan):
    """The settings of a `UNet`, checked, and the layers of its way up.

    Raises:
        PilotageError: if a setting is out of range or two settings do not fit together.
    """

    out_channels: int | None
    num_classes: int | None
    null_class: bool
    learned_variance: bool
    heads_up: int | None
    fourier: Sequence[int] | None

    def __post_init__(self):
        super().__post_init__()
        for name in ("out_channels", "heads_up"):
            if getattr(self, name) is not None:
                positive_int(name, getattr(self, name))
        class_settings(self.num_classes, self.null_class)
        check_fourier(self.fourier)
        if self.heads_up is not None and self.heads is None:
            raise PilotageError(
                f"heads_up is {self.heads_up} but heads is None: it may be given only with heads."
            )
        for level, width in enumerate(self.widths):
            if self.attended(level):
                check_split("heads_up", self.heads_up, width)

    @property
    def inputs(self) -> int:
        """Channels that the first layer sees, Fourier features included."""
        return input_channels(self.in_channels, self.fourier)

    @property
    def outputs(self) -> int:
        """Channels of the output, a learned variance included."""
        prediction = self.in_channels if self.out_channels is None else self.out_channels
        return prediction * (2 if self.learned_variance else 1)

    def attention_up(self, channels: int) -> Attention:
        """Self-attention with the heads of the way up."""
        return Attention(channels, self.heads_up or self.heads_in(channels), self.norm_groups)

    def up(self, channels: int) -> nn.Module:
        """The layer that doubles the size."""
        if self.resblock_updown:
            return self.block(channels, channels, double)
        return Upsample(channels, self.conv_resample)


def _decoder(plan: UNetPlan, skips: list[int]) -> nn.ModuleList:
    """The way up: one block more per level than down, since resampled maps are joined too."""
    stages, last = [], skips[-1]
    for level in reversed(range(len(plan.widths))):
        width = plan.widths[level]
        for index in range(plan.num_res_blocks + 1):
            leave = level > 0 and index == plan.num_res_blocks
            stages.append(
                Stage(
                    block=plan.block(last + skips.pop(), width),
                    attention=plan.attention_up(width) if plan.attended(level) else None,
                    up=plan.up(width) if leave else None,
                )
            )
            last = width
    return nn.ModuleList(stages)


def _join(h: Tensor, skip: Tensor) -> Tensor:
    """Channels of both, ``h`` cropped to the size that ``skip`` had on the way down."""
    height, width = skip.shape[-2:]
    return torch.cat([h[..., :height, :width], skip], dim=1)
