"""A network for points in the plane and other short vectors."""

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import silu

from pilotage.errors import PilotageError
from pilotage.networks.checks import positive_int
from pilotage.networks.embedding import Conditioning


class MLP(nn.Module):
    """Residual multi-layer perceptron with the call of `UNet`.

    Args:
        dim: length of the input vectors.
        hidden: width of the layers.
        layers: number of residual layers.
        num_classes: number of classes, or None for an unconditional network.
        null_class: one more label, ``num_classes``, that means "no class".
        learned_variance: twice the outputs; the second half describes the variance.

    Attributes:
        settings: the arguments that rebuild the network, ``MLP(**mlp.settings)``.
        null: the null label, or None.

    Raises:
        PilotageError: if a setting is out of range.
    """

    def __init__(
        self,
        dim: int,
        hidden: int = 128,
        layers: int = 3,
        num_classes: int | None = None,
        null_class: bool = False,
        learned_variance: bool = False,
    ):
        super().__init__()
        self.settings: dict[str, Any] = {
            "dim": positive_int("dim", dim),
            "hidden": positive_int("hidden", hidden),
            "layers": positive_int("layers", layers),
            "num_classes": num_classes,
            "null_class": null_class,
            "learned_variance": learned_variance,
        }
        self.condition = Conditioning(hidden, num_classes, null_class)
        self.null = self.condition.null
        self.stem = nn.Linear(dim, hidden)
        width = self.condition.width
        self.layers = nn.ModuleList(ResidualLayer(hidden, width) for _ in range(layers))
        self.out = nn.Linear(hidden, 2 * dim if learned_variance else dim)

    def forward(self, x: Tensor, time: Tensor, cond: Tensor | None = None) -> Tensor:
        """Predict from a noisy vector.

        Args:
            x: (B, D) vectors.
            time: (B,) times.
            cond: (B,) int64 classes, or None; with a null label, None is that label for all.

        Returns:
            (B, D), or (B, 2D) with a learned variance.

        Raises:
            PilotageError: if a shape is wrong, or ``cond`` is missing or given in vain.
        """
        dim = self.stem.in_features
        if x.ndim != 2 or x.shape[1] != dim or x.shape[:1] != time.shape:
            raise PilotageError(
                f"x has shape {tuple(x.shape)} and time {tuple(time.shape)}: they must be "
                f"(B, {dim}) and (B,)."
            )
        emb = self.condition(time, cond)
        h = self.stem(x)
        for layer in self.layers:
            h = layer(h, emb)
        return self.out(silu(h))


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
        return h + self.linear_out(silu(y))
