"""Stochastic generators G(z, λ, c, n), which become denoisers by binding the source of n."""

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
    """A draw of x from p(x | z, λ, c), made of the latent n ~ N(0, I) (2112.07804, section 3.2).

    z is (B, *shape), lam a scalar or (B,), cond None or a batch of B conditions, latent (B, N).
    """

    def __call__(self, z: Tensor, lam: Tensor, cond: Any, latent: Tensor) -> Prediction:
        """The draw for a batch."""
        ...


class NetworkGenerator:
    """A network ``(z, time, latent, cond) -> output`` as a stochastic generator.

    Attributes:
        network: the callable; output (B, *shape).
        predicts: what it outputs, "x" or "eps" (the paper's ablation "noise generation").
        time: how λ (B,) is told to the network; λ itself by default.
        calls: how many times the network has been called.
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
        """The same for another network, which may wrap this one's."""
        return NetworkGenerator(network, self.predicts, self.time)

    def __call__(self, z: Tensor, lam: Tensor, cond: Any, latent: Tensor) -> Prediction:
        """The network's answer at (z, λ, c, n) as a prediction."""
        lam = spread(lam.to(z), len(z))
        self.calls += 1
        time = lam if self.time is None else self.time(lam)
        return _TO_PREDICTION[self.predicts](z, lam, self.network(z, time, latent, cond).to(z))


class NetworkDiscriminator:
    """A network ``(z_s, time, z_t, cond) -> (B,)`` as a judge of pairs at λ_t.

    Attributes:
        network: the callable.
        time: how λ_t (B,) is told to the network; λ itself by default.
    """

    def __init__(
        self, network: Callable[..., Tensor], time: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.network = network
        self.time = time

    def around(self, network: Callable[..., Tensor]) -> "NetworkDiscriminator":
        """The same for another network, which may wrap this one's."""
        return NetworkDiscriminator(network, self.time)

    def __call__(self, z_s: Tensor, lam_t: Tensor, z_t: Tensor, cond: Any = None) -> Tensor:
        """The logits (B,) that z_s is a real step back from z_t."""
        lam = spread(lam_t.to(z_t), len(z_t))
        return self.network(z_s, lam if self.time is None else self.time(lam), z_t, cond).to(z_s)


def latent(generator: Generator, noise: Iterable[Tensor]) -> Denoiser:
    """The generator as a denoiser, which takes the next latents at every call.

    A batch that guidance has doubled uses every latent twice, so that the guided and the unguided
    draw differ by their condition only.

    Args:
        generator: a stochastic generator.
        noise: draws (B, N), such as a ``SeededNoise`` of its own; for a generator trained without
            a latent, ``itertools.repeat(torch.zeros(B, N))``.

    Raises:
        PilotageError: when called, if the draws have run out, or their rows do not fit the batch.
    """
    draws: Iterator[Tensor] = iter(noise)

    def denoise(z: Tensor, lam: Tensor, cond: Any = None) -> Prediction:
        rows = next(draws, None)
        if rows is None:
            raise PilotageError("noise has run out: a generator needs latents at every call.")
        if len(z) % len(rows):
            raise PilotageError(
                f"noise has draws of {len(rows)} rows: they must divide {len(z)}, the batch."
            )
        repeats = len(z) // len(rows)
        return generator(z, lam, cond, torch.cat([rows] * repeats) if repeats > 1 else rows)

    return denoise


def direct() -> Step:
    """z_s is the denoiser's x itself: for generators trained to output z_s ("direct denoising").

    The paper's ablation (2112.07804, table 2), in place of ``ancestral(v=0)``.
    """

    def step(denoise: BoundDenoiser, state: State, lam_s: Tensor, noise: Tensor | None) -> State:
        prediction = denoise(state.z, spread(state.lam.to(state.z), len(state.z)))
        return State(prediction.x, lam_s, prediction)

    return step


def no_latents(
    count: int, dim: int, like: Float[Tensor, "..."] | None = None
) -> Iterator[Float[Tensor, "B N"]]:
    """Zeros (count, dim) without end, for a generator trained without a latent."""
    zeros = torch.zeros(count, dim) if like is None else like.new_zeros(count, dim)
    while True:
        yield zeros
