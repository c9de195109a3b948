"""The stages of `NCSNpp`: blocks at one resolution, resampling, and a pyramid of images.

The pyramid is the downsampled input ("progressive input") or the upsampled output ("progressive")
parallel to the features, as in NCSN++ (2011.13456, section 4.1 and appendix H).
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from pilotage.networks.adaptive import Embeddings, Norm, Resample, divisor
from pilotage.networks.initial import NEARLY_ZERO, uniform_init
from pilotage.networks.ncsnpp_plan import NCSNppPlan
from pilotage.networks.resampling import Resampling


class BlockStage(nn.Module):
    """A residual block and optional attention, at one resolution."""

    def __init__(self, plan: NCSNppPlan, level: int, channels: int):
        super().__init__()
        width = plan.width(level)
        self.block = plan.residual(channels, width)
        self.attention = plan.attention_at(level, width)

    def forward(self, h: Tensor, pyramid: Tensor, emb: Embeddings) -> tuple[Tensor, Tensor]:
        """(B, channels, H, W) to (B, width, H, W); the pyramid as it is."""
        h = self.block(h, emb)
        return (h if self.attention is None else self.attention(h)), pyramid


class DownStage(nn.Module):
    """Half the size, and the pyramid joined to the features."""

    def __init__(self, plan: NCSNppPlan, channels: int, pyramid_channels: int):
        super().__init__()
        self.down = Resize(plan, channels, "down")
        self.join = _join(plan, channels, pyramid_channels)
        doubled = isinstance(self.join, JoinImage) and plan.progressive_combine == "cat"
        self.out_channels = 2 * channels if doubled else channels
        self.pyramid_channels = channels if isinstance(self.join, JoinSum) else pyramid_channels

    def forward(self, h: Tensor, pyramid: Tensor, emb: Embeddings) -> tuple[Tensor, Tensor]:
        """Features (B, channels, H, W) and the pyramid to half the size."""
        h = self.down(h, emb)
        return (h, pyramid) if self.join is None else self.join(h, pyramid)


class Resize(nn.Module):
    """Half or twice the size, by a residual block or, between DDPM's blocks, by a layer."""

    def __init__(self, plan: NCSNppPlan, channels: int, way: str):
        super().__init__()
        self.resample: Resample = plan.filter.down if way == "down" else plan.filter.up
        self.block = self.conv = None
        if plan.block != "ddpm":
            self.block = plan.residual(channels, channels, self.resample)
        elif plan.resample_conv:
            conv = plan.down_conv if way == "down" else plan.up_conv
            self.conv = conv(channels, channels)

    def forward(self, h: Tensor, emb: Embeddings) -> Tensor:
        """(B, C, H, W) to half or twice the size."""
        if self.block is not None:
            h = self.block(h, emb)
        else:
            h = self.resample(h) if self.conv is None else self.conv(h)
        return h


class JoinImage(nn.Module):
    """Add or concatenate the downsampled image, after a 1x1 convolution, to the features."""

    def __init__(self, image_channels: int, channels: int, filter: Resampling, cat: bool):
        super().__init__()
        self.filter, self.cat = filter, cat
        self.conv = uniform_init(nn.Conv2d(image_channels, channels, 1))

    def forward(self, h: Tensor, pyramid: Tensor) -> tuple[Tensor, Tensor]:
        """Features at half the size of the image; both at half the size."""
        pyramid = self.filter.down(pyramid)
        joined = self.conv(pyramid)
        return (torch.cat([joined, h], dim=1) if self.cat else joined + h), pyramid


class JoinSum(nn.Module):
    """The halved pyramid plus the features, which becomes both."""

    def __init__(self, plan: NCSNppPlan, pyramid_channels: int, channels: int):
        super().__init__()
        self.divisor = divisor(plan.skip_rescale)
        self.conv = plan.down_conv(pyramid_channels, channels)

    def forward(self, h: Tensor, pyramid: Tensor) -> tuple[Tensor, Tensor]:
        """Features at half the size of the pyramid; both at half the size."""
        pyramid = (self.conv(pyramid) + h) / self.divisor
        return pyramid, pyramid


def _join(plan: NCSNppPlan, channels: int, pyramid: int) -> JoinImage | JoinSum | None:
    if plan.progressive_input == "input_skip":
        return JoinImage(pyramid, channels, plan.filter, plan.progressive_combine == "cat")
    if plan.progressive_input == "residual":
        return JoinSum(plan, pyramid, channels)
    return None


class UpStage(nn.Module):
    """One level of the decoder: blocks, attention, the output pyramid, and upsampling."""

    def __init__(self, plan: NCSNppPlan, level: int, channels: int, skips: list[int]):
        super().__init__()
        width = plan.width(level)
        inputs = [channels] + [width] * plan.num_res_blocks
        self.blocks = nn.ModuleList(plan.residual(n + skips.pop(), width) for n in inputs)
        self.attention = plan.attention_at(level, width)
        lowest = level == plan.levels - 1
        self.head, self.climb = None, None
        if plan.progressive == "output_skip":
            self.head = Head(width, plan.in_channels)
        elif plan.progressive == "residual" and lowest:
            self.head = Head(width, width, 1.0)
        elif plan.progressive == "residual":
            self.climb = plan.up_conv(plan.width(level + 1), width)
        self.filter, self.divisor = plan.filter, divisor(plan.skip_rescale)
        self.up = Resize(plan, width, "up") if level else None

    def forward(
        self, h: Tensor, skips: list[Tensor], pyramid: Tensor | None, emb: Embeddings
    ) -> tuple[Tensor, Tensor | None]:
        """Process features, with skip connections, and the output pyramid."""
        for block in self.blocks:
            h = block(torch.cat([h, skips.pop()], dim=1), emb)
        if self.attention is not None:
            h = self.attention(h)
        h, pyramid = self._result(h, pyramid)
        return (h if self.up is None else self.up(h, emb)), pyramid

    def _result(self, h: Tensor, pyramid: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.climb is not None:
            pyramid = (self.climb(pyramid) + h) / self.divisor
            return pyramid, pyramid
        if self.head is None:
            return h, pyramid
        own = self.head(h)
        return h, own if pyramid is None else self.filter.up(pyramid) + own


class Head(nn.Module):
    """Norm, SiLU and a 3x3 convolution."""

    def __init__(self, channels: int, out_channels: int, scale: float = NEARLY_ZERO):
        super().__init__()
        self.norm = Norm(channels)
        self.conv = uniform_init(nn.Conv2d(channels, out_channels, 3, padding=1), scale)

    def forward(self, h: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, out_channels, H, W)."""
        out: Tensor = self.conv(silu(self.norm(h)))
        return out
