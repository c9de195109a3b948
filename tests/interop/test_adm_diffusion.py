"""guided-diffusion's parametrisations: each read as the prediction that it means."""

import math

import pytest
import torch

from pilotage.diffusion import NetworkDenoiser, Timesteps
from pilotage.diffusion.logsnr import diffuse
from pilotage.errors import PilotageError
from pilotage.interop.adm.diffusion import end_shift, network_time, read_output
from pilotage.objectives import model_log_variance, posterior

SCHEDULE = Timesteps("linear")
LAMS = SCHEDULE.lams
T = torch.tensor([0, 1, 500, 999])
LEVELS = {
    "lam_t": LAMS[T],
    "lam_s": torch.tensor([math.inf, *LAMS[T[1:] - 1].tolist()], dtype=torch.float64),
    "lam_r": torch.tensor([*LAMS[T[:-1] + 1].tolist(), -math.inf], dtype=torch.float64),
}


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


X, EPS = normal(4, 3, 2, 2), normal(4, 3, 2, 2, seed=1)
Z = diffuse(X, EPS, LEVELS["lam_t"])


def means():
    """The same truth as each of the three kinds of output."""
    previous, _ = posterior(X, Z, LEVELS["lam_t"], LEVELS["lam_s"])
    return {"EPSILON": EPS, "START_X": X, "PREVIOUS_X": previous}


@pytest.mark.parametrize("mean_type", ["EPSILON", "START_X", "PREVIOUS_X"])
def test_each_mean_says_the_same(mean_type):
    ours = read_output(
        means()[mean_type], Z, mean_type=mean_type, variance_type="FIXED_SMALL", **LEVELS
    )
    # near the noise end x is known from its own step by few digits
    torch.testing.assert_close(ours.x, X, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(ours.eps, EPS, rtol=1e-8, atol=1e-8)


def test_each_variance_comes_back():
    wanted = -5 + normal(4, 3, 2, 2, seed=2)
    output = torch.cat([EPS, wanted], dim=1)

    def log_variance(variance_type, output):
        given = read_output(output, Z, mean_type="EPSILON", variance_type=variance_type, **LEVELS)
        return model_log_variance(LEVELS["lam_t"], LEVELS["lam_s"], given.v, LEVELS["lam_r"])

    torch.testing.assert_close(log_variance("LEARNED", output), wanted)
    # β_t is the transition's variance; FIXED_LARGE has the posterior's of t = 1 at t = 0
    beta = (1e-4 + T.double() * (0.02 - 1e-4) / 999).log()
    small, large = (log_variance(name, EPS)[:, 0, 0, 0] for name in ("FIXED_SMALL", "FIXED_LARGE"))
    torch.testing.assert_close(large[1:], beta[1:])
    assert large[0] == small[0] == pytest.approx(small[1].item())
    ends = [torch.cat([EPS, torch.full_like(EPS, sign)], dim=1) for sign in (-1, 1)]
    low, high = (log_variance("LEARNED_RANGE", output)[:, 0, 0, 0] for output in ends)
    torch.testing.assert_close(low, small)
    torch.testing.assert_close(high, beta)


def test_the_released_kind_is_what_a_network_denoiser_reads():
    output = torch.cat([EPS, normal(4, 3, 2, 2, seed=3)], dim=1)
    ours = read_output(output, Z, mean_type="EPSILON", variance_type="LEARNED_RANGE", **LEVELS)
    theirs = NetworkDenoiser(lambda *_: output, "eps")(Z, LEVELS["lam_t"])
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_float32_stays_float32():
    output = torch.cat([EPS, EPS], dim=1).float()
    for variance_type in ("LEARNED_RANGE", "LEARNED"):
        for mean_type in means():
            kinds = {"mean_type": mean_type, "variance_type": variance_type}
            made = read_output(output, Z.float(), **kinds, **LEVELS)
            assert {field.dtype for field in made} == {torch.float32}


def test_network_time():
    short = Timesteps("cosine", 250)
    times = torch.arange(250, dtype=torch.float64)
    assert torch.equal(network_time(short)(short.lams), times)
    assert torch.equal(network_time(short, rescale_timesteps=True)(short.lams), 4 * times)


def test_end_shift_is_the_score_times_the_clipped_variance():
    v = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    shift = end_shift(v, torch.full_like(v, 3.0), LAMS[0], LAMS[1])
    beta = (1e-4, 1e-4 + (0.02 - 1e-4) / 999)
    posterior_of_1 = beta[1] * beta[0] / (1 - (1 - beta[0]) * (1 - beta[1]))
    assert shift[0].tolist() == pytest.approx([3 * posterior_of_1, 3 * beta[0]])


@pytest.mark.parametrize(
    ("channels", "mean_type", "variance_type", "message"),
    [
        (3, "EPSILON", "LEARNED", "output has 3 channels: with LEARNED it must have 6"),
        (6, "EPSILON", "FIXED_SMALL", "output has 6 channels"),
        (3, "NOISE", "FIXED_SMALL", "mean_type is 'NOISE'"),
        (3, "EPSILON", "FIXED", "variance_type is 'FIXED'"),
    ],
)
def test_unknown_kinds(channels, mean_type, variance_type, message):
    output = normal(4, channels, 2, 2)
    with pytest.raises(PilotageError, match=message):
        read_output(output, Z, mean_type=mean_type, variance_type=variance_type, **LEVELS)


def test_a_learned_variance_at_the_end_needs_the_level_before():
    output = torch.cat([EPS, EPS], dim=1)
    levels = LEVELS["lam_t"], LEVELS["lam_s"]
    with pytest.raises(PilotageError, match="lam_r is None"):
        read_output(output, Z, *levels, "EPSILON", "LEARNED")
