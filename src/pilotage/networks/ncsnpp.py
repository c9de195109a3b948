"""NCSN++ with a latent, the generator of denoising diffusion GANs (2112.07804, appendix C)."""

from torch import Tensor, nn

from pilotage.errors import PilotageError
from pilotage.networks.adaptive import Embeddings
from pilotage.networks.initial import uniform_init
from pilotage.networks.latent_unet import LatentMapping, check_latent
from pilotage.networks.ncsnpp_plan import NCSNppPlan
from pilotage.networks.ncsnpp_stages import BlockStage, DownStage, Head, UpStage
from pilotage.networks.plan import Network, check_input


class NCSNpp(Network):
    """The stochastic generator G(z_t, time, latent) of images.

    The network of Song et al. (2011.13456) whose group norms are scaled and shifted by the mapped
    latent. Height and width must divide by 2 once per level but the last.
    """

    plan: NCSNppPlan

    def __init__(self, plan: NCSNppPlan):
        super().__init__(plan)
        self.time = plan.embedding()
        self.stem = uniform_init(nn.Conv2d(plan.in_channels, plan.channels, 3, padding=1))
        self.encoder, skips = _way_down(plan)
        width = skips[-1]
        self.middle = nn.ModuleList(
            [plan.residual(width, width), plan.attention(width), plan.residual(width, width)]
        )
        self.decoder = _way_up(plan, skips)
        summed = plan.progressive == "output_skip"
        self.head = None if summed else Head(plan.width(0), plan.in_channels)
        self.latent = LatentMapping(plan, plan.latent_width)

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
            PilotageError: if a shape is wrong, the size is not divisible, or ``cond`` is
                missing or not supported.
        """
        self._check(z, time, latent, cond)
        timed = None if self.time is None else self.time(time, cond)
        emb = Embeddings(timed, self.latent(latent))
        pyramid = z if self.plan.centered else 2 * z - 1
        h = self.stem(pyramid)
        skips = [h]
        for stage in self.encoder:
            h, pyramid = stage(h, pyramid, emb)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, emb)
        result: Tensor | None = None
        for stage in self.decoder:
            h, result = stage(h, skips, result, emb)
        if self.head is not None:
            result = self.head(h)
        assert result is not None, "without a head, every stage of the way up adds to the result"
        return result.tanh() if self.plan.tanh else result

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


def _way_down(plan: NCSNppPlan) -> tuple[nn.ModuleList, list[int]]:
    """The stages after the stem, and the channels of every feature map, the stem's first."""
    stages: list[BlockStage | DownStage] = []
    widths, pyramid = [plan.channels], plan.in_channels
    for level in range(plan.levels):
        for _ in range(plan.num_res_blocks):
            stages.append(BlockStage(plan, level, widths[-1]))
            widths.append(plan.width(level))
        if level < plan.levels - 1:
            down = DownStage(plan, widths[-1], pyramid)
            pyramid = down.pyramid_channels
            widths.append(down.out_channels)
            stages.append(down)
    return nn.ModuleList(stages), widths


def _way_up(plan: NCSNppPlan, skips: list[int]) -> nn.ModuleList:
    """The levels of the way up, from the smallest size."""
    stages, channels = [], skips[-1]
    for level in reversed(range(plan.levels)):
        stages.append(UpStage(plan, level, channels, skips))
        channels = plan.width(level)
    return nn.ModuleList(stages)
