"""The time-dependent discriminators of denoising diffusion GANs (2112.07804, appendix C)."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from pilotage.errors import PilotageError
from pilotage.networks.checks import class_settings, positive_int
from pilotage.networks.initial import NEARLY_ZERO, uniform_init
from pilotage.networks.resampling import BINOMIAL, Resampling, resampling
from pilotage.networks.time_class import TimeAndClass, check_classes

# of each block: the output's width, in units of the base width, and whether it halves the size
SIZES = {
    "tiny": ((2, False), (4, True), (4, False)),
    "small": ((2, False), (4, True), (8, True), (8, True)),
    "large": ((4, True), (8, True), (8, True), (8, True), (8, True), (8, True)),
}
STDDEV_GROUP = 4


class Discriminator(nn.Module):
    """D(x_s, time, z_t): how real the less noisy image x_s is, given the noisier z_t.

    Args:
        channels: channels of the images.
        width: base width.
        size: "small" halves three times, for images of 8 pixels a side and more (the paper: 32),
            "large" six times, for 64 pixels and more (the paper: 256); "tiny", which the paper has
            not, halves once: 8 pixels a side are then judged at 4, as 32 are by "small".
        time_width: of the time's features and vector.
        num_classes: number of classes, whose projection on the features is added to the logit
            (1802.05637), or None.
        slope: of the leaky ReLU below 0.
        fir_kernel: the filter that halves, in one direction.

    Attributes:
        settings: the arguments that rebuild the network, as JSON types.

    Raises:
        PilotageError: if a setting is out of range.
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        size: str = "small",
        time_width: int = 256,
        num_classes: int | None = None,
        slope: float = 0.2,
        fir_kernel: Sequence[float] = BINOMIAL,
    ):
        super().__init__()
        if size not in SIZES:
            raise PilotageError(f"size is {size!r}: it must be one of {', '.join(SIZES)}.")
        class_settings(num_classes, null_class=False)
        self.settings: dict[str, Any] = {
            "channels": positive_int("channels", channels),
            "width": positive_int("width", width),
            "size": size,
            "time_width": positive_int("time_width", time_width),
            "num_classes": num_classes,
            "slope": slope,
            "fir_kernel": list(fir_kernel),
        }
        self.act = partial(leaky_relu, negative_slope=slope)
        self.channels, self.halvings = channels, sum(halves for _, halves in SIZES[size])
        self.time = TimeAndClass(time_width, time_width, activation=self.act)
        for layer in (self.time.first, self.time.second):
            uniform_init(layer, over="outputs")
        self.stem = uniform_init(nn.Conv2d(2 * channels, 2 * width, 1), over="outputs")
        self.blocks = self._blocks(width, SIZES[size], resampling(True, fir_kernel))
        last = SIZES[size][-1][0] * width
        scale = 1.0 if size == "large" else NEARLY_ZERO
        self.conv = nn.Conv2d(last + 1, last, 3, padding=1)
        uniform_init(self.conv, scale, over="outputs")
        self.out = uniform_init(nn.Linear(last, 1), over="outputs")
        self.label = None if num_classes is None else nn.Embedding(num_classes, last)

    def forward(self, x: Tensor, time: Tensor, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """Judge pairs of images.

        Args:
            x: (B, C, H, W), the less noisy images, real or generated.
            time: (B,) times of ``z``.
            z: (B, C, H, W), the noisier images.
            cond: (B,) int64 classes where the network has classes, else None.

        Returns:
            (B,) logits. A logit depends on its batch, through `stddev_map`.

        Raises:
            PilotageError: if a shape is wrong or too small, or ``cond`` is missing or given in
                vain.
        """
        self._check(x, time, z, cond)
        told = self.time(time)
        h = self.stem(torch.cat([x, z], dim=1))
        for block in self.blocks:
            h = block(h, told)
        h = self.act(self.conv(torch.cat([h, stddev_map(h)], dim=1)))
        features = h.sum(dim=(2, 3))
        logit = self.out(features).squeeze(1)
        return logit if self.label is None else logit + (self.label(cond) * features).sum(dim=1)

    def _blocks(
        self, width: int, plan: Sequence[tuple[int, bool]], filter: Resampling
    ) -> nn.ModuleList:
        time_width = self.settings["time_width"]
        widths = [2 * width] + [mult * width for mult, _ in plan]
        return nn.ModuleList(
            DownBlock(widths[i], widths[i + 1], time_width, self.act, filter if halves else None)
            for i, (_, halves) in enumerate(plan)
        )

    def _check(self, x: Tensor, time: Tensor, z: Tensor, cond: Tensor | None) -> None:
        check_classes(time, cond, self.label is not None)
        good = x.ndim == 4 and x.shape[1] == self.channels and x.shape[:1] == time.shape
        if not good or x.shape != z.shape:
            raise PilotageError(
                f"x has shape {tuple(x.shape)}, z {tuple(z.shape)} and time {tuple(time.shape)}: "
                f"they must be (B, {self.channels}, H, W) twice, and (B,)."
            )
        least = 2**self.halvings
        if min(x.shape[2:]) < least:
            raise PilotageError(
                f"x is {x.shape[2]} by {x.shape[3]} pixels: both must be at least {least}, since "
                f"the network halves the size {self.halvings} times."
            )


class DownBlock(nn.Module):
    """Residual block without norms; the filter comes after its second activation, and on the skip.

    Args:
        channels: input channels.
        out_channels: output channels.
        time_width: of ``told``.
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

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, out_channels, H, W), or half the size, rounded down."""
        y = self.conv_in(self.act(h)) + self.time(told)[:, :, None, None]
        y = self.act(y)
        if self.filter is not None:
            h, y = self.filter.down(h), self.filter.down(y)
        return (self.conv_out(y) + self.skip(h)) / math.sqrt(2)


def stddev_map(h: Tensor, most: int = STDDEV_GROUP) -> Tensor:
    """Mean standard deviation over groups of images, as one more channel (1710.10196, section 3).

    A group has ``most`` images, or as many below that as divide the batch: with B = 6, three. Its
    members are i, i + B/g, i + 2B/g, ...; alone in its group, an image has no deviation.

    Args:
        h: (B, C, H, W).
        most: images per group.

    Returns:
        (B, 1, H, W).
    """
    size = next(g for g in range(min(most, len(h)), 0, -1) if len(h) % g == 0)
    groups = h.unflatten(0, (size, -1))
    stddev = (groups.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    return stddev.repeat(size)[:, None, None, None].expand(-1, 1, *h.shape[2:])
