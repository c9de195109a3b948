"""A small residual classifier for any number of channels and any size of image."""

from math import ceil, log2
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, relu

WIDTHS = (16, 64, 128)
SMALLEST_SIDE = 8
SPATIAL_SIDE = 4
SPATIAL_CHANNELS = 16


def widths_for(height: int, width: int) -> tuple[int, ...]:
    """Channels per level: each level halves the side, until it is at most `SMALLEST_SIDE`.

    8 x 8 and smaller still get two levels.
    """
    halvings = max(1, ceil(log2(max(height, width) / SMALLEST_SIDE)))
    return tuple(WIDTHS[min(level, len(WIDTHS) - 1)] for level in range(halvings + 1))


class Seen(NamedTuple):
    """What the classifier makes of B images."""

    pooled: Float[Tensor, "B D"]
    spatial: Float[Tensor, "B Ds"]
    logits: Float[Tensor, "B K"]


def conv(channels: int, out_channels: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    """Without bias: a norm follows."""
    return nn.Conv2d(channels, out_channels, size, stride, padding=size // 2, bias=False)


class Block(nn.Module):
    """Two 3x3 convolutions, each with batch norm, added to a skip path (1512.03385)."""

    def __init__(self, channels: int, out_channels: int, stride: int):
        super().__init__()
        self.conv_in = conv(channels, out_channels, stride=stride)
        self.norm_in = nn.BatchNorm2d(out_channels)
        self.conv_out = conv(out_channels, out_channels)
        self.norm_out = nn.BatchNorm2d(out_channels)
        same = stride == 1 and channels == out_channels
        self.skip = nn.Identity() if same else conv(channels, out_channels, 1, stride)

    def forward(self, h: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, out_channels, ⌈H/stride⌉, ⌈W/stride⌉)."""
        y = self.norm_out(self.conv_out(relu(self.norm_in(self.conv_in(h)))))
        return relu(self.skip(h) + y)


class Classifier(nn.Module):
    """Stem, one block per level, global mean, linear.

    Pooled features are the mean over the last map. Spatial features are the first
    `SPATIAL_CHANNELS` channels of the map one level above, averaged to at most 4 x 4: ADM's sFID
    too takes the first few channels of a middle map.

    Args:
        shape: (C, H, W) of the images.
        classes: K.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int):
        super().__init__()
        widths = widths_for(*shape[1:])
        self.dimensions = widths[-1]
        self.stem = conv(shape[0], widths[0])
        self.norm = nn.BatchNorm2d(widths[0])
        ins = (widths[0], *widths[:-1])
        self.levels = nn.ModuleList(
            Block(i, o, stride=2 if level else 1)
            for level, (i, o) in enumerate(zip(ins, widths, strict=True))
        )
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Seen:
        """Images in [−1, 1]."""
        h = relu(self.norm(self.stem(x)))
        maps = []
        for level in self.levels:
            h = level(h)
            maps.append(h)
        pooled = maps[-1].mean((2, 3))
        return Seen(pooled, spatial(maps[-2]), self.head(pooled))


def spatial(h: Float[Tensor, "B C H W"]) -> Float[Tensor, "B Ds"]:
    """A map as a vector that still knows where things are, of at most 256 numbers."""
    size = min(SPATIAL_SIDE, h.shape[2]), min(SPATIAL_SIDE, h.shape[3])
    return adaptive_avg_pool2d(h[:, :SPATIAL_CHANNELS], size).flatten(1)
