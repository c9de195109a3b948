"""Discrete beta schedules, as tables of λ.

A model published with T timesteps was trained at T noise levels. Here t = 0..T−1 is only an index
into a table of λ, and back: nothing else of such a schedule enters the arithmetic.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pilotage.errors import PilotageError

Kind = Literal["linear", "cosine"]
ROUNDING = 1e-7  # of a u near 1 in float32, after one subtraction
_LARGEST_BETA = 0.999


def linear_betas(count: int) -> Float[Tensor, " T"]:
    """Return β_t of the linear schedule, float64: 0.1/T to 20/T (2006.11239, at T = 1000).

    Raises:
        PilotageError: if count <= 20, where the last β would reach 1.
    """
    if count <= 20:
        raise PilotageError(f"timesteps is {count}: it must be at least 21 for a linear schedule.")
    return torch.linspace(0.1 / count, 20 / count, count, dtype=torch.float64)


def cosine_betas(count: int) -> Float[Tensor, " T"]:
    """Return β_t of the cosine schedule, float64: at most 0.999 (2102.09672, equation 17).

    Raises:
        PilotageError: if count < 2.
    """
    if count < 2:
        raise PilotageError(f"timesteps is {count}: it must be at least 2 for a cosine schedule.")
    u = torch.linspace(0, 1, count + 1, dtype=torch.float64)
    bar = torch.cos((u + 0.008) / 1.008 * (math.pi / 2)).square()
    return (1 - bar[1:] / bar[:-1]).clamp(max=_LARGEST_BETA)


_BETAS: dict[str, Callable[[int], Tensor]] = {"linear": linear_betas, "cosine": cosine_betas}


def respaced(count: int, sections: str | Sequence[int]) -> list[int]:
    """Return the timesteps of a respaced chain, increasing (guided-diffusion's respacing).

    Args:
        count: T, the timesteps to choose from.
        sections: "ddim25", every k-th timestep from 0 for the smallest k that gives exactly 25; or
            numbers of timesteps, such as "250", "10,10,15" or [10, 10, 15]: the T timesteps are
            divided into as many equal sections (the first ones longer by one where T does not
            divide), of each of which so many are kept, evenly from its first to its last; a single
            one is the section's first; or "fast27" of GLIDE's upsampler (2112.10741): "10,10,3,2,2"
            with the last timestep lowered by 2, since DDIM fails at the noisiest ones.

    Raises:
        PilotageError: if sections cannot be parsed, is 0 in all or more than there are, or no k
            gives exactly the number of "ddim…".
    """
    if sections == "fast27":
        return [*respaced(count, "10,10,3,2,2")[:-1], count - 3]
    if isinstance(sections, str) and sections.startswith("ddim"):
        return _strided(count, sections)
    numbers = _numbers(sections)
    short, longer = divmod(count, len(numbers))
    kept: list[int] = []
    start = 0
    for i, number in enumerate(numbers):
        length = short + (i < longer)
        if number > length:
            raise PilotageError(
                f"steps is {sections!r}: section {i + 1} has {length} of {count} timesteps, so its "
                f"number must be at most {length}, not {number}."
            )
        kept += [start + offset for offset in _even(length, number)]
        start += length
    return kept


def _numbers(sections: str | Sequence[int]) -> list[int]:
    parts = sections.split(",") if isinstance(sections, str) else sections
    try:
        numbers = [int(part) for part in parts]
    except ValueError:
        numbers = []
    if not sum(numbers) or min(numbers) < 0:
        raise PilotageError(
            f"steps is {sections!r}: it must be 'ddim' and a number, 'fast27', or numbers of "
            "timesteps of at least 0, separated by commas, that are not all 0."
        )
    return numbers


def _strided(count: int, sections: str) -> list[int]:
    number = sections.removeprefix("ddim")
    for stride in range(1, count):
        kept = range(0, count, stride)
        if number.isdecimal() and len(kept) == int(number):
            return list(kept)
    raise PilotageError(
        f"steps is {sections!r}: it must be a number that a whole stride over {count} timesteps "
        "gives."
    )


def _even(length: int, number: int) -> list[int]:
    """Return ``number`` indices from 0 to length − 1; a running sum, rounded half to even."""
    stride = (length - 1) / (number - 1) if number > 1 else 1.0
    indices, position = [], 0.0
    for _ in range(number):
        indices.append(round(position))
        position += stride
    return indices


@dataclass(frozen=True)
class Timesteps:
    """A schedule of T published noise levels, λ_0 > λ_1 > … > λ_{T−1}.

    Attributes:
        kind: "linear" (2006.11239) or "cosine" (2102.09672).
        count: T; the linear schedule's β are scaled so that λ_min and λ_max hardly depend on T.

    Raises:
        PilotageError: if kind is unknown, or count too small for it.
    """

    kind: Kind
    count: int = 1000

    def __post_init__(self) -> None:
        if self.kind not in _BETAS:
            raise PilotageError(f"kind is {self.kind!r}: it must be 'linear' or 'cosine'.")
        _table(self.kind, self.count, "cpu", torch.float64)

    @property
    def lams(self) -> Float[Tensor, " T"]:
        """λ_t = log(ᾱ_t/(1 − ᾱ_t)) for t = 0..T−1, decreasing, float64."""
        return _table(self.kind, self.count, "cpu", torch.float64).flip(0)

    @property
    def lam_min(self) -> float:
        """λ_{T−1}, the noise end."""
        return float(self.lams[-1])

    @property
    def lam_max(self) -> float:
        """λ_0, the data end."""
        return float(self.lams[0])

    def __call__(self, u: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Return λ_t at t = ⌊uT⌋, u in [0, 1]: exactly the published levels; shape and dtype of u.

        A u that float32 rounds to just below k/T counts as k/T, whatever its dtype.
        """
        t = ((u.double() + ROUNDING) * self.count).floor().long().clamp(0, self.count - 1)
        return self._increasing(u, torch.float64)[self.count - 1 - t].to(u.dtype)

    def grid(self, steps: int | str) -> Float[Tensor, " steps"]:
        """Return the increasing levels of a respaced chain, for the sampler, float64.

        Args:
            steps: their number, evenly from λ_{T−1} to λ_0 (a single one is λ_{T−1}); or a
                respacing of :func:`respaced`, such as "ddim25".

        Raises:
            PilotageError: if steps is below 1 or above T, or cannot be parsed.
        """
        if isinstance(steps, str):
            return self.lams[respaced(self.count, steps)].flip(0)
        if not 1 <= steps <= self.count:
            raise PilotageError(
                f"steps is {steps}: it must lie between 1 and {self.count}, the run's timesteps."
            )
        # guided-diffusion's respacing to one timestep keeps t = 0, which has no noise to start from
        return self.lams[-1:] if steps == 1 else self.grid(str(steps))

    def time(self, lam: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Return λ as a timestep in [0, T − 1], for a network that was trained on timesteps.

        Exact at the T levels, linear in λ between them and clamped beyond; same shape and dtype as
        λ. A float32 λ is compared with the levels in float32, so it is exact there too.
        """
        own = torch.float32 if lam.dtype == torch.float32 else torch.float64
        levels = self._increasing(lam, own).double()
        at = lam.double().contiguous()
        above = torch.bucketize(at, levels).clamp(1, self.count - 1)
        low, high = levels[above - 1], levels[above]
        return (self.count - above - ((at - low) / (high - low)).clamp(0, 1)).to(lam.dtype)

    def _increasing(self, like: Tensor, dtype: torch.dtype) -> Tensor:
        return _table(self.kind, self.count, str(like.device), dtype)


@lru_cache(maxsize=64)
def _table(kind: str, count: int, device: str, dtype: torch.dtype) -> Tensor:
    """Return λ_{T−1}..λ_0, from log ᾱ = Σ log(1 − β), without cancellation at either end."""
    log_bar = torch.log1p(-_BETAS[kind](count)).cumsum(0)
    lams = log_bar - torch.log(-torch.expm1(log_bar))
    return lams.flip(0).to(device=device, dtype=dtype)
