"""One step: its mean and variance against Gaussian conditioning, in 50 decimal digits."""

import itertools
import math
from decimal import Decimal, localcontext

import pytest
import torch

from pilotage.diffusion import Prediction, State, ancestral, ddim
from pilotage.errors import PilotageError

from .helpers import STEPS, Counted, level, normal, plane

PAIRS = [
    (-20.0, -19.0),
    (-20.0, 20.0),
    (-8.0, -7.9),
    (-3.0, 1.0),
    (-0.5, 0.5),
    (1.0, 1.001),
    (2.0, 9.0),
    (14.0, 18.0),
    (19.999, 20.0),
]
END = torch.tensor(math.inf, dtype=torch.float64)
X = torch.tensor([[0.7, -1.2], [0.0, 1.0], [3.0, -0.1]], dtype=torch.float64)
Z = torch.tensor([[-0.4, 0.9], [1.5, 0.2], [2.0, 1.0]], dtype=torch.float64)


def one_step(step, lam_t, lam_s, noise=None, x=X, z=Z, v=None):
    """The state after a step whose denoiser says x whatever it is asked."""

    def denoise(z, lam):
        a, s = torch.sigmoid(lam).sqrt()[:, None], torch.sigmoid(-lam).sqrt()[:, None]
        return Prediction(x, (z - a * x) / s, v)

    state = State(z, torch.as_tensor(lam_t, dtype=z.dtype))
    return step(denoise, state, torch.as_tensor(lam_s, dtype=z.dtype), noise)


def mean_and_std(step, lam_t, lam_s, **options):
    """By noise of zeros, and by what noise of ones adds."""
    mean = one_step(step, lam_t, lam_s, torch.zeros_like(Z), **options).z
    return mean, one_step(step, lam_t, lam_s, torch.ones_like(Z), **options).z - mean


def conditioned(lam_t, lam_s):
    """The Gaussian chain x -> z_s -> z_t, by the covariances of (z_s, z_t) given x.

    Returns a, b and the variance of q(z_s | z_t, x) = N(a z_t + b x, variance), and the variance
    of q(z_t | z_s), all exact.
    """
    with localcontext() as context:
        context.prec = 60
        alpha2_t, alpha2_s = (1 / (1 + (-Decimal(lam)).exp()) for lam in (lam_t, lam_s))
        alpha_t, alpha_s, ratio = alpha2_t.sqrt(), alpha2_s.sqrt(), (alpha2_t / alpha2_s).sqrt()
        var_t, var_s = 1 - alpha2_t, 1 - alpha2_s  # Var(z_t | x), Var(z_s | x)
        transition = var_t - ratio**2 * var_s  # z_t = ratio z_s + noise of this variance
        covariance = ratio * var_s
        a = covariance / var_t
        b = alpha_s - a * alpha_t
        posterior = var_s - covariance**2 / var_t
        return float(a), float(b), float(posterior), float(transition)


@pytest.mark.parametrize(("lam_t", "lam_s"), PAIRS)
@pytest.mark.parametrize("v", [0.0, 0.3, 1.0])
def test_ancestral(v, lam_t, lam_s):
    a, b, posterior, transition = conditioned(lam_t, lam_s)
    mean, std = mean_and_std(ancestral(v), lam_t, lam_s)
    torch.testing.assert_close(mean, a * Z + b * X, rtol=1e-10, atol=1e-12)
    expected = math.sqrt(posterior ** (1 - v) * transition**v)
    torch.testing.assert_close(std, torch.full_like(Z, expected), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(("lam_t", "lam_s"), PAIRS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim(eta, lam_t, lam_s):
    """2010.02502, equations 12 and 16, in its ᾱ (there called α)."""
    with localcontext() as context:
        context.prec = 60
        bar_t, bar_s = (1 / (1 + (-Decimal(lam)).exp()) for lam in (lam_t, lam_s))
        sigma = Decimal(eta) * ((1 - bar_s) / (1 - bar_t) * (1 - bar_t / bar_s)).sqrt()
        direction = (1 - bar_s - sigma**2).sqrt()
        # ε from x and z_t
        on_z, on_x = 1 / (1 - bar_t).sqrt(), -bar_t.sqrt() / (1 - bar_t).sqrt()
        a, b = float(direction * on_z), float(bar_s.sqrt() + direction * on_x)
    mean, std = mean_and_std(ddim(eta), lam_t, lam_s)
    torch.testing.assert_close(mean, a * Z + b * X, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(std, torch.full_like(Z, float(sigma)), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(("lam_t", "lam_s"), PAIRS)
def test_ddim_with_eta_1_is_ancestral_with_v_0(lam_t, lam_s):
    for ours, other in zip(
        mean_and_std(ddim(1.0), lam_t, lam_s),
        mean_and_std(ancestral(0.0), lam_t, lam_s),
        strict=True,
    ):
        torch.testing.assert_close(ours, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("lam_t", "lam_s"), PAIRS)
def test_learned_variance_is_per_pixel(lam_t, lam_s):
    fraction = torch.tensor([[0.0, 1.0], [0.5, 0.25], [0.9, 0.1]], dtype=torch.float64)
    _, _, posterior, transition = conditioned(lam_t, lam_s)
    mean, std = mean_and_std(ancestral("learned"), lam_t, lam_s, v=fraction)
    log_variance = (1 - fraction) * math.log(posterior) + fraction * math.log(transition)
    torch.testing.assert_close(std, (log_variance / 2).exp(), rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(mean, mean_and_std(ancestral(0.7), lam_t, lam_s)[0])


@pytest.mark.parametrize("name", STEPS)
def test_noise_enters_linearly_and_by_element(name):
    noise = normal(3, 2)
    mean, std = mean_and_std(STEPS[name], -1.0, 0.5)
    ours = one_step(STEPS[name], -1.0, 0.5, noise).z
    torch.testing.assert_close(ours, mean + std * noise, rtol=1e-13, atol=1e-13)
    assert (std == 0).all() == (name == "ddim eta=0")


def test_a_whole_ddpm_chain_of_exact_steps_gives_the_marginal():
    """Composed in closed form: with x known, v = 0 steps carry q(z_t | x) to q(z_s | x)."""
    lams = torch.linspace(-6, 5, 7, dtype=torch.float64)
    mean, variance = torch.sigmoid(lams[0]).sqrt() * X, torch.sigmoid(-lams[0])
    for lam_t, lam_s in itertools.pairwise(lams):
        slope = one_step(ancestral(0.0), lam_t, lam_s, 0 * Z, z=mean + 1).z
        mean_s = one_step(ancestral(0.0), lam_t, lam_s, 0 * Z, z=mean).z
        std = one_step(ancestral(0.0), lam_t, lam_s, 0 * Z + 1, z=mean).z - mean_s
        variance = (slope - mean_s) ** 2 * variance + std**2
        mean = mean_s
    torch.testing.assert_close(mean, torch.sigmoid(lams[-1]).sqrt() * X, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(variance, torch.full_like(X, torch.sigmoid(-lams[-1]).item()))


@pytest.mark.parametrize("name", STEPS)
def test_each_example_has_its_own_levels(name):
    lam_t = torch.tensor([-5.0, 0.0, 2.0], dtype=torch.float64)
    lam_s = torch.tensor([-1.0, 0.2, math.inf], dtype=torch.float64)
    noise = normal(3, 2)
    together = one_step(STEPS[name], lam_t, lam_s, noise)
    assert torch.equal(together.lam, lam_s)
    for i in range(3):
        rows = slice(i, i + 1)
        alone = one_step(STEPS[name], lam_t[i], lam_s[i], noise[rows], x=X[rows], z=Z[rows])
        torch.testing.assert_close(together.z[i], alone.z[0], rtol=1e-12, atol=1e-12)
    assert torch.equal(together.z[2], X[2])


@pytest.mark.parametrize("noise", [None, torch.ones_like(Z)], ids=["without", "with"])
@pytest.mark.parametrize("name", STEPS)
def test_the_last_step_is_x(name, noise):
    """To the last bit, with noise or without, from any level."""
    for lam_t in (-20.0, 0.0, 20.0):
        state = one_step(STEPS[name], lam_t, END, noise)
        assert torch.equal(state.z, X)
        assert state.lam == END


def test_the_last_step_is_x_with_a_learned_variance():
    fraction = torch.tensor([[0.0, 1.0], [0.5, 0.25], [1.0, 0.1]], dtype=torch.float64)
    for noise in (None, torch.ones_like(Z)):
        assert torch.equal(one_step(ancestral("learned"), 0.0, END, noise, v=fraction).z, X)


@pytest.mark.parametrize("name", STEPS)
def test_missing_noise(name):
    if name == "ddim eta=0":
        assert one_step(STEPS[name], 0.0, 1.0).z.isfinite().all()
        return
    for lam_s in (1.0, torch.tensor([1.0, math.inf, math.inf], dtype=torch.float64)):
        with pytest.raises(PilotageError, match="noise is None"):
            one_step(STEPS[name], 0.0, lam_s)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_asks_once_and_remembers_nothing(name):
    mixture = plane()
    counted = Counted(lambda z, lam, _: mixture(z, lam))
    noise, state = normal(3, 2, seed=1), State(Z, torch.tensor(-1.0, dtype=torch.float64))
    after = STEPS[name](counted, state, torch.tensor(0.5, dtype=torch.float64), noise)
    again = STEPS[name](counted, state, torch.tensor(0.5, dtype=torch.float64), noise)
    assert torch.equal(after.z, again.z)
    assert len(counted.calls) == 2
    z, lam, _ = counted.calls[0]
    assert torch.equal(z, Z)
    assert lam.tolist() == [-1, -1, -1]
    assert torch.equal(after.prediction.x, mixture(Z, level(-1.0, 3)).x)
    assert state.prediction is None


@pytest.mark.parametrize("name", STEPS)
def test_a_float64_level_serves_a_float32_batch(name):
    """The state stays in the batch's dtype and is as exact as that allows."""
    lam_t, lam_s = (torch.tensor(v, dtype=torch.float64) for v in (-19.9, -19.8))
    seen = []

    def denoise(z, lam):
        seen.append(lam.dtype)
        return Prediction(X.to(z), Z.to(z))

    narrow = STEPS[name](denoise, State(Z.float(), lam_t), lam_s, Z.float()).z
    exact = STEPS[name](denoise, State(Z, lam_t), lam_s, Z).z
    assert narrow.dtype == torch.float32
    assert seen == [torch.float32, torch.float64]
    torch.testing.assert_close(narrow.double(), exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("v", [-0.1, 1.1, math.nan])
def test_a_wrong_fraction(v):
    with pytest.raises(PilotageError, match=f"v is {v}"):
        ancestral(v)


@pytest.mark.parametrize("eta", [-0.1, 1.1, math.nan])
def test_a_wrong_eta(eta):
    with pytest.raises(PilotageError, match=f"eta is {eta}"):
        ddim(eta)


def test_learned_variance_must_be_predicted():
    with pytest.raises(PilotageError, match="predicts no variance"):
        one_step(ancestral("learned"), 0.0, 1.0, torch.zeros_like(Z))
