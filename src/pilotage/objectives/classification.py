"""The objective of a classifier of noisy images (2105.05233, section 4)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from pilotage.diffusion.logsnr import diffuse
from pilotage.diffusion.noisy_classifier import NoisyClassifier
from pilotage.diffusion.schedules import Schedule
from pilotage.objectives.denoising import stratified


class NoiseDraws(NamedTuple):
    """The random numbers of one training step.

    Attributes:
        u: the schedule's argument (B,), in [0, 1).
        eps: the noise (B, *shape).
    """

    u: Float[Tensor, " B"]
    eps: Float[Tensor, "B *shape"]

    def rows(self, part: slice) -> "NoiseDraws":
        """Select the numbers of some examples."""
        return NoiseDraws(self.u[part], self.eps[part])


@dataclass(frozen=True)
class Classification:
    """Cross-entropy of the label of a noisy image, at λ drawn from the noise schedule.

    Attributes:
        schedule: u -> λ.
    """

    schedule: Schedule

    def draw(self, count: int, shape: tuple[int, ...], generator: torch.Generator) -> NoiseDraws:
        """Draw the random numbers of ``count`` examples of a shape, on the generator's device."""
        u = stratified(count, generator)
        return NoiseDraws(
            u, torch.randn(count, *shape, generator=generator, device=generator.device)
        )

    def terms(
        self,
        classifier: NoisyClassifier,
        x: Float[Tensor, "B *shape"],
        labels: Int[Tensor, " B"],
        draws: NoiseDraws,
    ) -> dict[str, Tensor]:
        """Return ``loss``, the cross-entropy in nats, and ``accuracy``, 0 or 1, per example (B,).

        Args:
            classifier: the network as p(c | z, λ).
            x: clean data in [−1, 1].
            labels: its classes.
            draws: the step's random numbers.
        """
        lam = self.schedule(draws.u)
        logits = classifier.logits(diffuse(x, draws.eps, lam), lam)
        right = (logits.detach().argmax(dim=1) == labels).to(logits.dtype)
        return {"loss": cross_entropy(logits, labels, reduction="none"), "accuracy": right}
