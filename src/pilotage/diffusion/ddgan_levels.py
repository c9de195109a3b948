"""The few noise levels of denoising diffusion GANs (2112.07804), as a grid of λ."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from pilotage.diffusion.timesteps import ROUNDING
from pilotage.errors import PilotageError

SMALLEST_TIME = 1e-3
SMALLEST_BETA = 1e-8


def ddgan_lams(
    count: int, beta_min: float = 0.1, beta_max: float = 20.0, geometric: bool = False
) -> Float[Tensor, " T"]:
    """Return the T levels of a generator, increasing, float64; for ``sample``.

    The variance of the noise at time t is 1 − exp(−β_min t − (β_max − β_min) t²/2), or β_min
    (β_max/β_min)^t if geometric. β_k = 1 − ᾱ(t_k)/ᾱ(t_{k−1}) at t_k = k/T (k = 0..T), squeezed to
    [0.001, 1]; the levels are those of Π(1 − β). The published tables are float32, whose rounding
    of a β near 1 is part of a trained model: it is kept. With these levels ``ancestral(v=0)`` is
    that code's posterior sample, and its end at λ = ∞ that code's last, noiseless step.

    That code's table for training has one more β in front, 1e-8, λ = 18.4. Float32 cannot
    distinguish it from 0, so there too the least noisy image of a pair is x itself: here λ = ∞.

    Args:
        count: T.
        beta_min: rate of the noise at t = 0; if geometric, its variance there.
        beta_max: rate of the noise at t = 1; if geometric, its variance there, below 1.
        geometric: whether the variance is geometric.

    Raises:
        PilotageError: if count is below 1, or the rates give no increasing noise in (0, 1).
    """
    return _lams(count, beta_min, beta_max, geometric, "cpu", torch.float64).clone()


def ddgan_betas(
    count: int, beta_min: float = 0.1, beta_max: float = 20.0, geometric: bool = False
) -> Float[Tensor, " T"]:
    """Return β_1..β_T of `ddgan_lams`, float32, without the leading β = 1e-8.

    Raises:
        PilotageError: as `ddgan_lams`.
    """
    t = ddgan_times(count)
    if geometric and not 0 < beta_min < beta_max < 1:
        raise PilotageError(
            f"beta_min is {beta_min} and beta_max is {beta_max}: with geometric they must be "
            "variances with 0 < beta_min < beta_max < 1."
        )
    if geometric:
        bar = 1 - beta_min * (beta_max / beta_min) ** t
    else:
        bar = torch.exp(-(t**2) * (beta_max - beta_min) / 2 - t * beta_min)
    betas = (1 - bar[1:] / bar[:-1]).float()
    if not ((betas > 0) & (betas < 1)).all():
        raise PilotageError(
            f"beta_min is {beta_min} and beta_max is {beta_max}: with {count} steps they give "
            f"betas {[round(beta, 6) for beta in betas.tolist()]}, which must lie between 0 and 1."
        )
    return betas


def ddgan_times(count: int) -> Float[Tensor, " T_and_one"]:
    """Return t_0..t_T, evenly from 0.001 to 1, float64.

    Raises:
        PilotageError: if count is below 1.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise PilotageError(
            f"the number of steps is {count!r}: it must be a whole number of at least 1."
        )
    even = torch.arange(count + 1, dtype=torch.float64) / count
    return even * (1 - SMALLEST_TIME) + SMALLEST_TIME


@dataclass(frozen=True)
class FewSteps:
    """The levels of `ddgan_lams` as a schedule, with timesteps 0..T − 1 for networks.

    Attributes:
        count: T.
        beta_min: as for `ddgan_lams`.
        beta_max: as for `ddgan_lams`.
        geometric: as for `ddgan_lams`.

    Raises:
        PilotageError: as `ddgan_lams`.
    """

    count: int = 4
    beta_min: float = 0.1
    beta_max: float = 20.0
    geometric: bool = False

    def __post_init__(self) -> None:
        self._levels("cpu", torch.float64)

    @property
    def lams(self) -> Float[Tensor, " T"]:
        """The levels, increasing, float64."""
        return self._levels("cpu", torch.float64).clone()

    @property
    def lam_min(self) -> float:
        """The level of the noise, where sampling starts."""
        return float(self.lams[0])

    @property
    def lam_max(self) -> float:
        """The level of the last step, to the data."""
        return float(self.lams[-1])

    def __call__(self, u: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """The level of time ⌊uT⌋, u in [0, 1]; same shape and dtype as u."""
        t = ((u.double() + ROUNDING) * self.count).floor().long().clamp(0, self.count - 1)
        return self._levels(str(u.device), torch.float64)[self.count - 1 - t].to(u.dtype)

    def grid(self, steps: int) -> Float[Tensor, " T"]:
        """Return the levels, increasing, for the sampler.

        Raises:
            PilotageError: if steps is not T: a generator is trained for its own levels only.
        """
        if steps != self.count:
            raise PilotageError(
                f"steps is {steps}: it must be {self.count}, the number of steps of the generator."
            )
        return self.lams

    def time(self, lam: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Return λ as a time in [0, T − 1], for a network that was trained on timesteps.

        Exact at the T levels in float32 too, linear in λ between them and clamped beyond; same
        shape and dtype as λ.
        """
        own = torch.float32 if lam.dtype == torch.float32 else torch.float64
        levels = self._levels(str(lam.device), own).double()
        if self.count == 1:
            return torch.zeros_like(lam)
        at = lam.double().contiguous()
        above = torch.bucketize(at, levels).clamp(1, self.count - 1)
        low, high = levels[above - 1], levels[above]
        return (self.count - above - ((at - low) / (high - low)).clamp(0, 1)).to(lam.dtype)

    def _levels(self, device: str, dtype: torch.dtype) -> Tensor:
        return _lams(self.count, self.beta_min, self.beta_max, self.geometric, device, dtype)


@lru_cache(maxsize=64)
def _lams(
    count: int, beta_min: float, beta_max: float, geometric: bool, device: str, dtype: torch.dtype
) -> Tensor:
    with torch.inference_mode(False):  # it is cached
        betas = ddgan_betas(count, beta_min, beta_max, geometric).double()
        log_bar = torch.log1p(-betas).cumsum(0)
        lams = log_bar - torch.log(-torch.expm1(log_bar))
        return lams.flip(0).to(device=device, dtype=dtype)
