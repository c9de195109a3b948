"""The loop: its contract, the order of DDIM, and the distribution that comes out."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from pilotage.diffusion import (
    GaussianMixture,
    NetworkDenoiser,
    SeededNoise,
    TruncatedCosine,
    ancestral,
    ddim,
    sample,
)
from pilotage.errors import PilotageError

from .helpers import STEPS, Counted, normal, plane, run


@pytest.mark.parametrize("count", [1, 2, 17])
@pytest.mark.parametrize("name", STEPS)
def test_a_grid_of_t_is_t_calls_and_t_states(name, count):
    lams = TruncatedCosine().grid(count)
    mixture, cond = plane(), torch.tensor([0, 1, 2, 3])
    network = NetworkDenoiser(lambda z, lam, cond: mixture(z, lam, cond).eps, "eps")
    counted = Counted(network)
    noise = SeededNoise(range(4), (2,), dtype=torch.float64)
    states = list(sample(counted, next(noise), lams, STEPS[name], cond, noise))
    assert len(states) == network.calls == count
    assert [state.lam.item() for state in states] == [*lams[1:].tolist(), math.inf]
    # asked at every level of the grid, about the state before, with the condition
    assert [lam.tolist() for _, lam, _ in counted.calls] == [[lam] * 4 for lam in lams.tolist()]
    for state, (z, _, _) in zip(states[:-1], counted.calls[1:], strict=True):
        assert torch.equal(state.z, z)
    assert all(c is cond for _, _, c in counted.calls)
    assert torch.equal(states[-1].z, states[-1].prediction.x)


def test_states_come_one_at_a_time():
    counted = Counted(plane())
    states = sample(counted, normal(2, 2), TruncatedCosine().grid(5), ddim())
    assert not counted.calls
    next(states)
    assert len(counted.calls) == 1


def test_no_gradients_are_kept():
    weight = torch.ones(2, dtype=torch.float64, requires_grad=True)
    network = NetworkDenoiser(lambda z, *_: z * weight)
    *_, last = sample(network, normal(2, 2), TruncatedCosine().grid(3), ddim())
    assert not last.z.requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    "lams",
    [[], [0.0, 0.0], [1.0, 0.0], [0.0, math.nan], [0.0, math.inf], [-math.inf, 0.0]],
)
def test_bad_levels_are_refused_at_the_call(lams):
    counted = Counted(plane())
    with pytest.raises(PilotageError, match="lams"):
        sample(counted, normal(2, 2), torch.tensor(lams, dtype=torch.float64), ddim())
    assert not counted.calls


def test_noise_is_needed_unless_the_step_is_deterministic():
    lams = TruncatedCosine().grid(4)
    assert len(list(sample(plane(), normal(2, 2), lams, ddim(0.0)))) == 4
    assert len(list(sample(plane(), normal(2, 2), lams[:1], ancestral()))) == 1
    for step in (ancestral(0.3), ddim(0.5)):
        with pytest.raises(PilotageError, match="noise is None"):
            list(sample(plane(), normal(2, 2), lams, step))
        short = [normal(2, 2)] * 2
        with pytest.raises(PilotageError, match="noise is None"):
            list(sample(plane(), normal(2, 2), lams, step, noise=short))
        enough = [normal(2, 2)] * 3
        assert len(list(sample(plane(), normal(2, 2), lams, step, noise=enough))) == 4


@pytest.mark.parametrize("name", STEPS)
def test_a_seed_gives_the_same_sample_in_any_batch(name):
    lams, cond = TruncatedCosine().grid(20), torch.full((6,), 1)
    together = run(plane(), lams, STEPS[name], cond, 6)
    alone = run(plane(), lams, STEPS[name], cond[:1], 1, seed=4)
    torch.testing.assert_close(alone[:, 0], together[:, 4], rtol=1e-12, atol=1e-12)


def test_a_float32_run_follows_the_float64_run():
    mixture, lams, z = plane(), TruncatedCosine().grid(64), normal(50, 2)
    *_, exact = sample(mixture, z, lams, ddim())
    *_, narrow = sample(mixture, z.float(), lams, ddim())
    assert narrow.z.dtype == torch.float32
    torch.testing.assert_close(narrow.z.double(), exact.z, rtol=1e-4, atol=1e-4)


# --- DDIM is a first-order solver of the probability flow ---------------------------------------
#
# With y = z/α and s = σ/α = e^{−λ/2} the flow is dy/ds = ε(z, λ). As α² = sigmoid(λ),
# d log α/dλ = σ²/2, and ds/dλ = −s/2, so that
#
#     dz/dλ = z d log α/dλ + α ε ds/dλ = (σ²/2) z − (σ/2) ε.


def end_of_ddim(denoise, z, ends, steps):
    """Where ``steps`` DDIM steps, even in λ, arrive; the leap to λ = ∞ is left out."""
    lams = torch.linspace(*ends, steps + 1, dtype=torch.float64)
    *_, at_last_level, _ = sample(denoise, z, lams, ddim(0.0))
    assert at_last_level.lam == ends[1]
    return at_last_level.z


def assert_first_order(denoise, z, ends, exact):
    errors = [(end_of_ddim(denoise, z, ends, n) - exact).abs().max() for n in (200, 400, 800)]
    ratios = [(coarse / fine).item() for coarse, fine in itertools.pairwise(errors)]
    assert errors[-1] > 1e-6  # far above rounding
    assert all(1.8 < ratio < 2.2 for ratio in ratios), ratios


def test_ddim_is_of_first_order_on_a_gaussian():
    """z_s = α_s μ + √(var_s/var_t) (z_t − α_t μ), var = α² v + σ²."""
    mean, v, ends = torch.tensor([1.0, -0.5], dtype=torch.float64), 0.2, (-6.0, 6.0)
    mixture, z = GaussianMixture(mean[None], [v], [1.0]), normal(20, 2)
    a, var = zip(
        *((s**0.5, s * v + 1 - s) for s in (1 / (1 + math.exp(-lam)) for lam in ends)), strict=True
    )
    exact = a[1] * mean + (var[1] / var[0]) ** 0.5 * (z - a[0] * mean)
    assert_first_order(mixture, z, ends, exact)


def test_ddim_is_of_first_order_on_a_mixture():
    mixture, z, ends = plane(), normal(6, 2), (-6.0, 6.0)

    def flow(lam, flat):
        at = torch.tensor(flat).reshape(6, 2)
        sigma = (1 + math.exp(lam)) ** -0.5
        score = mixture.score(at, torch.tensor(lam, dtype=torch.float64))  # ε = −σ · score
        return (sigma**2 / 2 * (at + score)).flatten().numpy()

    solved = solve_ivp(flow, ends, z.flatten().numpy(), "DOP853", rtol=1e-11, atol=1e-12)
    exact = torch.tensor(np.ascontiguousarray(solved.y[:, -1])).reshape(6, 2)
    assert_first_order(mixture, z, ends, exact)


# --- what comes out ------------------------------------------------------------------------------


def within(values, expected, errors=4):
    """The mean of the values (N, ...) lies within so many standard errors of what is expected."""
    error = values.std(0) / len(values) ** 0.5
    return ((values.mean(0) - expected).abs() < errors * error).all()


@pytest.mark.parametrize("conditional", [True, False])
def test_ancestral_samples_have_the_mixtures_moments(conditional):
    mixture, count = plane(), 20_000
    labels = mixture.draw(count, torch.Generator().manual_seed(1))[1] if conditional else None
    generator = torch.Generator().manual_seed(2)

    def draws():
        while True:
            yield torch.randn(count, 2, generator=generator, dtype=torch.float64)

    noise = draws()
    lams = TruncatedCosine().grid(256)
    *_, last = sample(mixture, next(noise), lams, ancestral(v=0.3), labels, noise)
    x = last.z
    mean = mixture.weights @ mixture.means
    spread = mixture.means - mean
    covariance = (mixture.weights[:, None] * spread).T @ spread
    covariance += mixture.weights @ mixture.variances * torch.eye(2, dtype=torch.float64)
    assert within(x, mean)
    assert within((x - mean)[:, :, None] * (x - mean)[:, None], covariance)
    assert within(mixture.posterior(x), mixture.weights)  # E p(c|x) is the share of c
    nearest = mixture.posterior(x).argmax(1)
    drawn, _ = mixture.draw(200_000, torch.Generator().manual_seed(3))
    regions = torch.bincount(mixture.posterior(drawn).argmax(1), minlength=3) / 200_000
    assert within(torch.nn.functional.one_hot(nearest, 3).double(), regions)
    if conditional:
        for label in range(3):
            own = x[labels == label]
            assert within(own, mixture.means[label])
            squares = (own - mixture.means[label]) ** 2
            assert within(squares, mixture.variances[label])
