"""DDIM inversion: down to the noise and back up to the image."""

import math

import pytest
import torch

from pilotage.diffusion import Timesteps, TruncatedCosine, ddim, invert, sample
from pilotage.errors import PilotageError

from .helpers import Counted, normal, plane


def there_and_back(steps, cond=None):
    """The largest error of an image that was inverted and sampled again."""
    x, labels = plane().draw(40, torch.Generator().manual_seed(0))
    labels = labels if cond else None
    lams = TruncatedCosine(-8.0, 8.0).grid(steps)
    *_, noise = invert(plane(), x, lams.flip(0), labels)
    *_, image = sample(plane(), noise.z, lams, ddim(0.0), labels)
    return (image.z - x).abs().max().item()


@pytest.mark.parametrize("cond", [False, True])
def test_sampling_from_the_inversion_returns_the_image(cond):
    coarse, fine = there_and_back(100, cond), there_and_back(400, cond)
    assert fine < 0.05
    assert fine < coarse / 2


def test_noise_of_the_data_is_gaussian():
    x, _ = plane().draw(4000, torch.Generator().manual_seed(1))
    *_, last = invert(plane(), x, TruncatedCosine(-12.0, 8.0).grid(150).flip(0))
    covariance = torch.cov(last.z.T)
    assert last.z.mean(0).abs().max() < 0.06
    assert (covariance - torch.eye(2, dtype=torch.float64)).abs().max() < 0.1


def test_the_contract():
    lams, x, cond = Timesteps("linear").grid(6).flip(0), normal(3, 2), torch.tensor([0, 1, 2])
    counted = Counted(plane())
    states = list(invert(counted, x, lams, cond))
    assert [state.lam.item() for state in states] == lams[1:].tolist()
    assert torch.equal(counted.calls[0][0], x)
    assert [lam.tolist() for _, lam, _ in counted.calls] == [[v] * 3 for v in lams[:-1].tolist()]
    assert all(c is cond for _, _, c in counted.calls)
    assert not states[-1].z.requires_grad


def test_the_end_is_the_predicted_noise():
    lams = torch.tensor([5.0, 0.0, -math.inf], dtype=torch.float64)
    *_, last = invert(plane(), normal(3, 2), lams)
    assert torch.equal(last.z, last.prediction.eps)


@pytest.mark.parametrize(
    "lams",
    [
        [],
        [1.0],
        [0.0, 1.0],
        [1.0, 1.0],
        [math.inf, 0.0],
        [1.0, math.nan],
        [1.0, -math.inf, -math.inf],
        [-math.inf, -math.inf],
        [1.0, 2.0, -math.inf],
    ],
)
def test_bad_levels_are_refused_at_the_call(lams):
    with pytest.raises(PilotageError, match="lams is"):
        invert(plane(), normal(3, 2), torch.tensor(lams, dtype=torch.float64))
