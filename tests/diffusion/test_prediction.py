"""Predictions: x and ε together, from whatever a network was trained to say."""

import math

import pytest
import torch

from pilotage.diffusion import NetworkDenoiser, alpha, sigma
from pilotage.diffusion.denoiser import cosine_time
from pilotage.diffusion.logsnr import diffuse, tau
from pilotage.diffusion.prediction import Prediction, from_eps, from_v, from_x, move_x, target_v
from pilotage.errors import PilotageError

from .helpers import LEVELS, level, noisy, normal, plane


def by_hand(lam: float) -> tuple[float, float]:
    """α and σ of the standard library."""
    return (1 + math.exp(-lam)) ** -0.5, (1 + math.exp(lam)) ** -0.5


@pytest.mark.parametrize("lam", LEVELS)
def test_alpha_and_sigma(lam):
    for dtype, bound in ((torch.float64, 1e-14), (torch.float32, 3e-7)):
        t = torch.tensor(lam, dtype=dtype)
        for ours, exact in zip((alpha(t), sigma(t)), by_hand(lam), strict=True):
            assert ours.dtype == dtype
            assert ours.item() == pytest.approx(exact, rel=bound)


def test_the_clean_end():
    lam = torch.tensor([math.inf, -math.inf])
    assert alpha(lam).tolist() == [1, 0]
    assert sigma(lam).tolist() == [0, 1]


def test_tau():
    lam_t, lam_s = level(3.0, 3), torch.tensor([3 + 1e-12, 5.0, math.inf], dtype=torch.float64)
    exact = [(lam_s[0] - lam_t[0]).item(), 1 - math.exp(-2), 1.0]
    torch.testing.assert_close(tau(lam_t, lam_s).tolist(), exact, rtol=1e-10, atol=0)


@pytest.mark.parametrize("lam", LEVELS)
@pytest.mark.parametrize("per_example", [False, True])
def test_every_parametrisation_gives_x_and_eps_back(lam, per_example):
    x, eps = normal(5, 3, 2, seed=1), normal(5, 3, 2, seed=2)
    a, s = by_hand(lam)
    z = a * x + s * eps
    t = level(lam, 5) if per_example else torch.tensor(lam, dtype=torch.float64)
    torch.testing.assert_close(diffuse(x, eps, t), z, rtol=1e-13, atol=1e-13)
    # what division by a vanishing α or σ does to a rounding error
    worst = 1e-14 * max(a / s, s / a)
    v = a * eps - s * x
    torch.testing.assert_close(target_v(x, eps, t), v, rtol=1e-13, atol=1e-13)
    for made, bound in ((from_x(z, t, x), worst), (from_eps(z, t, eps), worst)):
        torch.testing.assert_close(made.x, x, rtol=0, atol=max(bound, 1e-13))
        torch.testing.assert_close(made.eps, eps, rtol=0, atol=max(bound, 1e-13))
    rotated = from_v(z, t, v)  # no division, no loss
    torch.testing.assert_close(rotated.x, x, rtol=0, atol=1e-14 * 4)
    torch.testing.assert_close(rotated.eps, eps, rtol=0, atol=1e-14 * 4)


@pytest.mark.parametrize("lam", LEVELS)
@pytest.mark.parametrize("make", [from_x, from_eps, from_v])
def test_any_output_is_consistent_with_z(make, lam):
    """α x + σ ε = z, also for an output that is nonsense."""
    z, output = normal(6, 4, seed=3), 3 * normal(6, 4, seed=4)
    prediction = make(z, level(lam, 6), output)
    a, s = by_hand(lam)
    torch.testing.assert_close(a * prediction.x + s * prediction.eps, z, rtol=0, atol=1e-12)


def test_each_example_has_its_own_level():
    z, output = normal(len(LEVELS), 3, seed=3), normal(len(LEVELS), 3, seed=4)
    lams = torch.tensor(LEVELS, dtype=torch.float64)
    for make in (from_x, from_eps, from_v):
        together = make(z, lams, output)
        for i in range(len(LEVELS)):
            alone = make(z[i : i + 1], lams[i : i + 1], output[i : i + 1])
            torch.testing.assert_close(together.x[i], alone.x[0], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(together.eps[i], alone.eps[0], rtol=1e-12, atol=1e-12)


def test_v_is_well_conditioned_in_float32():
    x, eps = normal(50, 3, seed=1).float(), normal(50, 3, seed=2).float()
    for lam in LEVELS:
        t = level(lam, 50, torch.float32)
        made = from_v(diffuse(x, eps, t), t, target_v(x, eps, t))
        torch.testing.assert_close(made.x, x, rtol=0, atol=1e-5)
        torch.testing.assert_close(made.eps, eps, rtol=0, atol=1e-5)


@pytest.mark.parametrize("lam", LEVELS)
def test_move_x(lam):
    t = level(lam, 6)
    z, v = normal(6, 4, seed=3), normal(6, 4, seed=4)
    old = from_v(z, t, v)._replace(v=torch.rand(6, 4, dtype=torch.float64))
    target = old.x.clone()
    target[:, 0] += 0.5
    new = move_x(old, t, target)
    a, s = by_hand(lam)
    torch.testing.assert_close(a * new.x + s * new.eps, z, rtol=0, atol=1e-12)
    assert torch.equal(new.x, target)
    assert torch.equal(new.eps[:, 1:], old.eps[:, 1:])  # to the last bit
    assert not torch.isclose(new.eps[:, 0], old.eps[:, 0], rtol=1e-6, atol=1e-6).any()
    assert new.v is old.v


def exact_network(mixture, predicts):
    """What a perfectly trained network of each kind would say."""

    def network(z, lam, cond):
        prediction = mixture(z, lam, cond)
        v = target_v(prediction.x, prediction.eps, lam)
        return {"eps": prediction.eps, "x": prediction.x, "v": v}[predicts]

    return network


@pytest.mark.parametrize("lam", LEVELS)
@pytest.mark.parametrize("predicts", ["eps", "x", "v"])
def test_an_exact_network_is_the_mixture(predicts, lam):
    mixture = plane()
    z, cond = noisy(mixture, lam, 40), torch.arange(40) % 4  # the null label, too
    denoise = NetworkDenoiser(exact_network(mixture, predicts), predicts)
    ours, exact = denoise(z, level(lam, 40), cond), mixture(z, level(lam, 40), cond)
    a, s = by_hand(lam)
    bound = 1e-13 if predicts == "v" else max(1e-12, 1e-14 * max(a / s, s / a))
    torch.testing.assert_close(ours.x, exact.x, rtol=0, atol=bound)
    torch.testing.assert_close(ours.eps, exact.eps, rtol=0, atol=bound)
    assert ours.v is None


@pytest.mark.parametrize("predicts", ["eps", "x", "v"])
def test_the_second_half_is_a_variance_fraction(predicts):
    """(o + 1)/2: −1 is the posterior variance, +1 the transition variance."""
    mean = normal(5, 3, 2, 2, seed=5)
    halves = normal(5, 3, 2, 2, seed=6)
    halves[0], halves[1], halves[2] = -1, 1, 0
    z, lam = normal(5, 3, 2, 2, seed=7), level(1.0, 5)
    plain = NetworkDenoiser(lambda *_: mean, predicts)(z, lam)
    both = NetworkDenoiser(lambda *_: torch.cat([mean, halves], dim=1), predicts)(z, lam)
    assert torch.equal(both.x, plain.x)
    assert torch.equal(both.eps, plain.eps)
    assert [both.v[i].unique().tolist() for i in range(3)] == [[0], [1], [0.5]]
    torch.testing.assert_close(both.v[3:], 0.5 + halves[3:] / 2)


def test_the_noise_conditioning_of_the_network():
    told = []

    def network(z, time, cond):
        told.append((z, time, cond))
        return torch.zeros_like(z)

    z, cond = normal(3, 2).float(), torch.tensor([0, 1, 2])
    denoise = NetworkDenoiser(network, time=lambda lam: 10 * lam)
    denoise(z, torch.tensor(0.5, dtype=torch.float64), cond)
    NetworkDenoiser(network)(z, torch.tensor([1.0, 2.0, 3.0]))
    assert told[0][0] is z
    assert told[0][1].tolist() == [5, 5, 5]
    assert told[0][1].dtype == torch.float32
    assert told[0][2] is cond
    assert told[1][1].tolist() == [1, 2, 3]
    assert told[1][2] is None


def test_calls_are_counted():
    denoise = NetworkDenoiser(lambda z, *_: z)
    assert denoise.calls == 0
    for _ in range(3):
        denoise(normal(2, 2), torch.tensor(0.0))
    denoise.output(normal(2, 2), torch.tensor(0.0))
    assert denoise.calls == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_bfloat16_network(dtype):
    """Only its output is rounded: the other quantity follows in full precision."""
    z, eps = normal(4, 3, seed=8).to(dtype), normal(4, 3, seed=9).bfloat16()
    lam = level(-3.0, 4, dtype)
    prediction = NetworkDenoiser(lambda *_: eps)(z, lam)
    assert prediction.x.dtype == prediction.eps.dtype == dtype
    assert torch.equal(prediction.eps, eps.to(dtype))
    exact = from_eps(z.double(), lam.double(), eps.double()).x
    torch.testing.assert_close(prediction.x.double(), exact, rtol=1e-5, atol=1e-5)


def test_cosine_time():
    """λ = −2 log tan(π u/2) at u in (0, 1) is the time 1000 u."""
    u = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    lam = -2 * torch.log(torch.tan(torch.pi * u / 2))
    torch.testing.assert_close(cosine_time(lam), 1000 * u, rtol=1e-12, atol=1e-9)
    assert 0 < cosine_time(torch.tensor(20.0)) < cosine_time(torch.tensor(-20.0)) < 1000


def test_an_unknown_parametrisation():
    with pytest.raises(PilotageError, match="predicts is 'score'"):
        NetworkDenoiser(lambda *_: None, predicts="score")


def test_prediction_has_no_variance_by_default():
    assert Prediction(torch.zeros(1, 1), torch.zeros(1, 1)).v is None
