"""The U-Net of ADM: Dhariwal & Nichol, "Diffusion Models Beat GANs" (2105.05233)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from pilotage.errors import PilotageError
from pilotage.networks.blocks import GroupNorm, Stage, Upsample, double
from pilotage.networks.embedding import (
    TimeClassEmbedding,
    check_fourier,
    input_channels,
    with_fourier,
)
from pilotage.networks.encoder_path import (
    ADMPlan,
    check_split,
    middle,
    way_down,
    zero,
    zero_branches,
)
from pilotage.networks.plan import Network, check_input, class_settings, positive_int


@dataclass(frozen=True, kw_only=True)
class UNetLayersPlan(ADMPlan):
    """The settings of `UNetLayers`: those of `ADMPlan` and of the way up.

    Attributes:
        out_channels: channels of the prediction; as many as ``in_channels`` if None.
        learned_variance: twice the output channels; the second half describes the variance.
        heads_up: number of heads on the way up, if it is not ``heads``.
    """

    out_channels: int | None = None
    learned_variance: bool = False
    heads_up: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("out_channels", "heads_up"):
            if getattr(self, name) is not None:
                positive_int(name, getattr(self, name))
        if self.heads_up is not None:
            self._check_heads_up(self.heads_up)

    @property
    def inputs(self) -> int:
        """Input channels of the first layer."""
        return self.in_channels

    @property
    def outputs(self) -> int:
        """Channels of the output, a learned variance included."""
        prediction = self.in_channels if self.out_channels is None else self.out_channels
        return prediction * (2 if self.learned_variance else 1)

    def heads_up_in(self, channels: int) -> int:
        """Number of heads that share these channels, on the way up."""
        return self.heads_up or self.heads_in(channels)

    def up(self, channels: int) -> nn.Module:
        """The layer that doubles the size."""
        if self.resblock_updown:
            return self.block(channels, channels, double)
        return Upsample(channels, self.conv_resample)

    def _check_heads_up(self, heads_up: int) -> None:
        if self.heads is None:
            raise PilotageError(
                f"heads_up is {heads_up} but heads is None: it may be given only with heads."
            )
        for level, width in enumerate(self.widths):
            if self.attended(level):
                check_split("heads_up", heads_up, width)


class UNetLayers(Network):
    """The layers of the ADM U-Net and their forward pass.

    Down-sampling rounds a size up and the decoder crops to the size of the encoder, so that any
    size is supported; where every size halves evenly, the result is exactly that of ADM.

    Args:
        plan: the settings.
        condition: makes the embedding of every block.
    """

    def __init__(self, plan: UNetLayersPlan, condition: nn.Module):
        super().__init__(plan)
        self.condition = condition
        self.stem = nn.Conv2d(plan.inputs, plan.widths[0], 3, padding=1)
        self.encoder, skips = way_down(plan)
        self.middle = middle(plan)
        self.decoder = _way_up(plan, skips)
        self.norm = GroupNorm(plan.widths[0], plan.norm_groups)
        self.out = nn.Conv2d(plan.widths[0], plan.outputs, 3, padding=1)
        if plan.zero_init:
            zero_branches(self)
            zero(self.out)

    def predict(self, x: Tensor, emb: Tensor, text: Tensor | None = None) -> Tensor:
        """Predict (B, out, H, W).

        Args:
            x: (B, plan.inputs, H, W), input of the first layer.
            emb: (B, E), the embedding of every block.
            text: (B, L, W), the sequence that pixels also attend to, or None.
        """
        h = self.stem(x)
        skips = [h]
        for stage in self.encoder:
            h = stage(h, emb, text)
            skips.append(h)
        h = self.middle(h, emb, text)
        for stage in self.decoder:
            h = stage(_join(h, skips.pop()), emb, text)
        out: Tensor = self.out(silu(self.norm(h)))
        return out


@dataclass(frozen=True, kw_only=True)
class UNetPlan(UNetLayersPlan):
    """The settings of a `UNet`: those of `ADMPlan`, of the way up (`UNetLayersPlan`), and these.

    Attributes:
        num_classes: number of classes, or None for an unconditional network.
        null_class: one more label, ``num_classes``, that means "no class".
        fourier: (n_min, n_max): the input is [x, sin 2π2ⁿx, cos 2π2ⁿx] for every n between,
            both included, which improves likelihoods (2107.00630, appendix C); x alone if None.
    """

    num_classes: int | None = None
    null_class: bool = False
    fourier: Sequence[int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        class_settings(self.num_classes, self.null_class)
        check_fourier(self.fourier)

    @property
    def null(self) -> int | None:
        """The null label, or None."""
        return self.num_classes if self.null_class else None

    @property
    def inputs(self) -> int:
        """Input channels of the first layer, Fourier features included."""
        return input_channels(self.in_channels, self.fourier)

    def embedding(self) -> TimeClassEmbedding:
        """The time and class embedding."""
        return TimeClassEmbedding(self.channels, self.num_classes, self.null_class)


class UNet(UNetLayers):
    """The ADM U-Net for images of any channel count, height and width.

    Attributes:
        null: the null label, or None.
    """

    plan: UNetPlan
    condition: TimeClassEmbedding

    def __init__(self, plan: UNetPlan):
        super().__init__(plan, plan.embedding())
        self.null = plan.null

    def forward(self, x: Tensor, time: Tensor, cond: Tensor | None = None) -> Tensor:
        """Predict from a noisy image.

        Args:
            x: (B, C, H, W) images.
            time: (B,) times.
            cond: (B,) int64 classes, or None; with a null label, None is that label for all.

        Returns:
            (B, out, H, W), ``out`` being ``out_channels``, or twice that with a learned variance.

        Raises:
            PilotageError: if a shape is wrong, or ``cond`` is missing or not supported.
        """
        check_input(x, time, self.plan.in_channels)
        return self.predict(with_fourier(x, self.plan.fourier), self.condition(time, cond))


def _way_up(plan: UNetLayersPlan, skips: list[int]) -> nn.ModuleList:
    """Build the decoder: one more block per level than in the encoder."""
    stages, last = [], skips[-1]
    for level in reversed(range(len(plan.widths))):
        width = plan.widths[level]
        for index in range(plan.num_res_blocks + 1):
            leave = level > 0 and index == plan.num_res_blocks
            heads = plan.heads_up_in(width)
            stages.append(
                Stage(
                    block=plan.block(last + skips.pop(), width),
                    attention=plan.attention(width, heads) if plan.attended(level) else None,
                    up=plan.up(width) if leave else None,
                )
            )
            last = width
    return nn.ModuleList(stages)


def _join(h: Tensor, skip: Tensor) -> Tensor:
    """Concatenate both, with ``h`` cropped to the size of ``skip``."""
    height, width = skip.shape[-2:]
    return torch.cat([h[..., :height, :width], skip], dim=1)
