"""The latent mapping of a stochastic generator, and the ADM U-Net with a latent."""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import silu

from pilotage.errors import PilotageError
from pilotage.networks.embedding import TimeClassEmbedding, with_fourier
from pilotage.networks.initial import uniform_init
from pilotage.networks.plan import Network, Plan, check_input, positive_int
from pilotage.networks.unet import UNetLayers, UNetPlan


@dataclass(frozen=True, kw_only=True)
class LatentPlan(Plan):
    """The settings that stochastic generators of images share.

    Attributes:
        latent_dim: length N of the latent.
        latent_layers: linear maps of the latent's mapping after its first.
        tanh: end in tanh, for an x in [−1, 1]; False for a network that predicts ε.
    """

    latent_dim: int = 100
    latent_layers: int = 3
    tanh: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_int("latent_dim", self.latent_dim)
        if self.latent_layers != 0:
            positive_int("latent_layers", self.latent_layers)


@dataclass(frozen=True, kw_only=True)
class LatentUNetPlan(LatentPlan, UNetPlan):
    """The settings of a `LatentUNet`: those of `UNetPlan`, without a variance, and `LatentPlan`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learned_variance:
            raise PilotageError(
                "learned_variance is True: it must be False for a network with a latent, which "
                "samples x."
            )


class LatentMapping(nn.Module):
    """Pixel norm, then linear maps, each followed by SiLU (2112.07804, appendix C).

    Args:
        plan: of the latent.
        width: of the result and of the hidden layers.
    """

    def __init__(self, plan: LatentPlan, width: int):
        super().__init__()
        pairs = pairwise([plan.latent_dim, *[width] * (1 + plan.latent_layers)])
        self.layers = nn.ModuleList(uniform_init(nn.Linear(*p), over="outputs") for p in pairs)

    def forward(self, latent: Tensor) -> Tensor:
        """(B, N) to (B, width)."""
        h = pixel_norm(latent)
        for layer in self.layers:
            h = silu(layer(h))
        return h


def pixel_norm(latent: Tensor) -> Tensor:
    """A latent (B, N) at a mean square of 1 (1710.10196, section 4.2)."""
    return latent / (latent.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()


def check_latent(latent: Tensor, count: int, dim: int) -> None:
    """Raise a `PilotageError` unless the latent is (count, dim)."""
    if latent.shape != (count, dim):
        raise PilotageError(
            f"latent has shape {tuple(latent.shape)}: it must be ({count}, {dim}), one row per "
            "example."
        )


class LatentUNet(Network):
    """The ADM U-Net as a stochastic generator: the mapped latent is added to its embedding.

    Attributes:
        null: the null label of the U-Net, or None.
    """

    plan: LatentUNetPlan

    def __init__(self, plan: LatentUNetPlan):
        super().__init__(plan)
        self.null = plan.null
        embedding = plan.embedding()
        self.unet = UNetLayers(plan, embedding)
        # built last, so that a seed gives the other layers the same weights as in a `UNet`
        mapping = LatentMapping(plan, embedding.width)
        self.unet.condition = LatentEmbedding(embedding, mapping)

    def forward(
        self, z: Tensor, time: Tensor, latent: Tensor, cond: Tensor | None = None
    ) -> Tensor:
        """Draw a clean image.

        Args:
            z: (B, C, H, W) noisy images.
            time: (B,) times.
            latent: (B, N), usually N(0, I).
            cond: (B,) int64 classes, or None, as for `UNet`.

        Returns:
            (B, C, H, W).

        Raises:
            PilotageError: if a shape is wrong, or ``cond`` is missing or not supported.
        """
        check_latent(latent, len(z), self.plan.latent_dim)
        if cond is not None and cond.shape != latent.shape[:1]:
            raise PilotageError(
                f"cond has shape {tuple(cond.shape)}: it must be ({len(z)},), one per example."
            )
        check_input(z, time, self.plan.in_channels)
        emb = self.unet.condition(time, latent, cond)
        output = self.unet.predict(with_fourier(z, self.plan.fourier), emb)
        return output.tanh() if self.plan.tanh else output


class LatentEmbedding(nn.Module):
    """Time, class and mapped latent in one vector.

    Args:
        inner: the time and class embedding.
        mapping: of the latent.
    """

    def __init__(self, inner: TimeClassEmbedding, mapping: LatentMapping):
        super().__init__()
        self.inner, self.mapping = inner, mapping

    def forward(self, time: Tensor, latent: Tensor, cond: Tensor | None) -> Tensor:
        """(B,), (B, N) and (B,) classes or None to (B, width)."""
        dtype = next(self.mapping.parameters()).dtype
        emb: Tensor = self.inner(time, cond) + self.mapping(latent.to(dtype))
        return emb
