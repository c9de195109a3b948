"""NCSN++ with a latent, the generator of denoising diffusion GANs (2112.07804, appendix C)."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from pilotage.errors import PilotageError
from pilotage.networks.adaptive import Block, Told
from pilotage.networks.encoder_path import check_input
from pilotage.networks.initial import uniform_init
from pilotage.networks.latent_unet import LatentMapping, check_latent
from pilotage.networks.ncsnpp_plan import NCSNppPlan
from pilotage.networks.ncsnpp_stages import Halve, Head, Keep, Rise
from pilotage.networks.resampling import BINOMIAL
from pilotage.networks.time_class import TimeAndClass


class NCSNpp(nn.Module):
    """The stochastic generator G(z_t, time, latent) of images.

    The network of Song et al. (2011.13456) whose group norms are scaled and shifted by the mapped
    latent. Height and width must divide by 2 once per level but the last.

    Args:
        in_channels: channels of the images.
        channels: base width; the time and class vector is 4 times as wide.
        channel_mult: width of each level, in units of ``channels``; each level halves the size.
        num_res_blocks: residual blocks per level (one more on the way up).
        attention_resolutions: down-sampling rates (1, 2, 4, ...) with attention; the middle always
            has it.
        latent_dim: length N of the latent.
        latent_width: of the mapped latent.
        latent_layers: linear maps of the mapping after its first.
        num_classes: number of classes, added to the time, or None.
        block: "biggan" (blocks resample), "biggan_one" (the latent enters a block's first norm
            only) or "ddpm" (layers of their own resample).
        fir: resample with a filter; otherwise by 2x2 means and nearest neighbours.
        fir_kernel: that filter, in one direction; its scale does not matter.
        resample_conv: with ``block="ddpm"``, the layers that resample have a convolution.
        skip_rescale: divide every residual sum by √2.
        progressive: how the result is gathered on the way up, "none", "output_skip" or "residual".
        progressive_input: how the image goes down beside the features, "none", "input_skip" or
            "residual".
        progressive_combine: with "input_skip", "sum" or "cat".
        time_features: "sinusoidal", "fourier" (of log time, so times above 0 only) or "none".
        fourier_scale: of the random frequencies of "fourier".
        dropout: probability of dropping an activation in a residual block.
        centered: images are in [−1, 1]; otherwise in [0, 1], and are centered first.
        tanh: end in tanh, for an x in [−1, 1]; False for a network that predicts ε.

    Attributes:
        settings: the arguments that rebuild the network, ``NCSNpp(**net.settings)``, as JSON types.

    Raises:
        PilotageError: if a setting is out of range or two settings do not fit together.
    """

    def __init__(
        self,
        in_channels: int = 3,
        channels: int = 128,
        channel_mult: Sequence[int] = (1, 2, 2, 2),
        num_res_blocks: int = 2,
        attention_resolutions: Sequence[int] = (2,),
        latent_dim: int = 100,
        latent_width: int = 256,
        latent_layers: int = 3,
        num_classes: int | None = None,
        block: Block = "biggan",
        fir: bool = True,
        fir_kernel: Sequence[float] = BINOMIAL,
        resample_conv: bool = True,
        skip_rescale: bool = True,
        progressive: str = "none",
        progressive_input: str = "residual",
        progressive_combine: str = "sum",
        time_features: str = "sinusoidal",
        fourier_scale: float = 16.0,
        dropout: float = 0.0,
        centered: bool = True,
        tanh: bool = True,
    ):
        super().__init__()
        plan = NCSNppPlan(
            in_channels=in_channels,
            channels=channels,
            channel_mult=channel_mult,
            num_res_blocks=num_res_blocks,
            attention_resolutions=attention_resolutions,
            latent_dim=latent_dim,
            latent_width=latent_width,
            latent_layers=latent_layers,
            num_classes=num_classes,
            block=block,
            fir=fir,
            fir_kernel=fir_kernel,
            resample_conv=resample_conv,
            skip_rescale=skip_rescale,
            progressive=progressive,
            progressive_input=progressive_input,
            progressive_combine=progressive_combine,
            time_features=time_features,
            fourier_scale=fourier_scale,
            dropout=dropout,
            centered=centered,
            tanh=tanh,
        )
        self.plan = plan
        self.settings: dict[str, Any] = plan.settings
        self.time = _time(plan)
        self.stem = uniform_init(nn.Conv2d(in_channels, channels, 3, padding=1))
        self.encoder, skips = _way_down(plan)
        width = skips[-1]
        self.middle = nn.ModuleList(
            [plan.residual(width, width), plan.attention(width), plan.residual(width, width)]
        )
        self.decoder = _way_up(plan, skips)
        self.head = None if progressive == "output_skip" else Head(plan.width(0), in_channels)
        self.latent = LatentMapping(latent_dim, latent_width, latent_layers)

    def forward(
        self, z: Tensor, time: Tensor, latent: Tensor, cond: Tensor | None = None
    ) -> Tensor:
        """Draw a clean image.

        Args:
            z: (B, C, H, W) noisy images.
            time: (B,) times, on the scale that the network was trained with.
            latent: (B, N), usually N(0, I).
            cond: (B,) int64 classes where the network has classes, else None.

        Returns:
            (B, C, H, W).

        Raises:
            PilotageError: if a shape is wrong, the size does not halve evenly, or ``cond`` is
                missing or given in vain.
        """
        self._check(z, time, latent, cond)
        told = Told(None if self.time is None else self.time(time, cond), self.latent(latent))
        pyramid = z if self.plan.centered else 2 * z - 1
        h = self.stem(pyramid)
        skips = [h]
        for stage in self.encoder:
            h, pyramid = stage(h, pyramid, told)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, told)
        result = None
        for stage in self.decoder:
            h, result = stage(h, skips, result, told)
        output = result if self.head is None else self.head(h)
        return output.tanh() if self.plan.tanh else output

    def _check(self, z: Tensor, time: Tensor, latent: Tensor, cond: Tensor | None) -> None:
        check_input(z, time, self.plan.in_channels)
        check_latent(latent, len(z), self.plan.latent_dim)
        if self.time is None and cond is not None:
            raise PilotageError("cond is given but num_classes is None: it must be None.")
        factor = 2 ** (self.plan.levels - 1)
        if z.shape[2] % factor or z.shape[3] % factor:
            raise PilotageError(
                f"z is {z.shape[2]} by {z.shape[3]} pixels: both must be multiples of {factor}, "
                f"since {self.plan.levels} levels halve the size {self.plan.levels - 1} times."
            )


def _time(plan: NCSNppPlan) -> TimeAndClass | None:
    if plan.time_width is None:
        return None
    scale = plan.fourier_scale if plan.time_features == "fourier" else None
    return TimeAndClass(plan.channels, plan.time_width, plan.num_classes, scale)


def _way_down(plan: NCSNppPlan) -> tuple[nn.ModuleList, list[int]]:
    """The stages after the stem, and the channels of every feature map, the stem's first."""
    stages: list[Keep | Halve] = []
    widths, pyramid = [plan.channels], plan.in_channels
    for level in range(plan.levels):
        for _ in range(plan.num_res_blocks):
            stages.append(Keep(plan, level, widths[-1]))
            widths.append(plan.width(level))
        if level < plan.levels - 1:
            halve = Halve(plan, widths[-1], pyramid)
            pyramid = halve.pyramid_channels
            widths.append(halve.out_channels)
            stages.append(halve)
    return nn.ModuleList(stages), widths


def _way_up(plan: NCSNppPlan, skips: list[int]) -> nn.ModuleList:
    """The levels of the way up, from the smallest size."""
    stages, channels = [], skips[-1]
    for level in reversed(range(plan.levels)):
        stages.append(Rise(plan, level, channels, skips))
        channels = plan.width(level)
    return nn.ModuleList(stages)
