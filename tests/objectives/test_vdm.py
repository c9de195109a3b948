"""Variational diffusion models: learned schedules, the bound, the decoder, Fourier features."""

import json
import math
from itertools import count as count_from
from itertools import pairwise

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from pilotage.conditions import Labels
from pilotage.diffusion import (
    GaussianMixture,
    NetworkDenoiser,
    Prediction,
    Schedule,
    SeededNoise,
    Timesteps,
    TruncatedCosine,
    alpha,
    ancestral,
    classifier_free,
    sample,
    sigma,
)
from pilotage.diffusion.learned import LearnableLam, LinearLam, MonotoneLam, rate
from pilotage.diffusion.logsnr import diffuse, like
from pilotage.diffusion.prediction import from_x
from pilotage.diffusion.rescaled import exploding, preserving
from pilotage.errors import PilotageError
from pilotage.networks import UNet, UNetPlan
from pilotage.networks.embedding import fourier_features
from pilotage.objectives import Denoising, Draws, vdm_terms
from pilotage.objectives.vdm import VDM, VDMDraws
from pilotage.objectives.vdm_terms import (
    diffusion_term,
    epsilon_weight,
    level_log_probs,
    likelihood_terms,
    prior_term,
    reconstruction_term,
)

DTYPES = [torch.float32, torch.float64]
LABELS = Labels(())


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def bent(lam_min=-13.3, lam_max=5.0, width=64, seed=0):
    """A monotone schedule that is far from linear, some of its raw weights negative."""
    torch.manual_seed(seed)
    schedule = MonotoneLam(lam_min, lam_max, width)
    with torch.no_grad():
        schedule.share.mul_(20)
        schedule.slope.mul_(-0.5)
    return schedule


SCHEDULES = {
    "cosine": lambda: TruncatedCosine(-13.3, 5.0),
    "wide cosine": TruncatedCosine,
    "linear": lambda: LinearLam(-13.3, 5.0),
    "learned linear": lambda: LinearLam(-13.3, 5.0, learned=True),
    "fresh monotone": lambda: MonotoneLam(-13.3, 5.0),
    "bent monotone": bent,
}


@pytest.fixture(params=SCHEDULES)
def schedule(request):
    torch.manual_seed(0)
    return SCHEDULES[request.param]()


# --- schedules -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_ends_are_exact_and_nothing_rises(schedule, dtype):
    assert isinstance(schedule, Schedule)
    u = torch.linspace(0, 1, 301, dtype=dtype)
    lam = schedule(u)
    assert lam.dtype == dtype
    ends = torch.tensor([schedule.lam_max, schedule.lam_min], dtype=dtype)
    assert torch.equal(lam[[0, -1]], ends)
    assert (lam.diff() < 0).all()
    grid = schedule.grid(7)
    assert grid.dtype == torch.float64
    assert not grid.requires_grad
    assert (grid[0], grid[-1]) == (schedule.lam_min, schedule.lam_max)


@pytest.mark.parametrize("width", [1, 3, 1000])
@pytest.mark.parametrize("count", [2, 5, 999])
def test_the_monotone_interior_ends_at_0_and_1_in_any_company(width, count):
    u = torch.rand(count, generator=seeded())
    u[:2] = torch.tensor([1.0, 0.0])
    assert bent(width=width).interior(u)[:2].tolist() == [1, 0]


def test_a_fresh_monotone_schedule_is_nearly_linear():
    torch.manual_seed(1)
    u = torch.linspace(0, 1, 50)
    assert (MonotoneLam(-10, 10).interior(u) - u).abs().max() < 0.05


def test_low_precision_times_give_float32_levels():
    assert bent()(torch.tensor([0.5], dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize("dtype", DTYPES)
def test_rate_is_the_derivative(schedule, dtype):
    u = torch.linspace(0.02, 0.98, 49, dtype=dtype)
    lam, slope = rate(schedule, u)
    assert torch.equal(lam, schedule(u))
    assert slope.dtype == dtype
    wide, h = u.double(), 1e-5
    difference = (schedule(wide + h) - schedule(wide - h)) / (2 * h)
    torch.testing.assert_close(slope.double(), difference, rtol=2e-6, atol=0)


def test_rate_at_the_very_ends(schedule):
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    inside = torch.tensor([1e-9, 1 - 1e-9], dtype=torch.float64)
    torch.testing.assert_close(
        rate(schedule, ends)[1], rate(schedule, inside)[1], rtol=2e-4, atol=0
    )


@pytest.mark.parametrize("kind", [LinearLam, MonotoneLam])
@pytest.mark.parametrize("ends", [(5.0, 5.0), (5.0, -5.0), (-math.inf, 5.0), (-5.0, math.nan)])
def test_ends_that_cross_are_refused(kind, ends):
    with pytest.raises(PilotageError, match=r"lam_min is .* and lam_max is"):
        kind(*ends)


@pytest.mark.parametrize("kind", [MonotoneLam, lambda *ends: LinearLam(*ends, learned=True)])
def test_ends_that_learned_to_cross_are_refused(kind):
    schedule = kind(-5.0, 5.0)
    schedule.ends.data = torch.tensor([1.5, -2.5])
    with pytest.raises(PilotageError, match=r"lam_min is 1\.5 and lam_max is -2\.5"):
        schedule(torch.rand(3))


def test_a_table_of_timesteps_has_no_rate():
    with pytest.raises(PilotageError, match="it must be continuous, to have a rate of change"):
        rate(Timesteps("linear"), torch.rand(3))
    with pytest.raises(PilotageError, match="steps is inf"):
        VDM(Timesteps("linear"), LABELS)
    VDM(Timesteps("linear"), LABELS, steps=1000)


def test_width_is_checked():
    with pytest.raises(PilotageError, match="width is 0"):
        MonotoneLam(-1, 1, 0)


# --- the two kinds of gradients ------------------------------------------------------------------


class Scheduled(nn.Module):
    """A tiny network, its schedule a part of it."""

    def __init__(self, schedule):
        super().__init__()
        torch.manual_seed(3)
        self.schedule = schedule
        self.layers = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))

    def forward(self, z, lam, cond=None):
        return self.layers(torch.cat([z, lam[:, None] / 10], dim=1))


def batch(count=16, dtype=torch.float64, levels=256):
    """8-bit vectors (count, 3) in [−1, 1]."""
    u8 = torch.randint(levels, (count, 3), generator=seeded(5))
    return (2 * u8.to(dtype) / (levels - 1)) - 1


def draws_for(objective, x, seed=0):
    draws = objective.draw(len(x), tuple(x.shape[1:]), seeded(seed))
    return draws._replace(eps=draws.eps.to(x), eps_0=draws.eps_0.to(x))


def gradients(network, value):
    """Of a value by every parameter's name, zeros where there is none."""
    names, parameters = zip(*network.named_parameters(), strict=True)
    found = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
    return dict(zip(names, found, strict=True))


def plainly(network, x, draws):
    """Prior + reconstruction, and diffusion, in nats (B,), with nothing done to their gradients."""
    schedule = network.schedule
    lam, slope = rate(schedule, draws.u.double())
    z = diffuse(x, draws.eps, lam)
    error = (network(z, lam) - draws.eps).square().sum(dim=1)
    low, high = schedule.limits()
    reconstruction = _slow_reconstruction(x, draws.eps_0, high)
    signal = torch.sigmoid(low)
    prior = 0.5 * (signal * x.square() - signal - torch.log1p(-signal)).sum(dim=1)
    return prior + reconstruction, -0.5 * slope * error


def _slow_reconstruction(x, eps, lam, levels=256):
    z = diffuse(x, eps, lam)
    index = ((x + 1) * (levels - 1) / 2).round().long()
    logs = level_log_probs(z, float(lam.detach()), levels)
    if lam.requires_grad:
        values = torch.linspace(-1, 1, levels, dtype=x.dtype)
        offset = (x + torch.exp(-lam / 2) * eps)[..., None] - values
        logs = (-0.5 * (offset * torch.exp(lam / 2)).square()).log_softmax(-1)
    return -logs.gather(-1, index[..., None]).squeeze(-1).flatten(1).sum(dim=1)


def interior(names):
    return [name for name in names if name.startswith("schedule.") and not name.endswith("ends")]


@pytest.fixture
def trained():
    """The gradients that one ordinary backward pass leaves, and what they are made of."""
    network = Scheduled(bent(-6.0, 8.0)).double()
    objective = VDM(network.schedule, LABELS)
    x = batch()
    draws = draws_for(objective, x)
    labels = torch.zeros(len(x), dtype=torch.long)
    terms = objective.terms(NetworkDenoiser(network), x, labels, draws)
    terms["loss"].mean().backward()
    left = {name: p.grad.clone() for name, p in network.named_parameters()}
    return network, x, draws, terms, left


def test_the_interior_learns_to_lower_the_second_moment(trained):
    network, x, draws, terms, left = trained
    _, diffusion = plainly(network, x, draws)
    torch.testing.assert_close(terms["diffusion"], diffusion, rtol=1e-10, atol=0)
    wanted = gradients(network, diffusion.square().mean())
    bits, unit = x[0].numel() * math.log(2), 0.5 * (8.0 + 6.0) * x[0].numel()
    assert interior(left)
    for name in interior(left):
        assert left[name].abs().max() > 0
        torch.testing.assert_close(left[name], wanted[name] / (bits * unit), rtol=1e-8, atol=1e-12)


def test_all_else_learns_by_the_bound(trained):
    network, x, draws, terms, left = trained
    once, diffusion = plainly(network, x, draws)
    loss = ((once + diffusion) / (x[0].numel() * math.log(2))).mean()
    torch.testing.assert_close(terms["loss"].mean(), loss, rtol=1e-10, atol=0)
    wanted = gradients(network, loss)
    rest = set(left) - set(interior(left))
    assert "schedule.ends" in rest
    for name in rest:
        torch.testing.assert_close(left[name], wanted[name], rtol=1e-8, atol=1e-12)


def test_in_steps_the_whole_schedule_learns_by_the_bound():
    network = Scheduled(bent(-6.0, 8.0)).double()
    x = batch()
    objective = VDM(network.schedule, LABELS, steps=5)
    draws = draws_for(objective, x)
    terms = objective.terms(NetworkDenoiser(network), x, torch.zeros(len(x)).long(), draws)
    k = torch.ceil(draws.u.double() * 5)
    lam, lam_s = network.schedule(k / 5), network.schedule((k - 1) / 5)
    error = (network(diffuse(x, draws.eps, lam), lam) - draws.eps).square().sum(dim=1)
    wanted = 2.5 * torch.expm1(lam_s - lam) * error
    torch.testing.assert_close(terms["diffusion"], wanted)
    ours, theirs = (gradients(network, t.mean()) for t in (terms["diffusion"], wanted))
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name])


def test_a_batch_in_parts_has_the_same_gradient(trained):
    network, x, draws, _, left = trained
    network.zero_grad()
    objective, labels = VDM(network.schedule, LABELS), torch.zeros(len(x), dtype=torch.long)
    for part in (slice(0, 4), slice(4, 16)):
        terms = objective.terms(NetworkDenoiser(network), x[part], labels[part], draws.rows(part))
        (terms["loss"].sum() / len(x)).backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, left[name])


def test_the_gradients_are_the_same_under_ddp(trained):
    network, x, draws, _, left = trained
    network.zero_grad()
    store = distributed.HashStore()
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(network)
        labels = torch.zeros(len(x), dtype=torch.long)
        terms = VDM(network.schedule, LABELS).terms(NetworkDenoiser(wrapped), x, labels, draws)
        terms["loss"].mean().backward()
    finally:
        distributed.destroy_process_group()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, left[name])


def coins(z, lam, cond=None):
    """The exact denoiser of independent fair coins, −1 or 1."""
    lam_z = like(lam, z)
    return from_x(z, lam, torch.tanh(alpha(lam_z) * z / sigma(lam_z) ** 2))


def test_learning_the_interior_lowers_the_variance_of_the_estimate():
    torch.manual_seed(0)
    schedule = MonotoneLam(-12.0, 12.0, width=64)
    objective = VDM(schedule, LABELS, levels=2, draw_u="stratified")
    optimizer = torch.optim.Adam(schedule.parameters(), lr=0.05)

    def diffusion(count, seed):
        x = torch.randint(2, (count, 100), generator=seeded(seed)).double() * 2 - 1
        labels = torch.zeros(count, dtype=torch.long)
        terms = objective.terms(coins, x, labels, draws_for(objective, x, seed))
        return terms["loss"], terms["diffusion"].detach()

    before = diffusion(2000, 999)[1]
    for step in range(100):
        optimizer.zero_grad()
        diffusion(64, step)[0].mean().backward()
        schedule.ends.grad = None
        optimizer.step()
    after = diffusion(2000, 999)[1]
    assert after.std() < 0.8 * before.std()
    for values in (before, after):
        assert abs(values.mean() - 100 * math.log(2)) <= 3 * error_of(values)


# --- the bound -----------------------------------------------------------------------------------


def pixels():
    """Seven equally likely 8-bit vectors in two dimensions: log 7 nats in all."""
    u8 = torch.tensor([[0, 0], [255, 3], [40, 90], [44, 90], [200, 255], [128, 127], [129, 127]])
    return GaussianMixture(u8.double() / 127.5 - 1, torch.zeros(7), torch.ones(7))


def neighbours():
    """One number with eight likely values side by side."""
    u8 = torch.arange(100, 108)[:, None]
    weights = torch.tensor([1.0, 4, 2, 1, 8, 3, 1, 5])
    return GaussianMixture(u8.double() / 127.5 - 1, torch.zeros(8), weights)


def excess(mixture, count, schedule, seed=0, **settings):
    """The bound less −log p(x), per drawn x, in bits per dimension."""
    x, labels = mixture.draw(count, seeded(seed))
    generator = seeded(seed + 1)
    noise = (torch.randn(x.shape, generator=generator, dtype=x.dtype) for _ in count_from(0))
    terms = likelihood_terms(mixture, x, schedule, noise, **settings)
    total = terms["prior"] + terms["reconstruction"] + terms["diffusion"]
    torch.testing.assert_close(terms["loss"], total / (x.shape[1] * math.log(2)))
    return terms["loss"] + mixture.weights[labels].log() / (x.shape[1] * math.log(2))


def error_of(values):
    return float(values.std()) / math.sqrt(len(values))


@pytest.mark.parametrize("mixture", [pixels(), neighbours()], ids=["2-d", "1-d"])
def test_the_bound_of_an_exact_denoiser_is_the_entropy(mixture):
    values = excess(mixture, 20_000, LinearLam(-8.0, 14.0), evaluations=64)
    assert -3 * error_of(values) <= values.mean() <= 0.02


@pytest.mark.parametrize("mixture", [pixels(), neighbours()], ids=["2-d", "1-d"])
def test_more_steps_are_never_worse(mixture):
    schedule = TruncatedCosine(-10.0, 16.0)
    runs = [excess(mixture, 400, schedule, steps=t, evaluations="all") for t in (1, 2, 4, 16, 64)]
    runs.append(excess(mixture, 400, schedule, evaluations=64))
    for coarse, fine in pairwise(runs):
        assert (coarse - fine).mean() >= -3 * error_of(coarse - fine)
    assert runs[0].mean() > runs[-2].mean() + 0.05
    assert all(run.mean() >= -3 * error_of(run) for run in runs)


def test_the_noisy_end_and_the_decoder_are_part_of_the_bound():
    """Ends that are too close cost bits, but it stays a bound."""
    values = excess(pixels(), 800, LinearLam(-1.0, 6.0), evaluations=64)
    assert values.mean() > 0.1


def test_the_estimate_is_that_of_the_sum_of_all_steps():
    x, _ = pixels().draw(600, seeded())
    found = []
    for evaluations in ("all", 5, 40):
        noise = SeededNoise(range(600), (2,), dtype=torch.float64)
        schedule = LinearLam(-10.0, 10.0)
        terms = likelihood_terms(pixels(), x, schedule, noise, 20, evaluations)
        found.append(terms["diffusion"])
    for other in found[1:]:
        assert abs((other - found[0]).mean()) <= 4 * error_of(other - found[0])


def test_continuous_time_depends_on_the_ends_only():
    mixture = GaussianMixture([[-0.5], [0.5]], [0.02, 0.05], [1.0, 2.0])
    x, _ = mixture.draw(40_000, seeded())
    u = torch.rand(len(x), generator=seeded(1), dtype=torch.float64)
    eps = torch.randn(len(x), 1, generator=seeded(2), dtype=torch.float64)
    schedules = [TruncatedCosine(-10, 10), LinearLam(-10, 10), bent(-10.0, 10.0)]
    with torch.no_grad():
        found = [diffusion_term(mixture, x, eps, u, schedule) for schedule in schedules]
    for values in found[1:]:
        assert abs(values.mean() - found[0].mean()) <= 4 * (error_of(values) + error_of(found[0]))
    cosine, linear, _ = (float(values.std()) for values in found)
    assert cosine > 2 * linear


def test_an_examples_estimate_is_its_own():
    mixture = pixels()
    x, _ = mixture.draw(6, seeded())

    def terms(rows):
        noise = SeededNoise(rows, (2,), dtype=torch.float64)
        return likelihood_terms(mixture, x[list(rows)], LinearLam(-9, 9), noise, evaluations=4)

    whole, part = terms(range(6)), terms(range(3, 5))
    for name, values in part.items():
        torch.testing.assert_close(values, whole[name][3:5])


def test_a_guided_denoiser_has_a_bound_too():
    mixture = pixels()
    x, labels = mixture.draw(4, seeded())
    results = []
    for denoise in (mixture, classifier_free(mixture, 0.0, mixture.null)):
        noise = SeededNoise(range(4), (2,), dtype=torch.float64)
        results.append(
            likelihood_terms(denoise, x, LinearLam(-9, 9), noise, evaluations=3, cond=labels)
        )
    torch.testing.assert_close(results[0], results[1])


def test_prior_term():
    x = batch()
    lam = torch.tensor(-3.0, dtype=torch.float64, requires_grad=True)
    q = torch.distributions.Normal(alpha(lam) * x, sigma(lam))
    unit = torch.distributions.Normal(torch.zeros_like(x), torch.ones_like(x))
    wanted = torch.distributions.kl_divergence(q, unit).sum(dim=1)
    ours = prior_term(x, lam)
    torch.testing.assert_close(ours, wanted)
    slopes = [torch.autograd.grad(value.sum(), lam)[0] for value in (ours, wanted)]
    torch.testing.assert_close(*slopes)
    far = prior_term(x.float(), -20.0)
    torch.testing.assert_close(far, prior_term(x, -20.0).float(), rtol=1e-6, atol=0)


# --- weights and Algorithm 1 ---------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [TruncatedCosine(), LinearLam(-20, 20)], ids=["cos", "linear"])
@pytest.mark.parametrize("draw_u", ["antithetic", "stratified"])
def test_algorithm_1_is_one_of_the_weights(schedule, draw_u):
    torch.manual_seed(0)
    labels_space = Labels(("a", "b", "c"))
    network = UNet(UNetPlan(
        in_channels=1, channels=8, channel_mult=(1,), num_res_blocks=1, head_channels=8,
        num_classes=3, null_class=True, zero_init=False,
    ))  # fmt: skip
    weighted = VDM(
        schedule, labels_space, 0.3, weight=epsilon_weight(schedule), levels=9, draw_u=draw_u
    )
    x = torch.randint(9, (16, 1, 8, 8), generator=seeded()) / 4.0 - 1
    labels = torch.arange(16) % 3
    draws = weighted.draw(16, (1, 8, 8), seeded())
    same = Draws(draws.u, draws.eps, draws.dropped)
    with torch.no_grad():
        ours = weighted.terms(NetworkDenoiser(network), x, labels, draws)["diffusion"] / 64
        plain = Denoising(schedule, labels_space, 0.3)
        theirs = plain.terms(NetworkDenoiser(network), x, labels, same)["loss"]
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


def test_any_weight_multiplies_the_terms():
    x, schedule = batch(), LinearLam(-6, 6)
    eps, u = torch.randn(2, *x.shape, dtype=x.dtype), torch.rand(len(x), dtype=x.dtype)
    denoise = NetworkDenoiser(lambda z, lam, cond: 0.5 * z)
    for steps in (math.inf, 4):
        bare = diffusion_term(denoise, x, eps[0], u, schedule, steps)
        weighed = diffusion_term(denoise, x, eps[0], u, schedule, steps, lambda lam: lam.exp())
        at = u if steps == math.inf else torch.ceil(u * 4) / 4
        torch.testing.assert_close(weighed, bare * schedule(at).exp())


def test_a_learned_schedule_has_no_weight_of_algorithm_1():
    with pytest.raises(PilotageError, match="it must be a TruncatedCosine or a fixed LinearLam"):
        epsilon_weight(bent())


@pytest.mark.parametrize("draw_u", ["antithetic", "stratified"])
@pytest.mark.parametrize("count", [1, 6, 49])
def test_draws(draw_u, count):
    draws = VDM(LinearLam(-6, 6), LABELS, 1.0, draw_u=draw_u).draw(count, (2, 3), seeded())
    assert draws.eps.shape == draws.eps_0.shape == (count, 2, 3)
    assert not torch.equal(draws.eps, draws.eps_0)
    assert draws.dropped.all()
    assert torch.equal((draws.u * count).floor().sort()[0], torch.arange(float(count)))
    part = draws.rows(slice(0, 1))
    assert isinstance(part, VDMDraws)
    assert all(len(numbers) == 1 for numbers in part)


# --- the decoder ---------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [2, 5, 256, 1000])
@pytest.mark.parametrize("lam", [-5.0, 0.0, 6.0, 13.3, 20.0])
def test_reconstruction_is_the_likelihood_of_the_true_level(lam, levels, monkeypatch):
    monkeypatch.setattr(vdm_terms, "_NUMBERS_AT_ONCE", 500)  # many blocks
    x = batch(levels=levels)
    eps = torch.randn(x.shape, generator=seeded(), dtype=x.dtype)
    lam = torch.tensor(lam, dtype=torch.float64, requires_grad=True)
    ours, slow = reconstruction_term(x, eps, lam, levels), _slow_reconstruction(x, eps, lam, levels)
    torch.testing.assert_close(ours, slow, rtol=1e-8, atol=1e-9)
    slopes = [torch.autograd.grad(value.sum(), lam)[0] for value in (ours, slow)]
    torch.testing.assert_close(*slopes, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("lam", [5.0, 9.0, 13.3])
def test_reconstruction_keeps_its_digits_in_float32(lam):
    x = batch(64, torch.float32)
    eps = torch.randn(x.shape, generator=seeded())
    ours = reconstruction_term(x, eps, lam)
    exact = reconstruction_term(batch(64), eps.double(), lam)
    torch.testing.assert_close(ours.double(), exact, rtol=1e-5, atol=1e-12)


def test_the_levels_probabilities_sum_to_1_and_peak_at_the_data():
    x = batch()
    logs = level_log_probs(diffuse(x, torch.zeros_like(x), torch.tensor(9.0)), 9.0)
    torch.testing.assert_close(logs.exp().sum(-1), torch.ones_like(x))
    assert torch.equal(logs.argmax(-1), ((x + 1) * 127.5).round().long())


@pytest.mark.parametrize("shape", [(3,), (1, 4, 4), (5, 2, 6)])
def test_any_shape_has_a_bound(shape):
    x = torch.randint(256, (2, *shape), generator=seeded()) / 127.5 - 1
    objective = VDM(LinearLam(-6, 12), LABELS)
    terms = objective.terms(
        NetworkDenoiser(lambda z, lam, cond: z),
        x,
        torch.zeros(2, dtype=torch.long),
        objective.draw(2, shape, seeded()),
    )
    assert set(terms) == {"loss", "prior", "reconstruction", "diffusion"}
    assert all(term.shape == (2,) for term in terms.values())


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"steps": -3}, "steps is -3"),
        ({"steps": 2.5}, r"steps is 2\.5"),
        ({"steps": math.nan}, "steps is nan"),
        ({"levels": 1}, "levels is 1"),
        ({"reach": 0.0}, r"reach is 0\.0"),
        ({"draw_u": "even"}, "draw_u is 'even'"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(PilotageError, match=words):
        VDM(LinearLam(-6, 6), LABELS, **settings)


@pytest.mark.parametrize("off", [0.004, 1.0, math.nan])
def test_data_between_the_levels_are_refused(off):
    x = batch(dtype=torch.float32)
    with pytest.raises(
        PilotageError, match="x is off the grid: every number must be one of the 256"
    ):
        reconstruction_term(x + off, torch.zeros_like(x), 9.0)
    with pytest.raises(PilotageError, match="x is off the grid: every number must be one of the 7"):
        reconstruction_term(x, torch.zeros_like(x), 9.0, levels=7)


@pytest.mark.parametrize("evaluations", [0, "all"])
def test_wrong_evaluations_are_refused(evaluations):
    x = batch()
    with pytest.raises(PilotageError, match=f"evaluations is {evaluations!r} and steps is inf"):
        likelihood_terms(pixels(), x, LinearLam(-6, 6), iter([]), evaluations=evaluations)


# --- numbers at the far ends ---------------------------------------------------------------------


@pytest.mark.parametrize("predicts", ["eps", "x", "v"])
@pytest.mark.parametrize("steps", [math.inf, 1, 1000])
@pytest.mark.parametrize("kind", ["cosine", "linear", "monotone"])
def test_nothing_breaks_between_minus_20_and_20(predicts, steps, kind):
    torch.manual_seed(0)
    ends = {"cosine": TruncatedCosine(), "linear": LinearLam(-20, 20, True)}
    schedule = ends.get(kind) or MonotoneLam(-20, 20)
    layer = nn.Conv2d(1, 1, 3, padding=1).bfloat16()

    def network(z, lam, cond):
        return layer(z.bfloat16()) + 0 * lam[:, None, None, None].bfloat16()

    x = torch.randint(256, (8, 1, 4, 4), generator=seeded()) / 127.5 - 1
    objective = VDM(schedule, LABELS, steps=steps)
    draws = objective.draw(8, (1, 4, 4), seeded())
    draws.u[:2] = torch.tensor([0.0, 1 - 2**-24])
    terms = objective.terms(NetworkDenoiser(network, predicts), x, torch.zeros(8).long(), draws)
    assert all(term.dtype == torch.float32 and term.isfinite().all() for term in terms.values())
    terms["loss"].mean().backward()
    learned = list(schedule.parameters()) if isinstance(schedule, LearnableLam) else []
    for parameter in [*layer.parameters(), *learned]:
        assert parameter.grad.isfinite().all()


# --- variance-exploding models -------------------------------------------------------------------


def test_variance_exploding_models_are_rescaled_ones():
    """z_VE = x + s ε, s = e^{−λ/2}: the same denoiser, loss and samples, trained as either."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 3)).double()

    def ve(z, lam, cond=None):
        s = torch.exp(-like(lam, z) / 2)
        eps = layers(z / (1 + s))
        return Prediction(z - s * eps, eps)

    vp = preserving(ve)
    x, schedule = batch(), TruncatedCosine(-8, 8)
    eps, z, *noises = torch.randn(8, *x.shape, generator=seeded(), dtype=x.dtype)
    u = torch.rand(len(x), generator=seeded(1), dtype=torch.float64)
    with torch.no_grad():
        lam, slope = rate(schedule, u)
        there, back = ve(z, lam), exploding(vp)(z, lam)
        torch.testing.assert_close((there.x, there.eps), (back.x, back.eps))

        # ½ dSNR/dt ‖x − x̂‖² (equation 17), where SNR = 1/s² = e^λ
        x_ve = ve(x + torch.exp(-lam / 2)[:, None] * eps, lam).x
        loss_ve = -0.5 * slope * lam.exp() * (x - x_ve).square().sum(dim=1)
        torch.testing.assert_close(diffusion_term(vp, x, eps, u, schedule), loss_ve)

        lams = schedule.grid(len(noises) + 1)
        states = list(sample(vp, z, lams, ancestral(v=0), noise=noises))
        z_ve = z / alpha(lams[0])
        for lam_t, lam_s, noise, state in zip(lams, lams[1:], noises, states, strict=False):
            kept = torch.exp(lam_t - lam_s)
            x_ve = ve(z_ve, lam_t.expand(len(z))).x
            std = torch.exp(-lam_s / 2) * (1 - kept).sqrt()
            z_ve = kept * z_ve + (1 - kept) * x_ve + std * noise
            torch.testing.assert_close(state.z, alpha(lam_s) * z_ve)


# --- Fourier features ----------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_fourier_features_of_any_channel_count(channels):
    x = torch.randn(2, channels, 3, 4, generator=seeded())
    features = fourier_features(x, 6, 7)
    assert features.shape == (2, 4 * channels, 3, 4)
    for c in range(channels):
        for j, n in enumerate((6, 7)):
            angle = 2 * math.pi * 2**n * x[:, c].double()
            for half, wanted in enumerate((angle.sin(), angle.cos())):
                ours = features[:, 2 * channels * half + 2 * c + j].double()
                torch.testing.assert_close(ours, wanted, rtol=0, atol=2e-6)


def test_fourier_features_are_taken_in_float32():
    x = torch.rand(1, 1, 4, 4, generator=seeded()).bfloat16()
    features = fourier_features(x, 3, 6)
    assert features.dtype == torch.bfloat16
    assert torch.equal(features, fourier_features(x.float(), 3, 6).bfloat16())


def test_fourier_features_have_their_gradient():
    x = torch.rand(1, 2, 2, 2, generator=seeded(), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: fourier_features(x, 0, 2), x)


def small(**settings):
    torch.manual_seed(0)
    plain = {"channels": 8, "channel_mult": (1,), "num_res_blocks": 1, "head_channels": 8}
    return UNet(UNetPlan(**plain, zero_init=False, **settings))


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_network_sees_the_features_after_its_input(channels):
    network = small(in_channels=channels, fourier=(2, 4))
    assert network.stem.in_channels == 7 * channels
    twin = UNet(UNetPlan(**json.loads(json.dumps(network.settings))))
    twin.load_state_dict(network.state_dict())
    x, time = torch.randn(2, channels, 6, 6, generator=seeded()), torch.tensor([3.0, 700.0])
    seen = []
    network.stem.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    assert torch.equal(network(x, time), twin(x, time))
    assert torch.equal(seen[0], torch.cat([x, fourier_features(x, 2, 4)], dim=1))
    assert network(x, time).shape == x.shape
    with pytest.raises(PilotageError, match=rf"\(B, {channels}, H, W\)"):
        network(seen[0], time)


def test_without_features_the_network_is_what_it_was():
    bare, none = small(), small(fourier=None)
    assert bare.settings["fourier"] is None
    pairs = zip(bare.state_dict().items(), none.state_dict().items(), strict=True)
    assert all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in pairs)
    assert bare.state_dict().keys() == small(fourier=(0, 1)).state_dict().keys()


@pytest.mark.parametrize("fourier", [(7, 6), (6,), (6, 7, 8), 6, (6.0, 7.0), "67", (True, True)])
def test_wrong_frequencies_are_refused(fourier):
    with pytest.raises(PilotageError, match="fourier is"):
        small(fourier=fourier)
