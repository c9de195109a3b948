"""λ(u) = −2 log tan(a u + b), and the sampler's grid."""

import math

import pytest
import torch

from pilotage.diffusion import TruncatedCosine
from pilotage.errors import PilotageError

RANGES = [(-20.0, 20.0), (-5.0, 3.0), (-7.1, 4.3), (-15.0, 25.0), (2.0, 8.0)]


def lam_of(u: float, lam_min: float, lam_max: float) -> float:
    """The closed form of 2207.12598, section 2, by the angle's linear interpolation."""
    at_max, at_min = math.atan(math.exp(-lam_max / 2)), math.atan(math.exp(-lam_min / 2))
    return -2 * math.log(math.tan((1 - u) * at_max + u * at_min))


@pytest.mark.parametrize("ends", RANGES)
def test_closed_form(ends):
    u = torch.linspace(0.0, 1.0, 101, dtype=torch.float64)
    expected = torch.tensor([lam_of(float(v), *ends) for v in u], dtype=torch.float64)
    # 1e-9: at u near 1 the tangent of an angle near π/2 has lost that much
    torch.testing.assert_close(TruncatedCosine(*ends)(u), expected, rtol=0, atol=1e-9)


def test_the_uncut_cosine_is_the_limit():
    """α = cos(π u/2) and σ = sin(π u/2) where the cuts are far away (2102.09672)."""
    u = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    alpha, sigma = torch.cos(torch.pi * u / 2), torch.sin(torch.pi * u / 2)
    lam = TruncatedCosine(-60.0, 60.0)(u)
    torch.testing.assert_close(lam, 2 * (alpha / sigma).log(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("ends", RANGES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_end_points_and_direction(ends, dtype):
    schedule = TruncatedCosine(*ends)
    lam = schedule(torch.linspace(0, 1, 1001, dtype=dtype))
    assert lam.dtype == dtype
    torch.testing.assert_close(lam[0].item(), ends[1], rtol=1e-6, atol=0)
    torch.testing.assert_close(lam[-1].item(), ends[0], rtol=1e-6, atol=0)
    assert (lam.diff() < 0).all()
    assert lam.min() >= schedule.lam_min
    assert lam.max() <= schedule.lam_max


@pytest.mark.parametrize("ends", RANGES)
@pytest.mark.parametrize("steps", [2, 3, 10, 1000])
def test_grid(ends, steps):
    lams = TruncatedCosine(*ends).grid(steps)
    assert lams.dtype == torch.float64
    assert lams.shape == (steps,)
    assert (lams[0].item(), lams[-1].item()) == ends  # exact
    assert (lams.diff() > 0).all()
    inner = [lam_of(1 - i / (steps - 1), *ends) for i in range(1, steps - 1)]
    torch.testing.assert_close(lams[1:-1].tolist(), inner, rtol=0, atol=1e-8)


def test_a_grid_of_one_is_the_noise_end():
    assert TruncatedCosine(-7.0, 3.0).grid(1).tolist() == [-7.0]


@pytest.mark.parametrize("ends", RANGES)
def test_round_trip(ends):
    """u = (arctan e^{−λ/2} − b)/a takes λ back to u."""
    lam = torch.linspace(*ends, 200, dtype=torch.float64)
    b = math.atan(math.exp(-ends[1] / 2))
    a = math.atan(math.exp(-ends[0] / 2)) - b
    u = (torch.atan(torch.exp(-lam / 2)) - b) / a
    torch.testing.assert_close(TruncatedCosine(*ends)(u), lam, rtol=0, atol=1e-7)


def test_float32_is_as_good_as_its_argument():
    """The λ of a float32 u is the λ of the same u in float64, rounded once."""
    schedule = TruncatedCosine()
    u = torch.cat([torch.linspace(0, 1, 4001), 1 - torch.logspace(-7, -2, 50)])
    torch.testing.assert_close(schedule(u), schedule(u.double()).float(), rtol=0, atol=0)
    # a single-precision tangent is wrong by 1e-3 and more
    exact = torch.tensor([lam_of(float(v), -20.0, 20.0) for v in u])
    torch.testing.assert_close(schedule(u), exact, rtol=3e-7, atol=1e-7)


@pytest.mark.parametrize("ends", [(20.0, -20.0), (1.0, 1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_wrong_ends(ends):
    with pytest.raises(PilotageError, match=r"lam_min is .* and lam_max is"):
        TruncatedCosine(*ends)


@pytest.mark.parametrize("steps", [0, -3])
def test_wrong_steps(steps):
    with pytest.raises(PilotageError, match=f"steps is {steps}"):
        TruncatedCosine().grid(steps)
