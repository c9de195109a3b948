"""Published timesteps as levels of λ: tables, respacing, training levels, and the way back."""

import math
import re
from fractions import Fraction

import pytest
import torch

from pilotage.diffusion import Schedule, Timesteps, TruncatedCosine, respaced
from pilotage.diffusion.timesteps import cosine_betas, linear_betas
from pilotage.errors import PilotageError

SCHEDULES = [
    Timesteps("linear"),
    Timesteps("cosine"),
    Timesteps("linear", 37),
    Timesteps("cosine", 2),
    Timesteps("cosine", 4000),
]
DTYPES = [torch.float32, torch.float64]


def each(*names):
    """Every schedule, named by its kind and count."""
    ids = [f"{s.kind}{s.count}" for s in SCHEDULES]
    return pytest.mark.parametrize(names or "schedule", SCHEDULES, ids=ids)


# --- tables --------------------------------------------------------------------------------------


def test_linear_betas_are_even_and_scaled():
    betas = linear_betas(1000)
    assert betas.dtype == torch.float64
    assert (betas[0].item(), betas[-1].item()) == pytest.approx((1e-4, 0.02), rel=1e-15)
    torch.testing.assert_close(betas.diff(), torch.full_like(betas[1:], 0.0199 / 999))
    torch.testing.assert_close(linear_betas(100)[[0, -1]], 10 * betas[[0, -1]])


def test_cosine_betas_give_the_cosine_back():
    """Π (1 − β) is cos²((u + 0.008)/1.008 · π/2) over its own start, until β is capped."""
    betas = cosine_betas(1000)
    bar = (1 - betas).cumprod(0)[:-1]
    u = torch.arange(1, 1000, dtype=torch.float64) / 1000
    start = math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    torch.testing.assert_close(bar, torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2 / start)
    assert betas.max() == betas[-1] == 0.999


@each()
def test_levels_are_the_log_snr_of_exact_products(schedule):
    """λ_t = log(ᾱ/(1 − ᾱ)) by rational arithmetic, in which 1 − ᾱ loses nothing."""
    betas = {"linear": linear_betas, "cosine": cosine_betas}[schedule.kind](schedule.count)
    lams = schedule.lams
    assert lams.dtype == torch.float64
    assert lams.shape == (schedule.count,)
    assert (lams.diff() < 0).all()
    bar = Fraction(1)
    for t, beta in enumerate(betas[:60].tolist()):
        bar *= 1 - Fraction(beta)
        assert lams[t].item() == pytest.approx(math.log(bar / (1 - bar)), rel=1e-13, abs=1e-13)
    assert (schedule.lam_max, schedule.lam_min) == (lams[0].item(), lams[-1].item())
    assert isinstance(schedule, Schedule)


# --- respacing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "sections", "kept"),
    [
        (10, "10", list(range(10))),
        (10, "2", [0, 9]),
        (10, "1", [0]),
        (10, [3], [0, 4, 9]),  # 4.5 goes to the even 4
        (10, "3,2", [0, 2, 4, 5, 9]),
        (11, "1,1", [0, 6]),  # the first section is the longer one
        (10, "0,2", [5, 9]),
        (10, "ddim5", [0, 2, 4, 6, 8]),
        (10, "ddim4", [0, 3, 6, 9]),
        (10, "ddim10", list(range(10))),
    ],
)
def test_respaced(count, sections, kept):
    assert respaced(count, sections) == kept


@pytest.mark.parametrize(
    ("count", "sections"),
    [
        (10, "11"),
        (10, "3,6"),
        (10, "ddim6"),
        (10, "ddim0"),
        (10, "ddim1"),
        (10, "ddim11"),
        (10, "ddim"),
        (10, "ddim-5"),
        (10, "ddim5.0"),
        (10, ""),
        (10, "five"),
        (10, "2.5"),
        (10, "5,"),
        (10, "0"),
        (10, "-1,3"),
        (10, []),
        (10, [0, 0]),
    ],
)
def test_respacings_that_cannot_be(count, sections):
    with pytest.raises(PilotageError, match=re.escape(f"steps is {sections!r}: ")):
        respaced(count, sections)


@each()
def test_grid(schedule):
    for steps in {2, min(7, schedule.count), schedule.count}:
        lams = schedule.grid(steps)
        assert lams.dtype == torch.float64
        assert lams.tolist() == schedule.lams[respaced(schedule.count, str(steps))].tolist()[::-1]
        assert (lams.diff() > 0).all()
        assert (lams[0], lams[-1]) == (schedule.lam_min, schedule.lam_max)
        assert torch.equal(schedule.grid(str(steps)), lams)
    assert schedule.grid(1).tolist() == [schedule.lam_min]
    assert schedule.grid("1").tolist() == [schedule.lam_max]  # as guided-diffusion has it


def test_grid_of_a_respacing():
    schedule = Timesteps("linear")
    assert torch.equal(schedule.grid("ddim25"), schedule.lams[:1000:40].flip(0))
    kept = respaced(1000, "fast27")
    assert (len(kept), kept[0], kept[-1]) == (27, 0, 997)
    assert kept[:-1] == respaced(1000, "10,10,3,2,2")[:-1]


@pytest.mark.parametrize("steps", [0, -1, 38])
def test_wrong_steps(steps):
    with pytest.raises(PilotageError, match=f"steps is {steps}: it must lie between 1 and 37"):
        Timesteps("linear", 37).grid(steps)


@pytest.mark.parametrize(
    ("kind", "count", "message"),
    [
        ("sigmoid", 1000, "kind is 'sigmoid'"),
        ("linear", 20, "timesteps is 20: it must be at least 21"),
        ("cosine", 1, "timesteps is 1: it must be at least 2"),
        ("cosine", 0, "timesteps is 0"),
    ],
)
def test_schedules_that_do_not_exist(kind, count, message):
    with pytest.raises(PilotageError, match=message):
        Timesteps(kind, count)


# --- training levels -----------------------------------------------------------------------------


@each()
@pytest.mark.parametrize("dtype", DTYPES)
def test_training_sees_exactly_the_levels(schedule, dtype):
    count = schedule.count
    middles = (torch.arange(count, dtype=torch.float64) + 0.5).div(count).to(dtype)
    lams = schedule(middles)
    assert lams.dtype == dtype
    assert torch.equal(lams, schedule.lams.to(dtype))
    assert schedule(torch.tensor([0.0, 1.0], dtype=dtype)).tolist() == lams[[0, -1]].tolist()
    assert schedule(middles.reshape(count, 1)).shape == (count, 1)


@each()
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_rounded_boundary_belongs_to_its_own_timestep(schedule, dtype):
    """k/T and what is left of it after 1/T is taken away in the same precision."""
    count = schedule.count
    k = torch.arange(1, count)
    u = (k.double() / count).to(dtype)
    levels = schedule.lams.to(dtype)
    assert torch.equal(schedule(u), levels[k])
    assert torch.equal(schedule(u - torch.tensor(1 / count, dtype=dtype)), levels[k - 1])


def test_timesteps_are_drawn_evenly():
    u = torch.rand(200_000, generator=torch.Generator().manual_seed(0))
    times = Timesteps("cosine", 10).time(Timesteps("cosine", 10)(u)).long()
    shares = torch.bincount(times, minlength=10) / len(u)
    assert (shares - 0.1).abs().max() <= 4 * math.sqrt(0.09 / len(u))


# --- λ back to a timestep ------------------------------------------------------------------------


@each()
@pytest.mark.parametrize("dtype", DTYPES)
def test_time_of_a_level_is_its_index(schedule, dtype):
    times = schedule.time(schedule.lams.to(dtype))
    assert times.dtype == dtype
    assert torch.equal(times, torch.arange(schedule.count, dtype=dtype))


@each()
def test_time_between_levels_is_linear_in_lam(schedule):
    lams, count = schedule.lams, schedule.count
    for share in (0.25, 0.5, 0.9):
        between = lams[:-1] + share * (lams[1:] - lams[:-1])
        expected = torch.arange(count - 1, dtype=torch.float64) + share
        torch.testing.assert_close(schedule.time(between), expected, rtol=0, atol=1e-9)


@each()
def test_time_beyond_the_ends_is_clamped(schedule):
    far = torch.tensor([math.inf, 99.0, -99.0, -math.inf], dtype=torch.float64)
    last = schedule.count - 1
    assert schedule.time(far).tolist() == [0, 0, last, last]


def test_time_falls_with_lam_and_keeps_shape_and_dtype():
    schedule = Timesteps("linear")
    lam = torch.linspace(-12, 12, 500)
    assert (schedule.time(lam).diff() <= 0).all()
    assert schedule.time(lam.reshape(5, 100)).shape == (5, 100)
    assert schedule.time(lam[3]).shape == ()
    shared = torch.tensor(1.5).expand(4)
    assert schedule.time(shared).tolist() == [schedule.time(shared[0]).item()] * 4
    assert schedule.time(lam.bfloat16()).dtype == torch.bfloat16


def test_equal_settings_are_one_schedule():
    assert Timesteps("linear", 50) == Timesteps("linear", 50) != Timesteps("cosine", 50)
    assert hash(Timesteps("linear", 50)) == hash(Timesteps("linear", 50))
    Timesteps("linear", 50).lams.zero_()  # a copy: nobody can spoil the table
    assert Timesteps("linear", 50).lam_max > 0


def test_it_is_a_schedule_like_ours():
    """The published cosine is the truncated one but for its offset and its cap."""
    ours, theirs = TruncatedCosine(-10.0, 10.0), Timesteps("cosine", 1000)
    u = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    assert (ours(u) - theirs(u)).abs().max() < 0.2
