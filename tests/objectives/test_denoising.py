"""Algorithm 1: what is drawn, what is dropped, what is compared."""

import math

import pytest
import torch

from pilotage.conditions import Labels
from pilotage.diffusion import GaussianMixture, NetworkDenoiser, TruncatedCosine, alpha, sigma
from pilotage.networks import UNet, UNetPlan
from pilotage.objectives import Denoising, stratified
from pilotage.settings import Recipe
from pilotage.training.learner import average

LABELS = Labels(("a", "b", "c"))


def objective(p_uncond=0.1):
    return Denoising(TruncatedCosine(), LABELS, p_uncond)


@pytest.mark.parametrize("p_uncond", [0.0, 0.1, 0.5, 1.0])
def test_share_dropped_is_p_uncond(p_uncond):
    count = 40_000
    draws = objective(p_uncond).draw(count, (1,), torch.Generator().manual_seed(0))
    error = math.sqrt(p_uncond * (1 - p_uncond) / count)
    assert abs(draws.dropped.double().mean() - p_uncond) <= 4 * error


def test_dropping_is_per_example_and_changes_the_networks_output():
    torch.manual_seed(0)
    network = UNet(
        UNetPlan(
            in_channels=1,
            channels=8,
            channel_mult=(1,),
            num_res_blocks=1,
            head_channels=8,
            num_classes=3,
            null_class=True,
            zero_init=False,
        )
    )
    z, time = torch.randn(4, 1, 8, 8), torch.full((4,), 300.0)
    labels = torch.tensor([0, 1, 2, 0])
    dropped = torch.tensor([True, False, True, False])
    given = LABELS.drop(labels, dropped)
    assert given.tolist() == [3, 1, 3, 0]
    with torch.no_grad():
        change = (network(z, time, given) - network(z, time, labels)).flatten(1).abs().amax(1)
    assert (change[dropped] > 1e-3).all()
    assert (change[~dropped] <= 1e-6).all()


def test_the_network_gets_the_dropped_labels():
    seen = []

    def network(z, lam, cond):
        seen.append(cond)
        return z

    terms = objective(0.5)
    x, labels = torch.zeros(64, 1, 2, 2), torch.arange(64) % 3
    draws = terms.draw(64, (1, 2, 2), torch.Generator().manual_seed(1))
    terms.terms(NetworkDenoiser(network), x, labels, draws)
    assert torch.equal(seen[0] == LABELS.null, draws.dropped)
    assert 10 < int(draws.dropped.sum()) < 54


@pytest.mark.parametrize("predicts", ["eps", "x", "v"])
def test_loss_is_the_error_of_what_is_predicted(predicts):
    """The network answers z, so the loss is known number by number."""
    draws = objective().draw(8, (2, 3, 3), torch.Generator().manual_seed(2))
    x = torch.randn(8, 2, 3, 3, generator=torch.Generator().manual_seed(3))
    denoise = NetworkDenoiser(lambda z, lam, cond: z, predicts)
    loss = objective().terms(denoise, x, torch.zeros(8, dtype=torch.long), draws)["loss"]
    lam = TruncatedCosine()(draws.u)[:, None, None, None]
    z = alpha(lam) * x + sigma(lam) * draws.eps
    target = {
        "eps": draws.eps,
        "x": x,
        "v": alpha(lam) * draws.eps - sigma(lam) * x,
    }[predicts]
    expected = ((z - target) ** 2).mean(dim=(1, 2, 3))
    assert loss.shape == (8,)
    torch.testing.assert_close(loss, expected)


def test_the_exact_denoiser_is_the_best():
    """No other answer has a smaller loss than E[eps | z, c]; its loss is its posterior variance."""
    mixture = GaussianMixture([[-1.0, 0.0], [1.0, 0.5], [0.0, -1.0]], [0.1, 0.2, 0.3], [1, 2, 3])
    generator = torch.Generator().manual_seed(0)
    x, labels = mixture.draw(20_000, generator)
    terms = objective(0.2)
    draws = terms.draw(len(x), (2,), generator)
    draws = draws._replace(u=draws.u.double(), eps=draws.eps.double())

    def loss(scale):
        network = NetworkDenoiser(lambda z, lam, cond: scale * mixture(z, lam, cond).eps)
        return terms.terms(network, x, labels, draws)["loss"].mean()

    best = loss(1.0)
    assert all(loss(scale) > best for scale in (0.9, 0.97, 1.03, 1.1))


def test_stratified_numbers_fill_every_part_once_in_random_order():
    u = stratified(256, torch.Generator().manual_seed(0))
    assert torch.equal((u * 256).long().sort().values, torch.arange(256))
    assert not torch.equal(u, u.sort().values)
    assert ((u >= 0) & (u < 1)).all()
    first = torch.stack([stratified(8, torch.Generator().manual_seed(k))[0] for k in range(4000)])
    assert abs(float(first.mean()) - 0.5) <= 4 / math.sqrt(12 * 4000)


def test_average_is_warmed_up_and_forgets_the_start():
    """A fixed 0.9999 would keep 98% of the initial weights after 200 steps."""
    model = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(model.weight, 0.0)
    ema = average(model, 0.9999)
    weights = [float(k) for k in range(200)]
    expected = weights[0]
    for n, weight in enumerate(weights):
        torch.nn.init.constant_(model.weight, weight)
        ema.update_parameters(model)
        decay = 0.0 if n == 0 else min(0.9999, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * weight
    assert float(ema.module.weight.detach()) == pytest.approx(expected, rel=1e-5)
    assert expected > 150


def test_learning_rate_counts_optimiser_steps():
    recipe = Recipe(learning_rate=1.0, warmup_steps=4)
    assert [recipe.learning_rate_at(k) for k in (1, 2, 4, 5, 99)] == [0.25, 0.5, 1, 1, 1]
    assert Recipe(learning_rate=1.0, warmup_steps=0).learning_rate_at(1) == 1
