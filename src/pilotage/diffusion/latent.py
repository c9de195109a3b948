"""Stochastic generators G(z, λ, c, n), which become denoisers by binding the latents n."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from pilotage.diffusion.denoiser import Denoiser
from pilotage.diffusion.logsnr import spread
from pilotage.diffusion.prediction import Prediction, from_eps, from_x
from pilotage.diffusion.steps import BoundDenoiser, State, Step
from pilotage.errors import PilotageError

_TO_PREDICTION = {"eps": from_eps, "x": from_x}


@runtime_checkable
class Generator(Protocol):
    """A stochastic generator: x ~ p(x | z, λ, c) from n ~ N(0, I) (2112.07804, section 3.2).

    z is (B, *shape), lam a scalar or (B,), cond None or a batch of B conditions, latent (B, N).
    """

    def __call__(self, z: Tensor, lam: Tensor, cond: Any, latent: Tensor) -> Prediction:
        """Draw x for a batch."""
        ...


class NetworkGenerator:
    """A network ``(z, time, latent, cond) -> output`` as a stochastic generator.

    Attributes:
        network: the callable; output (B, *shape).
        predicts: its parametrisation, "x" or "eps" (the paper's ablation "noise generation").
        time: maps λ (B,) to the noise conditioning that the network takes (c_noise of EDM); λ
            itself by default.
        calls: number of network calls so far.
    """

    def __init__(
        self,
        network: Callable[..., Tensor],
        predicts: Literal["x", "eps"] = "x",
        time: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        if predicts not in _TO_PREDICTION:
            raise PilotageError(f"predicts is {predicts!r}: it must be 'x' or 'eps'.")
        self.network = network
        self.predicts = predicts
        self.time = time
        self.calls = 0

    def around(self, network: Callable[..., Tensor]) -> "NetworkGenerator":
        """Return the same generator around another network, which may wrap this one's."""
        return NetworkGenerator(network, self.predicts, self.time)

    def __call__(self, z: Tensor, lam: Tensor, cond: Any, latent: Tensor) -> Prediction:
        """Generate at (z, λ, c, n)."""
        lam = spread(lam.to(z), len(z))
        self.calls += 1
        time = lam if self.time is None else self.time(lam)
        return _TO_PREDICTION[self.predicts](z, lam, self.network(z, time, latent, cond).to(z))


class NetworkDiscriminator:
    """A network ``(z_s, time, z_t, cond) -> (B,)`` as a discriminator of pairs at λ_t.

    Attributes:
        network: the callable.
        time: maps λ_t (B,) to the noise conditioning that the network takes; λ_t by default.
    """

    def __init__(
        self, network: Callable[..., Tensor], time: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.network = network
        self.time = time

    def around(self, network: Callable[..., Tensor]) -> "NetworkDiscriminator":
        """Return the same discriminator around another network, which may wrap this one's."""
        return NetworkDiscriminator(network, self.time)

    def __call__(self, z_s: Tensor, lam_t: Tensor, z_t: Tensor, cond: Any = None) -> Tensor:
        """Return the logits (B,) that z_s is a real step back from z_t."""
        lam = spread(lam_t.to(z_t), len(z_t))
        return self.network(z_s, lam if self.time is None else self.time(lam), z_t, cond).to(z_s)


def latent(generator: Generator, noise: Iterable[Tensor]) -> Denoiser:
    """Turn a generator into a denoiser, which uses the next latents at every call.

    A batch that guidance has doubled uses every latent twice, so that the conditional and the
    unconditional draw differ by their condition only.

    Args:
        generator: a stochastic generator.
        noise: latents (B, N), such as a ``SeededNoise``; for a generator trained without
            a latent, ``itertools.repeat(torch.zeros(B, N))``.

    Raises:
        PilotageError: when called, if the latents are exhausted, or their rows do not fit the
            batch.
    """
    draws: Iterator[Tensor] = iter(noise)

    def denoise(z: Tensor, lam: Tensor, cond: Any = None) -> Prediction:
        rows = next(draws, None)
        if rows is None:
            raise PilotageError(
                "noise is exhausted: it must have latents (B, N) for every call of a generator."
            )
        if len(z) % len(rows):
            raise PilotageError(
                f"noise has draws of {len(rows)} rows: they must divide {len(z)}, the size of the "
                "batch."
            )
        repeats = len(z) // len(rows)
        return generator(z, lam, cond, torch.cat([rows] * repeats) if repeats > 1 else rows)

    return denoise


def direct() -> Step:
    """Return the step that takes the denoiser's x as z_s: for "direct denoising" generators.

    The paper's ablation (2112.07804, table 2), in place of ``ancestral(v=0)``.
    """

    def step(denoise: BoundDenoiser, state: State, lam_s: Tensor, noise: Tensor | None) -> State:
        prediction = denoise(state.z, spread(state.lam.to(state.z), len(state.z)))
        return State(prediction.x, lam_s, prediction)

    return step


def no_latents(
    count: int, dim: int, like: Float[Tensor, "..."] | None = None
) -> Iterator[Float[Tensor, "B N"]]:
    """Yield zeros (count, dim) endlessly, for a generator trained without a latent."""
    zeros = torch.zeros(count, dim) if like is None else like.new_zeros(count, dim)
    while True:
        yield zeros
