"""The few levels of denoising diffusion GANs, and the times that they are told as."""

import pytest
import torch

from pilotage.diffusion.ddgan_levels import FewSteps, ddgan_betas, ddgan_lams
from pilotage.diffusion.logsnr import alpha
from pilotage.errors import PilotageError


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_levels(count):
    steps = FewSteps(count)
    lams = steps.lams
    assert lams.dtype == torch.float64
    assert torch.equal(lams, ddgan_lams(count))
    assert torch.equal(steps.grid(count), lams)
    assert (steps.lam_min, steps.lam_max) == (lams[0], lams[-1])
    assert (lams.diff() > 0).all()
    kept = torch.cumprod(1 - ddgan_betas(count).double(), 0)
    torch.testing.assert_close(alpha(lams).square().flip(0), kept)
    for dtype in (torch.float32, torch.float64):
        times = steps.time(lams.to(dtype))
        assert torch.equal(times, torch.arange(count).flip(0).to(dtype)), "exact at the levels"
        u = ((torch.arange(count) + 0.5) / count).to(dtype)
        assert torch.equal(steps(u), lams.flip(0).to(dtype))
    lams[0] = 0
    assert torch.equal(steps.lams, ddgan_lams(count)), "the table itself is not handed out"


def test_times_between_and_beyond_the_levels():
    steps = FewSteps(4)
    lams = steps.lams
    middle = (lams[1] + lams[2]) / 2
    found = steps.time(torch.stack([lams[0] - 9, middle, lams[-1] + 9]))
    torch.testing.assert_close(found, torch.tensor([3, 1.5, 0]).double())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"count": 0}, "the number of steps is 0"),
        ({"beta_max": 2000.0}, "must lie between 0 and 1"),
        ({"geometric": True}, "with geometric they must"),
        ({"beta_min": -3.0, "beta_max": -1.0}, "must lie between 0 and 1"),
    ],
)
def test_wrong_levels(settings, words):
    with pytest.raises(PilotageError, match=words):
        FewSteps(**{"count": 4, **settings})
    with pytest.raises(PilotageError, match=words):
        ddgan_lams(**{"count": 4, **settings})


def test_a_schedule_of_few_steps_has_no_other_grid():
    with pytest.raises(PilotageError, match="steps is 8: it must be 4"):
        FewSteps(4).grid(8)
