"""The losses of denoising diffusion GANs (2112.07804)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import softplus

from pilotage.conditions import Labels, draw_dropped
from pilotage.diffusion.latent import Generator, NetworkDiscriminator, NetworkGenerator, direct
from pilotage.diffusion.logsnr import alpha, sigma, tau
from pilotage.diffusion.prediction import Prediction
from pilotage.diffusion.steps import State, ancestral
from pilotage.errors import PilotageError
from pilotage.objectives.denoising import stratified


class AdversarialDraws(NamedTuple):
    """The random numbers of one update, of the discriminator or of the generator.

    Attributes:
        level: index of the level of z_t (B,), 0 the noisiest.
        eps_s: the noise of z_s (B, *shape).
        eps_t: the noise from z_s to z_t (B, *shape).
        latent: of the generator (B, N).
        noise: of the step back from z_t (B, *shape).
    """

    level: Int[Tensor, " B"]
    eps_s: Float[Tensor, "B *shape"]
    eps_t: Float[Tensor, "B *shape"]
    latent: Float[Tensor, "B N"]
    noise: Float[Tensor, "B *shape"]

    def rows(self, part: slice) -> "AdversarialDraws":
        """Select the numbers of some examples."""
        return AdversarialDraws(*(numbers[part] for numbers in self))


class Pair(NamedTuple):
    """Two neighbouring levels of the forward process.

    Attributes:
        z_s: the less noisy one (B, *shape), x itself where λ_s = ∞.
        z_t: the noisier one (B, *shape).
        lam_s: (B,).
        lam_t: (B,), below lam_s.
    """

    z_s: Float[Tensor, "B *shape"]
    z_t: Float[Tensor, "B *shape"]
    lam_s: Float[Tensor, " B"]
    lam_t: Float[Tensor, " B"]


@dataclass(frozen=True, eq=False)
class Adversarial:
    """Non-saturating losses of steps z_t -> z_s, with R1 on the real ones (equations 4 to 6).

    Attributes:
        lams: the T levels, increasing, such as ``ddgan_lams(4)``; T = 1 is an ordinary GAN.
        latent_dim: length N of the latent.
        conditional: whether the networks are conditioned on labels.
        with_latent: False for a latent of zeros (table 2, "no latent variable").
        direct: True for a generator that outputs z_s itself, without the posterior (table 2,
            "direct denoising"). "Noise generation" is a generator that predicts ε.
        r1_gamma: strength of R1.
        r1_every: updates of the discriminator from one R1 to the next; γ is not multiplied by it.

    Raises:
        PilotageError: if a setting is out of range.
    """

    lams: Float[Tensor, " T"]
    latent_dim: int
    conditional: bool = False
    with_latent: bool = True
    direct: bool = False
    r1_gamma: float = 0.05
    r1_every: int = 1

    def __post_init__(self) -> None:
        rising = self.lams.ndim == 1 and len(self.lams) and bool((self.lams.diff() > 0).all())
        if not rising or not self.lams.isfinite().all():
            raise PilotageError(
                f"lams is {self.lams.tolist()}: it must be a list of 1 or more finite and strictly "
                "increasing levels."
            )
        for name in ("latent_dim", "r1_every"):
            if getattr(self, name) < 1:
                raise PilotageError(f"{name} is {getattr(self, name)}: it must be at least 1.")
        if not self.r1_gamma >= 0:
            raise PilotageError(f"r1_gamma is {self.r1_gamma}: it must be at least 0.")

    def draw(
        self, count: int, shape: tuple[int, ...], generator: torch.Generator
    ) -> AdversarialDraws:
        """Draw the random numbers of ``count`` examples of a shape, on the generator's device.

        The discriminator's and the generator's update each have their own.
        """
        device, steps = generator.device, len(self.lams)

        def normal(*size: int) -> Tensor:
            return torch.randn(count, *size, generator=generator, device=device)

        level = (stratified(count, generator) * steps).long().clamp(max=steps - 1)
        eps_s, eps_t, latent, noise = (
            normal(*s) for s in (shape, shape, (self.latent_dim,), shape)
        )
        return AdversarialDraws(
            level, eps_s, eps_t, latent if self.with_latent else torch.zeros_like(latent), noise
        )

    def pair(self, x: Float[Tensor, "B *shape"], draws: AdversarialDraws) -> Pair:
        """Draw z_s ~ q(z_s | x) and z_t ~ q(z_t | z_s), with coefficients in float64."""
        levels = self.lams.to(x.device, torch.float64)
        levels = torch.cat([levels, levels.new_tensor([torch.inf])])
        lam_t, lam_s = levels[draws.level], levels[draws.level + 1]

        def scale(values: Tensor) -> Tensor:
            return values.to(x).reshape(-1, *[1] * (x.ndim - 1))

        z_s = scale(alpha(lam_s)) * x + scale(sigma(lam_s)) * draws.eps_s
        spread = tau(lam_t, lam_s).sqrt() * sigma(lam_t)
        z_t = scale(alpha(lam_t) / alpha(lam_s)) * z_s + scale(spread) * draws.eps_t
        return Pair(z_s, z_t, lam_s.to(x), lam_t.to(x))

    def generated(
        self, generator: Generator, pair: Pair, cond: Any, draws: AdversarialDraws
    ) -> Float[Tensor, "B *shape"]:
        """Generate z_s: x by the generator, then a sample of the posterior q(z_s | z_t, x)."""

        def bound(z: Tensor, lam: Tensor) -> Prediction:
            return generator(z, lam, cond, draws.latent)

        step = direct() if self.direct else ancestral(v=0.0)
        return step(bound, State(pair.z_t, pair.lam_t), pair.lam_s, draws.noise).z

    def discriminator_terms(
        self,
        discriminator: NetworkDiscriminator,
        generator: Generator,
        x: Float[Tensor, "B *shape"],
        labels: Int[Tensor, " B"] | None,
        draws: AdversarialDraws,
        step: int = 0,
    ) -> dict[str, Tensor]:
        """Return the discriminator's terms: "loss" = "real" + "fake" + "r1", each (B,).

        Also "real_logit" and "fake_logit" for logging. No gradient reaches the generator.

        Args:
            discriminator: the network with its noise conditioning.
            generator: the stochastic generator.
            x: clean data in [−1, 1].
            labels: its classes; unused without ``conditional``.
            draws: the update's random numbers.
            step: index of the update; "r1" is 0 unless ``r1_every`` divides it.
        """
        cond, pair = self._cond(labels), self.pair(x, draws)
        penalised = self.r1_gamma > 0 and step % self.r1_every == 0
        z_s = pair.z_s.detach().requires_grad_(penalised)
        real = discriminator(z_s, pair.lam_t, pair.z_t, cond)
        r1 = self._r1(real, z_s) if penalised else torch.zeros_like(real)
        with torch.no_grad():
            made = self.generated(generator, pair, cond, draws)
        fake = discriminator(made, pair.lam_t, pair.z_t, cond)
        terms = {"real": softplus(-real), "fake": softplus(fake), "r1": r1}
        logits = {"real_logit": real.detach(), "fake_logit": fake.detach()}
        return {"loss": terms["real"] + terms["fake"] + terms["r1"], **terms, **logits}

    def generator_terms(
        self,
        generator: Generator,
        discriminator: NetworkDiscriminator,
        x: Float[Tensor, "B *shape"],
        labels: Int[Tensor, " B"] | None,
        draws: AdversarialDraws,
    ) -> dict[str, Tensor]:
        """Return the generator's terms: "loss" (B,), and "fake_logit" for logging.

        Gradients also reach the discriminator; the caller must disable or discard them.
        Arguments are as for `discriminator_terms`.
        """
        cond, pair = self._cond(labels), self.pair(x, draws)
        made = self.generated(generator, pair, cond, draws)
        fake = discriminator(made, pair.lam_t, pair.z_t, cond)
        return {"loss": softplus(-fake), "fake_logit": fake.detach()}

    def _cond(self, labels: Tensor | None) -> Tensor | None:
        if self.conditional and labels is None:
            raise PilotageError(
                "labels is None: it must have a label per example for a conditional objective."
            )
        return labels if self.conditional else None

    def _r1(self, logits: Tensor, z_s: Tensor) -> Tensor:
        """Return γ/2 ‖∇_{z_s} D‖² (1801.04406); a logit may depend on other examples' z_s."""
        (gradient,) = torch.autograd.grad(logits.sum(), z_s, create_graph=True)
        return self.r1_gamma / 2 * gradient.square().flatten(1).sum(dim=1)


class GANDraws(NamedTuple):
    """The random numbers of one update, including those of label dropout.

    Attributes:
        steps: of the steps z_t -> z_s.
        dropped: which examples lose their label (B,).
    """

    steps: AdversarialDraws
    dropped: Bool[Tensor, " B"]

    def rows(self, part: slice) -> "GANDraws":
        """Select the numbers of some examples."""
        return GANDraws(self.steps.rows(part), self.dropped[part])


@dataclass(frozen=True)
class GANLoss:
    """Base of the losses of both networks.

    Attributes:
        loss: of the steps.
        labels: the condition space; its null label is the networks' last.
        p_uncond: the dropping rate of labels.
    """

    loss: Adversarial
    labels: Labels
    p_uncond: float

    def draw(self, count: int, shape: tuple[int, ...], generator: torch.Generator) -> GANDraws:
        """Draw the random numbers of ``count`` examples of a shape, on the generator's device."""
        steps = self.loss.draw(count, shape, generator)
        uniform = torch.rand(count, generator=generator, device=generator.device)
        return GANDraws(steps, draw_dropped(uniform, self.p_uncond))


@dataclass(frozen=True)
class DiscriminatorLoss(GANLoss):
    """The discriminator's loss, which distinguishes real from generated steps.

    Attributes:
        generator: not trained by this loss.
        updates: returns the number of previous updates, for the lazy penalty.
    """

    generator: NetworkGenerator
    updates: Callable[[], int]

    def terms(
        self,
        discriminator: NetworkDiscriminator,
        x: Float[Tensor, "B *shape"],
        labels: Int[Tensor, " B"],
        draws: GANDraws,
    ) -> dict[str, Tensor]:
        """Return the terms of `Adversarial.discriminator_terms`; "r1" only when computed."""
        cond, number = self.labels.drop(labels, draws.dropped), self.updates()
        terms = self.loss.discriminator_terms(
            discriminator, self.generator, x, cond, draws.steps, number
        )
        if number % self.loss.r1_every:
            del terms["r1"]  # not measured: a mean over steps must not count it as 0
        return terms


@dataclass(frozen=True)
class GeneratorLoss(GANLoss):
    """The generator's loss, which makes generated steps look real.

    Attributes:
        discriminator: not trained by this loss.
        network: the discriminator's.
    """

    discriminator: NetworkDiscriminator
    network: nn.Module

    def terms(
        self,
        generator: NetworkGenerator,
        x: Float[Tensor, "B *shape"],
        labels: Int[Tensor, " B"],
        draws: GANDraws,
    ) -> dict[str, Tensor]:
        """Return the loss per example (B,); the discriminator's loss logs the logits."""
        cond = self.labels.drop(labels, draws.dropped)
        with frozen(self.network):
            terms = self.loss.generator_terms(generator, self.discriminator, x, cond, draws.steps)
        return {"loss": terms["loss"]}


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Disable the gradients of the network's weights within the context."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
