"""The variational bound: Gaussians in closed form, decoder masses, and the hybrid objective."""

import math

import pytest
import torch
from scipy.integrate import quad

from pilotage.conditions import Labels
from pilotage.diffusion import (
    GaussianMixture,
    NetworkDenoiser,
    Prediction,
    Timesteps,
    TruncatedCosine,
    alpha,
    sigma,
)
from pilotage.diffusion.logsnr import diffuse, tau
from pilotage.errors import PilotageError
from pilotage.objectives import (
    Denoising,
    Hybrid,
    bound,
    discretised_log_likelihood,
    model_log_variance,
    normal_kl,
    posterior,
    prior_bpd,
    vlb_term,
)
from pilotage.objectives.denoising import neighbours
from pilotage.objectives.variational import normal_cdf

LABELS = Labels(("a", "b", "c"))
BITS = math.log(2)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def level(*lams):
    return torch.tensor(lams, dtype=torch.float64)


# --- Gaussians -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("m1", "s1", "m2", "s2"), [(0, 1, 0, 1), (1, 0.5, -1, 2), (0.3, 2, 0, 1)])
def test_normal_kl_is_the_integral(m1, s1, m2, s2):
    def log_density(x, m, s):
        return -0.5 * ((x - m) / s) ** 2 - math.log(s * math.sqrt(2 * math.pi))

    def integrand(x):
        p = log_density(x, m1, s1)
        return math.exp(p) * (p - log_density(x, m2, s2))

    expected = quad(integrand, m1 - 12 * s1, m1 + 12 * s1)[0]
    logs = [2 * math.log(s) for s in (s1, s2)]
    ours = normal_kl(*level(m1, logs[0], m2, logs[1]).unbind())
    assert ours.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_normal_kl_of_nearly_equal_gaussians_keeps_its_digits():
    """log-variances apart by δ: δ²/4, which exp(δ) − 1 − δ would lose in float32."""
    zero, delta = torch.zeros(1), torch.tensor([1e-3])
    assert normal_kl(zero, delta, zero, zero).item() == pytest.approx(2.5e-7, rel=1e-3)


def test_normal_cdf_is_close_to_the_real_one():
    x = torch.linspace(-6, 6, 1001, dtype=torch.float64)
    assert (normal_cdf(x) - torch.special.ndtr(x)).abs().max() < 4e-4


# --- the decoder ---------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [2, 16, 256])
@pytest.mark.parametrize(("mean", "log_scale"), [(0.0, 0.0), (0.7, -1.0), (-1.4, 0.5), (0.2, -3.0)])
def test_masses_sum_to_one(levels, mean, log_scale):
    x = torch.linspace(-1, 1, levels, dtype=torch.float64)
    log_mass = discretised_log_likelihood(
        x, torch.full_like(x, mean), torch.full_like(x, log_scale), levels
    )
    assert log_mass.exp().sum().item() == pytest.approx(1, abs=levels * 1e-12)


def test_a_mass_is_a_difference_of_two_cdfs():
    x = torch.linspace(-1, 1, 256, dtype=torch.float64)
    mean, scale = 0.3, 0.2
    ours = discretised_log_likelihood(
        x, torch.full_like(x, mean), torch.full_like(x, math.log(scale))
    )
    edges = (torch.cat([x - 1 / 255, x[-1:] + 1 / 255]) - mean) / scale
    cdf = normal_cdf(edges)
    cdf[0], cdf[-1] = 0, 1
    torch.testing.assert_close(ours.exp(), cdf.diff(), rtol=1e-9, atol=1e-12)


def test_float32_keeps_the_tail():
    x = torch.linspace(-1, 1, 256)
    arguments = x, torch.full_like(x, -0.4), torch.full_like(x, -2.0)
    ours = discretised_log_likelihood(*arguments)
    exact = discretised_log_likelihood(*(a.double() for a in arguments))
    assert exact.min() < -25
    torch.testing.assert_close(ours.double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("log_scale", [-30.0, -10.0, 0.0, 10.0])
def test_gradients_are_finite_however_wrong_the_model_is(dtype, log_scale):
    x = torch.tensor([-1.0, 0.0, 1.0, -1.0, 1.0], dtype=dtype)
    mean = torch.tensor([1.0, 50.0, -1.0, -1.0, 1.0], dtype=dtype, requires_grad=True)
    scale = torch.full_like(x, log_scale).requires_grad_()
    log_mass = discretised_log_likelihood(x, mean, scale)
    assert log_mass.min() >= math.log(1e-12) * (1 + 1e-6)
    for gradient in torch.autograd.grad(log_mass.sum(), [mean, scale]):
        assert gradient.isfinite().all()


def test_one_level_is_no_choice():
    with pytest.raises(PilotageError, match="levels is 1"):
        discretised_log_likelihood(torch.zeros(1), torch.zeros(1), torch.zeros(1), levels=1)


# --- one term ------------------------------------------------------------------------------------

STEPS = [(-20.0, -19.9), (-6.0, -2.0), (-0.5, 0.5), (3.0, 3.01), (12.0, 20.0)]


@pytest.mark.parametrize(("lam_t", "lam_s"), STEPS)
def test_term_of_a_perfect_denoiser_is_zero(lam_t, lam_s):
    x, eps = normal(5, 2), normal(5, 2, seed=1)
    z = diffuse(x, eps, level(lam_t)[0])
    term = vlb_term(Prediction(x, eps), x, z, level(lam_t)[0], level(lam_s)[0], v=0.0)
    assert term.shape == (5,)
    assert term.abs().max() < 1e-15


@pytest.mark.parametrize(("lam_t", "lam_s"), STEPS)
def test_term_is_half_the_snr_gap_times_the_squared_error(lam_t, lam_s):
    """½ (SNR_s − SNR_t) ‖x − x̂‖² with the posterior's own variance (2107.00630, equation 13)."""
    x, guess, z = normal(5, 2), normal(5, 2, seed=1), normal(5, 2, seed=2)
    term = vlb_term(Prediction(guess, z), x, z, level(lam_t)[0], level(lam_s)[0], v=0.0)
    gap = math.exp(lam_s) * -math.expm1(lam_t - lam_s)
    expected = 0.5 * gap * (x - guess).square().mean(dim=1) / BITS
    torch.testing.assert_close(term, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize(("lam_t", "lam_s"), STEPS)
def test_term_of_an_exact_gaussian(lam_t, lam_s):
    """x ~ N(m, r²): the true reverse step is a Gaussian, of variance σ̃² + (τ α_s)² Var(x | z).

    With that as v, and (x − x̂)² equal to its expectation Var(x | z), the term is what is left of
    the divergence: half the log of the ratio of the variances.
    """
    data = GaussianMixture([[0.4]], [0.3], [1.0])
    t, s = level(lam_t), level(lam_s)
    z = data.marginal(lam_t).draw(6, torch.Generator().manual_seed(0))[0]
    prediction = data(z, t.expand(6))
    given_z = 0.3 * sigma(t) ** 2 / (0.3 * alpha(t) ** 2 + sigma(t) ** 2)
    lower, upper = tau(t, s) * sigma(s) ** 2, tau(t, s) * sigma(t) ** 2
    true = lower + (tau(t, s) * alpha(s)) ** 2 * given_z
    v = (true / lower).log() / (upper / lower).log()
    x = prediction.x + given_z.sqrt() * torch.tensor([[1.0], [-1.0]] * 3, dtype=torch.float64)
    term = vlb_term(prediction._replace(v=v.expand(6, 1)), x, z, t[0], s[0])
    expected = 0.5 * (true / lower).log() / BITS
    # 1e-7: with steps as short as 0.01 the ratio has few digits more
    torch.testing.assert_close(term, expected.expand(6), rtol=1e-7, atol=1e-12)


def test_posterior_is_the_ancestral_step():
    x, z, t, s = normal(4, 2), normal(4, 2, seed=1), level(-1.0)[0], level(0.5)[0]
    mean, log_variance = posterior(x, z, t, s)
    expected = torch.exp(t - s) * alpha(s) / alpha(t) * z + tau(t, s) * alpha(s) * x
    torch.testing.assert_close(mean, expected)
    torch.testing.assert_close(log_variance.exp(), (tau(t, s) * sigma(s) ** 2).expand(4, 2))
    mean, _ = posterior(x, z, t, level(math.inf)[0])
    assert torch.equal(mean, x)


def test_model_log_variance_lies_between_the_bounds():
    t, s = level(-1.0, 0.0, 2.0), level(0.5, 0.1, 2.01)
    v = torch.tensor([[0.0, 1.0, 0.3]] * 3, dtype=torch.float64)
    ours = model_log_variance(t, s, v)
    lower, upper = (tau(t, s) * sigma(s) ** 2).log(), (tau(t, s) * sigma(t) ** 2).log()
    expected = torch.stack([lower, upper, 0.7 * lower + 0.3 * upper], dim=1)
    torch.testing.assert_close(ours, expected)


def test_bounds_at_the_end_of_a_chain():
    """The transition's σ_t², and the posterior variance of the step before."""
    r, t, s = level(3.0), level(5.0), level(math.inf)
    v = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    assert model_log_variance(t, s, v)[0].tolist() == pytest.approx([math.log(sigma(t) ** 2)] * 2)
    before = math.log(tau(r, t) * sigma(t) ** 2)
    ours = model_log_variance(t, s, v, r)[0].tolist()
    assert ours == pytest.approx([before, math.log(sigma(t) ** 2)])


def test_a_batch_may_hold_both_kinds_of_term():
    x = torch.tensor([-1.0, -1 / 255, 0.2, 1.0], dtype=torch.float64)[:, None].expand(4, 3)
    z, v = normal(4, 3), torch.rand(4, 3, dtype=torch.float64)
    prediction = Prediction(x + 0.01 * z, z, v)
    t, s, r = level(0.0, 6.0, 3.0, 6.0), level(1.0, math.inf, 3.5, math.inf), level(-1, 5, 2, 5)
    together = vlb_term(prediction, x, z, t, s, r)
    for i in range(4):
        rows = slice(i, i + 1)
        one = Prediction(*(field[rows] for field in prediction))
        alone = vlb_term(one, x[rows], z[rows], t[i], s[i], r[i])
        torch.testing.assert_close(together[rows], alone)
    log_variance = model_log_variance(t[1:2], s[1:2], v[1:2], r[1:2])
    mass = discretised_log_likelihood(x[1:2], prediction.x[1:2], log_variance / 2)
    assert together[1].item() == pytest.approx(-mass.mean().item() / BITS)


def test_float32_data_with_float64_levels():
    """Two levels of a long chain differ by less than float32 can tell; the data need not know."""
    chain = Timesteps("linear", 4000).lams
    x, z = normal(3, 2), normal(3, 2, seed=1)
    prediction = Prediction(x + 0.1, z, torch.full_like(x, 0.4))
    t, s = chain[[10, 2000, 3999]], chain[[9, 1999, 3998]]
    exact = vlb_term(prediction, x, z, t, s)
    narrow = Prediction(*(field.float() for field in prediction))
    ours = vlb_term(narrow, x.float(), z.float(), t, s)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), exact, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("v", [-0.1, 1.1, math.nan])
def test_a_wrong_fraction(v):
    x = normal(2, 2)
    with pytest.raises(PilotageError, match=f"v is {v}"):
        vlb_term(Prediction(x, x), x, x, level(0.0)[0], level(1.0)[0], v=v)


def test_a_learned_variance_must_be_there():
    x = normal(2, 2)
    with pytest.raises(PilotageError, match="predicts no variance"):
        vlb_term(Prediction(x, x), x, x, level(0.0)[0], level(1.0)[0])


@pytest.mark.parametrize("lam_min", [-2.0, -10.0, -20.0])
def test_prior(lam_min):
    x = normal(3, 4)
    t = level(lam_min)[0]
    mean, log_variance = alpha(t) * x, (sigma(t) ** 2).log().expand(3, 4)
    expected = normal_kl(mean, log_variance, 0 * x, 0 * x).mean(dim=1) / BITS
    torch.testing.assert_close(prior_bpd(x, lam_min), expected, rtol=1e-6, atol=1e-16)
    narrow = prior_bpd(x.float(), lam_min).double()
    torch.testing.assert_close(narrow, prior_bpd(x, lam_min), rtol=1e-6, atol=0)


# --- the whole bound -----------------------------------------------------------------------------


def test_bound_of_an_exact_model_is_near_its_entropy():
    """x ~ N(0, 0.1) on 256 levels: the bound of a long chain is little above their entropy.

    The chain is even in λ, and ends where the noise is of the size of the bins.
    """
    lams = torch.linspace(-10, 9, 500, dtype=torch.float64)
    data = GaussianMixture([[0.0]], [0.1], [1.0])
    x = data.draw(2000, torch.Generator().manual_seed(0))[0].clamp(-1, 1)
    x = ((x + 1) * 127.5).round() / 127.5 - 1
    generator = torch.Generator().manual_seed(1)
    noises = (torch.randn(x.shape, generator=generator, dtype=x.dtype) for _ in lams)
    made = bound(data, x, lams, noises, v=1.0, clip=False)
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.1) / BITS + math.log2(127.5)
    error = made.total.std().item() / math.sqrt(len(x))
    assert made.terms.shape == made.x_error.shape == made.eps_error.shape == (len(x), len(lams))
    torch.testing.assert_close(made.total, made.terms.sum(1) + made.prior)
    assert entropy - 4 * error < made.total.mean().item() < entropy + 4 * error + 0.2
    assert (made.terms.mean(0) > 0).all()


def test_bound_asks_every_level_once_and_clips():
    calls = []

    def denoise(z, lam, cond=None):
        calls.append((lam.tolist(), cond))
        return Prediction(0 * z + 3, z, 0 * z)

    lams, x = Timesteps("linear").grid("ddim5"), torch.zeros(2, 3)
    made = bound(denoise, x, lams, [x] * 5, cond=[7, 8])
    assert [lam for lam, _ in calls] == [[v] * 2 for v in lams.float().tolist()]
    assert all(cond == [7, 8] for _, cond in calls)
    assert made.x_error.tolist() == [[1.0] * 5] * 2
    assert bound(denoise, x, lams, [x] * 5, clip=False).x_error.tolist() == [[9.0] * 5] * 2


def test_bound_refuses():
    x, lams = torch.zeros(2, 3), level(-1.0, 0.0, 1.0)

    def denoise(z, lam, cond=None):
        return Prediction(z, z)

    with pytest.raises(PilotageError, match="noises has 2 draws: it must have 3"):
        bound(denoise, x, lams, [x] * 2, v=0.0)
    with pytest.raises(PilotageError, match="predicts no variance"):
        bound(denoise, x, lams, [x] * 3)
    for wrong in (level(), level(1.0, 0.0), level(0.0, math.inf), level(0.0, 0.0)):
        with pytest.raises(PilotageError, match="lams is"):
            bound(denoise, x, wrong, [x] * 3, v=0.0)


# --- the hybrid objective ------------------------------------------------------------------------

SCHEDULES = [
    pytest.param(Timesteps("linear", 50), id="linear"),
    pytest.param(Timesteps("cosine", 50), id="cosine"),
    pytest.param(TruncatedCosine(), id="truncated"),
]


def setting(schedule, predicts="eps", **options):
    """An objective of 50 steps, data, draws that include u < 1/T, and a 2C network's output."""
    hybrid = Hybrid(schedule, LABELS, 0.2, steps=50, **options)
    x = normal(6, 1, 2, 2, dtype=torch.float32).clamp(-1, 1)
    draws = hybrid.draw(6, (1, 2, 2), torch.Generator().manual_seed(1))
    draws = draws._replace(u=torch.tensor([0.0, 0.01, 0.02, 0.3, 0.9, 0.999]))
    output = 0.5 * normal(6, 2, 2, 2, seed=2, dtype=torch.float32)
    output.requires_grad_()
    return hybrid, NetworkDenoiser(lambda *_: output, predicts), x, draws, output


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("predicts", ["eps", "x", "v"])
def test_hybrid_is_the_denoising_loss_and_the_bound(schedule, predicts):
    hybrid, denoise, x, draws, output = setting(schedule, predicts, vlb_weight=0.7)
    labels = torch.arange(6) % 3
    terms = hybrid.terms(denoise, x, labels, draws)
    assert set(terms) == {"loss", "simple", "vlb"}
    assert all(term.shape == (6,) for term in terms.values())
    torch.testing.assert_close(terms["loss"], terms["simple"] + 0.7 * 50 / 1000 * terms["vlb"])
    plain = NetworkDenoiser(lambda *_: output[:, :1], predicts)
    loss = Denoising(schedule, LABELS, 0.2).terms(plain, x, labels, draws)["loss"]
    torch.testing.assert_close(terms["simple"], loss, rtol=1e-5, atol=1e-6)
    u = draws.u.double()
    lam_t, lam_r = schedule(u), schedule((u + 1 / 50).clamp(max=1))
    first = u < 1 / 50 - 1e-7  # float32's 0.02 is a little less than 1/50
    lam_s = torch.where(first, math.inf, schedule((u - 1 / 50).clamp(min=0)))
    z = diffuse(x, draws.eps, lam_t.float())
    expected = vlb_term(denoise(z, lam_t.float()), x, z, lam_t, lam_s, lam_r)
    torch.testing.assert_close(terms["vlb"], expected)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("predicts", ["eps", "x", "v"])
def test_the_bound_teaches_the_variance_only(schedule, predicts):
    hybrid, denoise, x, draws, output = setting(schedule, predicts)
    terms = hybrid.terms(denoise, x, torch.zeros(6, dtype=torch.long), draws)
    (gradient,) = torch.autograd.grad(terms["vlb"].sum(), output, retain_graph=True)
    assert (gradient[:, :1] == 0).all()
    assert (gradient[3:, 1:] != 0).all()  # a decoder's mass below 1e-12 teaches nothing
    assert gradient.isfinite().all()
    (gradient,) = torch.autograd.grad(terms["simple"].sum(), output)
    assert (gradient[:, :1] != 0).all()
    assert (gradient[:, 1:] == 0).all()


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neighbours_are_entries_of_the_table(kind, dtype):
    count = 1000
    schedule = Timesteps(kind, count)
    table = schedule.lams
    u = torch.rand(5000, generator=torch.Generator().manual_seed(0), dtype=dtype)
    edges = (torch.arange(count, dtype=torch.float64) / count).to(dtype)
    u = torch.cat([u, edges, torch.nextafter(edges[1:], edges[:1])])
    lam_r, lam_t, lam_s = neighbours(schedule, u, count)
    t = schedule.time(lam_t).long()
    assert torch.equal(lam_t, table[t])
    assert torch.equal(lam_s[t > 0], table[t[t > 0] - 1])
    assert (lam_s[t == 0] == math.inf).all()
    assert torch.equal(lam_r[t < count - 1], table[t[t < count - 1] + 1])
    assert ((u * count - t).abs() < 1 + 1e-3).all()


@pytest.mark.parametrize("lam_max", [20.0, 60.0])
def test_hybrid_is_finite_at_the_clean_end(lam_max):
    """σ_t² is e^{−60} there, of which float32 has no cube."""
    hybrid = Hybrid(TruncatedCosine(-20.0, lam_max), LABELS, 0.0)
    x = torch.tensor([-1.0, 0.0, 1.0]).reshape(3, 1, 1, 1)
    draws = hybrid.draw(3, (1, 1, 1), torch.Generator().manual_seed(0))
    draws = draws._replace(u=torch.tensor([0.0, 1e-7, 0.0009]))
    for value in (-3.0, 0.0, 3.0):
        output = torch.full((3, 2, 1, 1), value, requires_grad=True)
        terms = hybrid.terms(
            NetworkDenoiser(lambda *_, o=output: o, "v"), x, torch.zeros(3, dtype=torch.long), draws
        )
        assert terms["loss"].isfinite().all()
        assert torch.autograd.grad(terms["loss"].sum(), output)[0].isfinite().all()


def test_hybrid_needs_twice_the_channels():
    hybrid, _, x, draws, _ = setting(TruncatedCosine())
    with pytest.raises(
        PilotageError, match="has 1 channels: it must have 2 with a learned variance"
    ):
        hybrid.terms(NetworkDenoiser(lambda z, *_: z), x, torch.zeros(6, dtype=torch.long), draws)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 1}, "steps is 1"),
        ({"vlb_weight": -0.1}, "vlb_weight is -0.1"),
        ({"vlb_weight": math.nan}, "vlb_weight is nan"),
        ({"schedule": Timesteps("cosine", 50)}, "timesteps is 1000: it must be 50"),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(PilotageError, match=message):
        Hybrid(**{"schedule": TruncatedCosine(), "labels": LABELS, "p_uncond": 0.1, **options})
