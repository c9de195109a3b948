"""Classifiers of noisy data, made of networks."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pilotage.diffusion.logsnr import spread


class NoisyClassifier:
    """A network ``(z, time) -> logits`` as p(c | z, λ) (2105.05233, section 4).

    The network may run in any precision; logits and probabilities are float32 or, for a float64 z,
    float64.

    Attributes:
        network: the callable; output (B, K).
        time: maps λ (B,) to the noise conditioning that the network takes (c_noise of EDM); λ
            itself by default.
        calls: number of network calls so far.
    """

    def __init__(
        self, network: Callable[..., Tensor], time: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.network = network
        self.time = time
        self.calls = 0

    def around(self, network: Callable[..., Tensor]) -> "NoisyClassifier":
        """Return the same classifier around another network, which may wrap this one's."""
        return NoisyClassifier(network, self.time)

    def logits(self, z: Tensor, lam: Tensor) -> Float[Tensor, "B K"]:
        """Return the logits at (z, λ)."""
        lam = spread(lam.to(z), len(z))
        self.calls += 1
        logits = self.network(z, lam if self.time is None else self.time(lam))
        return logits.to(torch.promote_types(z.dtype, torch.float32))

    def log_prob(self, z: Tensor, lam: Tensor, cond: Any) -> Float[Tensor, " B"]:
        """Return log p(c_b | z_b, λ_b), for :func:`pilotage.diffusion.guidance.classifier`."""
        chosen = self.logits(z, lam).log_softmax(dim=1).gather(1, cond[:, None])
        return chosen.squeeze(1)
