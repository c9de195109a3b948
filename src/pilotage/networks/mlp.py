"""Multi-layer perceptrons for points in the plane and other short vectors.

A denoiser, and the generator and discriminator of a denoising diffusion GAN (2112.07804).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, silu

from pilotage.errors import PilotageError
from pilotage.networks.embedding import (
    TimeClassEmbedding,
    check_fourier,
    input_channels,
    with_fourier,
)
from pilotage.networks.latent_unet import check_latent
from pilotage.networks.plan import Network, Plan, class_settings, positive_int

_TIME_FEATURES = 32
_SLOPE = 0.2


@dataclass(frozen=True, kw_only=True)
class VectorPlan(Plan):
    """The settings that networks of vectors share.

    Attributes:
        dim: length D of the vectors.
        hidden: width of the layers.
        layers: number of layers between the first and the last.
        num_classes: number of classes, or None for an unconditional network.
    """

    dim: int
    hidden: int = 128
    layers: int = 3
    num_classes: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("dim", "hidden", "layers"):
            positive_int(name, getattr(self, name))
        class_settings(self.num_classes, null_class=False)

    def check(self, name: str, vector: Tensor, time: Tensor) -> None:
        """Raise a `PilotageError` unless the vectors are (B, D) and the times (B,)."""
        if vector.ndim != 2 or vector.shape[1] != self.dim or vector.shape[:1] != time.shape:
            raise PilotageError(
                f"{name} has shape {tuple(vector.shape)} and time {tuple(time.shape)}: they must "
                f"be (B, {self.dim}) and (B,)."
            )


@dataclass(frozen=True, kw_only=True)
class MLPPlan(VectorPlan):
    """The settings of an `MLP`: those of `VectorPlan`, and these.

    Attributes:
        null_class: one more label, ``num_classes``, that means "no class".
        learned_variance: twice the outputs; the second half describes the variance.
    """

    null_class: bool = False
    learned_variance: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        class_settings(self.num_classes, self.null_class)


class MLP(Network):
    """Residual multi-layer perceptron with the call of `UNet`.

    Attributes:
        null: the null label, or None.
    """

    plan: MLPPlan

    def __init__(self, plan: MLPPlan):
        super().__init__(plan)
        self.condition = TimeClassEmbedding(plan.hidden, plan.num_classes, plan.null_class)
        self.null = self.condition.null
        self.stem = nn.Linear(plan.dim, plan.hidden)
        self.layers = nn.ModuleList(
            ResidualLayer(plan.hidden, self.condition.width) for _ in range(plan.layers)
        )
        self.out = nn.Linear(plan.hidden, plan.dim * (2 if plan.learned_variance else 1))

    def forward(self, x: Tensor, time: Tensor, cond: Tensor | None = None) -> Tensor:
        """Predict from a noisy vector.

        Args:
            x: (B, D) vectors.
            time: (B,) times.
            cond: (B,) int64 classes, or None; with a null label, None is that label for all.

        Returns:
            (B, D), or (B, 2D) with a learned variance.

        Raises:
            PilotageError: if a shape is wrong, or ``cond`` is missing or not supported.
        """
        self.plan.check("x", x, time)
        emb = self.condition(time, cond)
        h = self.stem(x)
        for layer in self.layers:
            h = layer(h, emb)
        out: Tensor = self.out(silu(h))
        return out


class ResidualLayer(nn.Module):
    """Two linear maps around SiLU, scaled and shifted by the time and class in between."""

    def __init__(self, hidden: int, emb_width: int):
        super().__init__()
        self.linear_in = nn.Linear(hidden, hidden)
        self.emb = nn.Linear(emb_width, 2 * hidden)
        self.linear_out = nn.Linear(hidden, hidden)

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        """(B, hidden) to the same shape."""
        scale, shift = self.emb(emb).chunk(2, dim=1)
        y = self.linear_in(silu(h)) * (1 + scale) + shift
        branch: Tensor = self.linear_out(silu(y))
        return h + branch


@dataclass(frozen=True, kw_only=True)
class VectorDiscriminatorPlan(VectorPlan):
    """The settings of a `VectorDiscriminator`: those of `VectorPlan`, and these.

    Attributes:
        fourier: lowest and highest n of the features sin and cos of 2π 2ⁿ x_s, or None; the
            highest sets the finest detail, 1/2ⁿ, and should not go far below the data's.
    """

    fourier: Sequence[int] | None = (0, 3)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fourier(self.fourier)


@dataclass(frozen=True, kw_only=True)
class VectorGeneratorPlan(VectorPlan):
    """The settings of a `VectorGenerator`: those of `VectorPlan`, and these.

    Attributes:
        latent_dim: length N of the latent.
        fourier: as for `VectorDiscriminatorPlan`, of z_t.
    """

    latent_dim: int = 2
    fourier: Sequence[int] | None = (0, 4)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_int("latent_dim", self.latent_dim)
        check_fourier(self.fourier)


class VectorGenerator(Network):
    """Multi-layer perceptron G(z_t, time, latent) -> x, on Fourier features of z_t.

    A step back to separated modes is a staircase in z_t, which needs high frequencies.
    """

    plan: VectorGeneratorPlan

    def __init__(self, plan: VectorGeneratorPlan):
        super().__init__(plan)
        self.condition = TimeClassEmbedding(_TIME_FEATURES, plan.num_classes)
        inputs = input_channels(plan.dim, plan.fourier) + plan.latent_dim
        self.body = _Body(plan, inputs, plan.dim, self.condition.width)

    def forward(
        self, z: Tensor, time: Tensor, latent: Tensor, cond: Tensor | None = None
    ) -> Tensor:
        """(B, D) noisy vectors, (B,) times, (B, N) latents and (B,) classes or None to (B, D).

        Raises:
            PilotageError: if a shape is wrong, or ``cond`` is missing or not supported.
        """
        self.plan.check("z", z, time)
        check_latent(latent, len(z), self.plan.latent_dim)
        inputs = torch.cat([with_fourier(z, self.plan.fourier), latent], dim=1)
        x: Tensor = self.body(inputs, self.condition(time, cond))
        return x


class VectorDiscriminator(Network):
    """Multi-layer perceptron D(x_s, time, z_t) -> logit, on Fourier features of x_s."""

    plan: VectorDiscriminatorPlan

    def __init__(self, plan: VectorDiscriminatorPlan):
        super().__init__(plan)
        self.condition = TimeClassEmbedding(_TIME_FEATURES, plan.num_classes)
        inputs = input_channels(plan.dim, plan.fourier) + plan.dim
        self.body = _Body(plan, inputs, 1, self.condition.width)

    def forward(self, x: Tensor, time: Tensor, z: Tensor, cond: Tensor | None = None) -> Tensor:
        """Two (B, D) vectors, the less noisy first, and (B,) times and classes or None to (B,).

        Raises:
            PilotageError: if a shape is wrong, or ``cond`` is missing or not supported.
        """
        self.plan.check("x", x, time)
        self.plan.check("z", z, time)
        inputs = torch.cat([with_fourier(x, self.plan.fourier), z], dim=1)
        logit: Tensor = self.body(inputs, self.condition(time, cond)).squeeze(1)
        return logit


class _Body(nn.Module):
    """Linear maps with leaky ReLU between them; the time and class shift the first one's result."""

    def __init__(self, plan: VectorPlan, inputs: int, outputs: int, emb_width: int):
        super().__init__()
        self.stem = nn.Linear(inputs, plan.hidden)
        self.emb = nn.Linear(emb_width, plan.hidden)
        self.layers = nn.ModuleList(nn.Linear(plan.hidden, plan.hidden) for _ in range(plan.layers))
        self.out = nn.Linear(plan.hidden, outputs)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """(B, inputs) to (B, outputs)."""
        h: Tensor = self.stem(x) + self.emb(emb)
        for layer in (*self.layers, self.out):
            h = layer(leaky_relu(h, _SLOPE))
        return h
