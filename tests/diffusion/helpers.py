"""What the tests of the formalism share: exact mixtures, levels, samplers, and a counter."""

import torch

from pilotage.diffusion import GaussianMixture, SeededNoise, ancestral, ddim, sample

LEVELS = [-20.0, -12.0, -6.0, -3.0, -1.0, 0.0, 0.5, 2.0, 5.0, 9.0, 14.0, 20.0]
STEPS = {
    "ancestral v=0": ancestral(v=0),
    "ancestral v=0.3": ancestral(v=0.3),
    "ancestral v=1": ancestral(v=1),
    "ddim eta=0": ddim(eta=0),
    "ddim eta=0.5": ddim(eta=0.5),
    "ddim eta=1": ddim(eta=1),
}


def plane() -> GaussianMixture:
    """Three unequal classes in two dimensions."""
    return GaussianMixture(
        means=[[2.0, 0.5], [-1.5, 1.0], [0.0, -1.5]],
        variances=[0.3, 0.6, 0.15],
        weights=[0.5, 0.3, 0.2],
    )


def line() -> GaussianMixture:
    """Three unequal classes in one dimension."""
    return GaussianMixture([[-2.0], [0.5], [1.5]], [0.4, 0.1, 0.9], [1.0, 2.0, 3.0])


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Standard normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def noisy(mixture: GaussianMixture, lam: float, count: int, seed: int = 0) -> torch.Tensor:
    """Draws of z at one level, float64 (count, D)."""
    generator = torch.Generator().manual_seed(seed)
    return mixture.marginal(lam).draw(count, generator)[0]


def level(lam: float, count: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """One log-SNR for every example, (count,)."""
    return torch.full((count,), lam, dtype=dtype)


def run(denoise, lams, step, cond, count, dims=2, seed=0):
    """The z of every state of a whole float64 run, (T, count, dims)."""
    noise = SeededNoise(range(seed, seed + count), (dims,), dtype=torch.float64)
    states = sample(denoise, next(noise), lams, step, cond, noise)
    return torch.stack([state.z for state in states])


class Counted:
    """A denoiser that remembers the (z, λ, c) of each of its calls."""

    def __init__(self, denoise):
        self.denoise = denoise
        self.calls = []

    def __call__(self, z, lam, cond=None):
        self.calls.append((z, lam, cond))
        return self.denoise(z, lam, cond)
