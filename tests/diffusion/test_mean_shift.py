"""Guidance of the ancestral step's mean: ADM's own, and the limit that it shares with ours."""

import math

import pytest
import torch

from pilotage.diffusion import (
    Prediction,
    SeededNoise,
    State,
    TruncatedCosine,
    ancestral,
    classifier,
    sample,
)

from .helpers import level, normal, plane

COND = torch.arange(30) % 3


def gradient(w):
    """w ∇_z log p(c | z, λ) of the exact mixture: the difference of two scores."""
    mixture = plane()
    return lambda z, lam: w * (mixture.score(z, lam, COND) - mixture.score(z, lam))


def runs(step, denoise, steps):
    noise = SeededNoise(range(30), (2,), dtype=torch.float64)
    lams = TruncatedCosine(-10.0, 10.0).grid(steps)
    *_, last = sample(denoise, next(noise), lams, step, COND, noise)
    return last.z


def apart(steps, w=1.5):
    """How far guiding the mean ends from guiding ε, with the same noise and no variance to spare.

    v = 0, the posterior variance, is what the two agree on to first order in a step.
    """
    mixture = plane()
    by_mean = runs(ancestral(0.0, gradient(w)), lambda z, lam, cond: mixture(z, lam), steps)
    guided = classifier(lambda z, lam, cond: mixture(z, lam), mixture.class_log_prob, w)
    by_eps = runs(ancestral(0.0), guided, steps)
    return (by_mean - by_eps).abs().mean().item()


def test_many_steps_make_it_guidance_of_eps():
    errors = [apart(steps) for steps in (30, 120, 480)]
    assert errors[0] / errors[1] > 2
    assert errors[1] / errors[2] > 2
    assert errors[2] < 0.05


@pytest.mark.parametrize("v", [0.0, 0.3, 1.0, "learned"])
def test_the_mean_moves_by_the_variance(v):
    z, lam_t, lam_s = normal(30, 2), *torch.tensor([-1.0, 0.5], dtype=torch.float64)
    fraction = torch.rand(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def denoise(z, lam):
        return Prediction(0 * z, z, fraction)

    asked = []

    def score(z, lam):
        asked.append((z, lam))
        return z + 1

    def after(step, noise):
        return step(denoise, State(z, lam_t), lam_s, noise).z

    std = after(ancestral(v), torch.ones_like(z)) - after(ancestral(v), 0 * z)
    moved = after(ancestral(v, score), 0 * z) - after(ancestral(v), 0 * z)
    torch.testing.assert_close(moved, std**2 * (z + 1), rtol=1e-12, atol=1e-12)
    assert torch.equal(asked[0][0], z)
    assert torch.equal(asked[0][1], level(-1.0, 30))


def test_no_shift_at_the_end_of_any_example():
    z, x = normal(3, 2), normal(3, 2, seed=1)
    lam_s = torch.tensor([1.0, math.inf, math.inf], dtype=torch.float64)
    step = ancestral("learned", lambda z, lam: 0 * z + 7)
    prediction = Prediction(x, z, torch.tensor([[0.5, 0.5], [-0.4, 1.7], [1.0, 0.0]]).double())
    state = step(lambda *_: prediction, State(z, level(0.0, 3)), lam_s, normal(3, 2, seed=2))
    assert torch.equal(state.z[1:], x[1:])  # also with fractions out of range, as networks say them
    assert not torch.allclose(state.z[0], x[0])


def test_no_gradient_is_kept():
    def score(z, lam):
        with torch.enable_grad():
            leaf = z.detach().requires_grad_()
            return torch.autograd.grad(-leaf.square().sum(), leaf)[0]

    noise = SeededNoise(range(3), (2,), dtype=torch.float64)
    lams = TruncatedCosine().grid(5)
    *_, last = sample(plane(), next(noise), lams, ancestral(0.3, score), noise=noise)
    assert not last.z.requires_grad
