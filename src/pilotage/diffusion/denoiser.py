"""The denoiser protocol, and denoisers made of networks."""

from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from pilotage.diffusion.logsnr import spread
from pilotage.diffusion.prediction import Prediction, from_eps, from_v, from_x
from pilotage.errors import PilotageError

Predicts = Literal["eps", "x", "v"]
_TO_PREDICTION = {"eps": from_eps, "x": from_x, "v": from_v}


@runtime_checkable
class Denoiser(Protocol):
    """E[x | z, c] and E[ε | z, c] at λ.

    z is (B, *shape), lam a scalar or (B,), cond None or a batch of B conditions.
    """

    def __call__(self, z: Tensor, lam: Tensor, cond: Any = None) -> Prediction:
        """Predict for a batch."""
        ...


def cosine_time(lam: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Return λ as a time in (0, 1000): 1000 · (2/π) arctan(e^{−λ/2}), the cosine schedule.

    The scale suits sinusoidal embeddings made for 1000 timesteps.
    """
    return torch.atan(torch.exp(-0.5 * lam)) * (2000 / torch.pi)


class NetworkDenoiser:
    """A network ``(z, time, cond) -> output`` as a denoiser.

    The network may run in any precision; λ, x and ε are handled in the dtype of z. An output with
    twice the channels of z has a learned variance: the second half o becomes the fraction
    (o + 1)/2 (2105.05233, section 2.1).

    Attributes:
        network: the callable; output (B, C or 2C, *rest).
        predicts: the parametrisation of its output, "eps", "x" or "v".
        time: maps λ (B,) to the noise conditioning that the network takes (c_noise of EDM); λ
            itself by default.
        calls: number of network calls so far.
    """

    def __init__(
        self,
        network: Callable[..., Tensor],
        predicts: Predicts = "eps",
        time: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        if predicts not in _TO_PREDICTION:
            raise PilotageError(f"predicts is {predicts!r}: it must be 'eps', 'x' or 'v'.")
        self.network = network
        self.predicts = predicts
        self.time = time
        self.calls = 0

    def around(self, network: Callable[..., Tensor]) -> "NetworkDenoiser":
        """Return the same denoiser around another network, which may wrap this one's."""
        return NetworkDenoiser(network, self.predicts, self.time)

    def output(self, z: Tensor, lam: Tensor, cond: Any = None) -> Tensor:
        """Return the raw output in the dtype of z, compared to the target in training."""
        lam = spread(lam.to(z), len(z))
        self.calls += 1
        return self.network(z, lam if self.time is None else self.time(lam), cond).to(z.dtype)

    def __call__(self, z: Tensor, lam: Tensor, cond: Any = None) -> Prediction:
        """Predict at (z, λ, c)."""
        output = self.output(z, lam, cond)
        if output.shape[1] == z.shape[1]:
            return _TO_PREDICTION[self.predicts](z, lam, output)
        mean, variance = output.chunk(2, dim=1)
        return _TO_PREDICTION[self.predicts](z, lam, mean)._replace(v=(variance + 1) / 2)
