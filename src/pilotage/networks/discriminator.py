"""The time-dependent discriminators of denoising diffusion GANs (2112.07804, appendix C)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from pilotage.errors import PilotageError
from pilotage.networks.embedding import DDGANEmbedding, check_classes, check_time_features
from pilotage.networks.initial import NEARLY_ZERO, uniform_init
from pilotage.networks.plan import Network, Plan, class_settings, one_of, positive_int
from pilotage.networks.resampling import BINOMIAL, Resampling, resampling

# per block: output width, in units of the base width, and whether it halves the size
SIZES = {
    "tiny": ((2, False), (4, True), (4, False)),
    "small": ((2, False), (4, True), (8, True), (8, True)),
    "large": ((4, True), (8, True), (8, True), (8, True), (8, True), (8, True)),
}
STDDEV_GROUP = 4


@dataclass(frozen=True, kw_only=True)
class DiscriminatorPlan(Plan):
    """The settings of a `Discriminator`.

    Attributes:
        in_channels: channels of the images.
        channels: base width.
        size: "small" halves three times, for images of 8 pixels a side and more (the paper: 32),
            "large" six times, for 64 pixels and more (the paper: 256); "tiny", not in the paper,
            halves once: 8 pixels a side are then reduced to 4, as 32 are by "small".
        time_width: of the time's features and vector.
        num_classes: number of classes, whose projection on the features is added to the logit
            (1802.05637), or None.
        slope: of the leaky ReLU below 0.
        fir_kernel: the filter that halves, in one direction.
    """

    in_channels: int = 3
    channels: int = 64
    size: Literal["tiny", "small", "large"] = "small"
    time_width: int = 256
    num_classes: int | None = None
    slope: float = 0.2
    fir_kernel: Sequence[float] = BINOMIAL

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("size", self.size, SIZES)
        class_settings(self.num_classes, null_class=False)
        for name in ("in_channels", "channels", "time_width"):
            positive_int(name, getattr(self, name))
        check_time_features("time_width", self.time_width)
        resampling(True, self.fir_kernel)

    @property
    def widths(self) -> list[int]:
        """Channels before the first block, and after each."""
        return [mult * self.channels for mult in (2, *(mult for mult, _ in SIZES[self.size]))]

    @property
    def halvings(self) -> int:
        """Number of downsampling steps."""
        return sum(halves for _, halves in SIZES[self.size])


class Discriminator(Network):
    """D(x_s, time, z_t): logit that the less noisy image x_s is real, given the noisier z_t."""

    plan: DiscriminatorPlan

    def __init__(self, plan: DiscriminatorPlan):
        super().__init__(plan)
        self.act = partial(leaky_relu, negative_slope=plan.slope)
        self.time = DDGANEmbedding(plan.time_width, plan.time_width, activation=self.act)
        for layer in (self.time.first, self.time.second):
            uniform_init(layer, over="outputs")
        first, last = plan.widths[0], plan.widths[-1]
        self.stem = uniform_init(nn.Conv2d(2 * plan.in_channels, first, 1), over="outputs")
        self.blocks = self._blocks(plan)
        scale = 1.0 if plan.size == "large" else NEARLY_ZERO
        self.conv = nn.Conv2d(last + 1, last, 3, padding=1)
        uniform_init(self.conv, scale, over="outputs")
        self.out = uniform_init(nn.Linear(last, 1), over="outputs")
        classes = plan.num_classes
        self.label = None if classes is None else nn.Embedding(classes, last)

    def forward(self, x: Tensor, time: Tensor, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """Return the logits of pairs of images.

        Args:
            x: (B, C, H, W), the less noisy images, real or generated.
            time: (B,) times of ``z``.
            z: (B, C, H, W), the noisier images.
            cond: (B,) int64 classes where the network has classes, else None.

        Returns:
            (B,) logits. A logit depends on its batch, through `stddev_map`.

        Raises:
            PilotageError: if a shape is wrong or too small, or ``cond`` is missing or not
                supported.
        """
        self._check(x, time, z, cond)
        emb = self.time(time)
        h = self.stem(torch.cat([x, z], dim=1))
        for block in self.blocks:
            h = block(h, emb)
        h = self.act(self.conv(torch.cat([h, stddev_map(h)], dim=1)))
        features = h.sum(dim=(2, 3))
        logit: Tensor = self.out(features).squeeze(1)
        return logit if self.label is None else logit + (self.label(cond) * features).sum(dim=1)

    def _blocks(self, plan: DiscriminatorPlan) -> nn.ModuleList:
        filter = resampling(True, plan.fir_kernel)
        return nn.ModuleList(
            DownBlock(*widths, plan.time_width, self.act, filter if halves else None)
            for widths, (_, halves) in zip(pairwise(plan.widths), SIZES[plan.size], strict=True)
        )

    def _check(self, x: Tensor, time: Tensor, z: Tensor, cond: Tensor | None) -> None:
        check_classes(time, cond, self.label is not None)
        good = x.ndim == 4 and x.shape[1] == self.plan.in_channels and x.shape[:1] == time.shape
        if not good or x.shape != z.shape:
            raise PilotageError(
                f"x has shape {tuple(x.shape)}, z {tuple(z.shape)} and time {tuple(time.shape)}: "
                f"they must be (B, {self.plan.in_channels}, H, W) twice, and (B,)."
            )
        least = 2**self.plan.halvings
        if min(x.shape[2:]) < least:
            raise PilotageError(
                f"x is {x.shape[2]} by {x.shape[3]} pixels: both must be at least {least}, since "
                f"the network halves the size {self.plan.halvings} times."
            )


class DownBlock(nn.Module):
    """Residual block without norms; the filter comes after its second activation, and on the skip.

    Args:
        channels: input channels.
        out_channels: output channels.
        time_width: of ``emb``.
        act: the activation.
        filter: that halves the size, or None.
    """

    def __init__(
        self, channels: int, out_channels: int, time_width: int, act: Any, filter: Resampling | None
    ):
        super().__init__()
        self.act, self.filter = act, filter
        conv = partial(uniform_init, over="outputs")
        self.conv_in = conv(nn.Conv2d(channels, out_channels, 3, padding=1))
        self.conv_out = conv(nn.Conv2d(out_channels, out_channels, 3, padding=1), NEARLY_ZERO)
        self.time = conv(nn.Linear(time_width, out_channels))
        self.skip = conv(nn.Conv2d(channels, out_channels, 1, bias=False))

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, out_channels, H, W), or half the size, rounded down."""
        y = self.conv_in(self.act(h)) + self.time(emb)[:, :, None, None]
        y = self.act(y)
        if self.filter is not None:
            h, y = self.filter.down(h), self.filter.down(y)
        out: Tensor = (self.conv_out(y) + self.skip(h)) / math.sqrt(2)
        return out


def stddev_map(h: Tensor, most: int = STDDEV_GROUP) -> Tensor:
    """Mean standard deviation over groups of images, as one more channel (1710.10196, section 3).

    A group has ``most`` images, or as many below that as divide the batch: with B = 6, three. Its
    members are i, i + B/g, i + 2B/g, ...; a single image has deviation 0.

    Args:
        h: (B, C, H, W).
        most: images per group.

    Returns:
        (B, 1, H, W).
    """
    size = next(g for g in range(min(most, len(h)), 0, -1) if len(h) % g == 0)
    groups = torch.unflatten(h, 0, (size, -1))
    stddev = (groups.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    return stddev.repeat(size)[:, None, None, None].expand(-1, 1, *h.shape[2:])
