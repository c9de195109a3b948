"""The oracle itself, against brute force: quadrature, autograd, Bayes and Monte Carlo."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from pilotage.diffusion import GaussianMixture
from pilotage.errors import PilotageError

from .helpers import LEVELS, level, line, noisy, normal, plane

NARROW = GaussianMixture([[1.0, -1.0], [-0.5, 0.7]], [1e-6, 0.0], [0.4, 0.6])


def components(mixture, z, lam):
    """w_k N(z; α μ_k, α² v_k + σ²) by scipy, (N, K)."""
    a2, s2 = 1 / (1 + math.exp(-lam)), 1 / (1 + math.exp(lam))
    densities = [
        weight * stats.multivariate_normal(math.sqrt(a2) * mean, a2 * var + s2).pdf(z)
        for mean, var, weight in zip(
            mixture.means.numpy(), mixture.variances.numpy(), mixture.weights.numpy(), strict=True
        )
    ]
    return np.stack([np.atleast_1d(d) for d in densities], axis=-1)


@pytest.mark.parametrize("lam", [-20.0, -2.0, 0.0, 3.0, math.inf])
@pytest.mark.parametrize("label", [None, 0, 2, 3])
def test_density_integrates_to_one(lam, label):
    axis = torch.linspace(-10, 10, 2001, dtype=torch.float64)
    cond = None if label is None else torch.full((2001,), label)
    p = line().density(axis[:, None], lam, cond)
    assert torch.trapezoid(p, axis).item() == pytest.approx(1, abs=1e-9)
    axis = torch.linspace(-8, 8, 401, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    cond = None if label is None else torch.full((len(points),), label)
    p = plane().density(points, lam, cond).reshape(401, 401)
    total = torch.trapezoid(torch.trapezoid(p, axis), axis)
    assert total.item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("lam", LEVELS)
def test_density_and_posterior_are_bayes(lam):
    mixture = plane()
    z = noisy(mixture, lam, 50)
    joint = components(mixture, z.numpy(), lam)
    np.testing.assert_allclose(mixture.density(z, lam), joint.sum(1), rtol=1e-10)
    for label in range(3):
        given = mixture.density(z, lam, torch.full((50,), label))
        np.testing.assert_allclose(
            given, joint[:, label] / mixture.weights[label].item(), rtol=1e-10
        )
    posterior = mixture.posterior(z, lam)
    np.testing.assert_allclose(posterior, joint / joint.sum(1, keepdims=True), rtol=1e-9)
    np.testing.assert_allclose(posterior.sum(1), 1, rtol=1e-13)
    labels = torch.arange(50) % 3
    chosen = mixture.class_log_prob(z, lam, labels)
    np.testing.assert_allclose(chosen.exp(), posterior[torch.arange(50), labels], rtol=1e-12)


@pytest.mark.parametrize("lam", [-20.0, -40.0, -60.0])
def test_the_classifier_has_a_gradient_in_pure_noise(lam):
    """To first order in α, ∇ log p(c|z) = α (μ_c − Σ w_k μ_k): no digits are lost to |z|²."""
    mixture, labels = plane(), torch.arange(30) % 3
    z = normal(30, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(mixture.class_log_prob(z, lam, labels).sum(), z)
    pull = mixture.means[labels] - mixture.weights @ mixture.means
    torch.testing.assert_close(gradient / math.exp(lam / 2), pull, rtol=0, atol=1e-3)


def test_far_from_everything_the_posterior_is_still_finite():
    mixture = plane()
    log_posterior = mixture.log_posterior(torch.tensor([[300.0, 200.0]]), 20.0)
    assert log_posterior.isfinite().all()
    assert log_posterior.logsumexp(1).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("lam", LEVELS)
@pytest.mark.parametrize("label", [None, 1, 3])
def test_score_is_the_gradient_of_the_log_density(lam, label):
    mixture = plane()
    z = noisy(mixture, lam, 30).requires_grad_()
    cond = None if label is None else torch.full((30,), label)
    (gradient,) = torch.autograd.grad(mixture.log_density(z, lam, cond).sum(), z)
    z = z.detach()
    score = mixture.score(z, level(lam, 30), cond)
    torch.testing.assert_close(score, gradient, rtol=1e-9, atol=1e-9)
    eps = mixture(z, level(lam, 30), cond).eps
    sigma = (1 + math.exp(lam)) ** -0.5
    torch.testing.assert_close(score, -eps / sigma, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("lam", [-20.0, -6.0, -2.0, 0.0, 2.0, 5.0])
@pytest.mark.parametrize("label", [None, 0, 1, 2, 3])
def test_the_prediction_is_the_posterior_mean(lam, label):
    """E[x | z, c] = ∫ x p(x|c) N(z; αx, σ²) dx / ∫ p(x|c) N(z; αx, σ²) dx, on a fine grid."""
    mixture = line()
    x = np.linspace(-12, 12, 24001)
    weights = mixture.weights.numpy()
    if label in (0, 1, 2):
        weights = np.eye(3)[label]
    prior = sum(
        w * stats.norm(m, v**0.5).pdf(x)
        for w, m, v in zip(weights, mixture.means[:, 0], mixture.variances.numpy(), strict=True)
    )
    a, s = (1 + math.exp(-lam)) ** -0.5, (1 + math.exp(lam)) ** -0.5
    z = noisy(mixture, lam, 20)
    joint = prior * stats.norm(0, s).pdf(z.numpy() - a * x)
    mean = (joint * x).sum(1) / joint.sum(1)
    cond = None if label is None else torch.full((20,), label)
    prediction = mixture(z, level(lam, 20), cond)
    np.testing.assert_allclose(prediction.x[:, 0], mean, rtol=1e-9, atol=1e-9)
    eps = (joint * (z.numpy() - a * x) / s).sum(1) / joint.sum(1)
    np.testing.assert_allclose(prediction.eps[:, 0], eps, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("lam", LEVELS)
@pytest.mark.parametrize("mixture", [plane(), NARROW], ids=["plane", "narrow"])
def test_x_and_eps_are_consistent(mixture, lam):
    z = noisy(mixture, lam, 30)
    prediction = mixture(z, level(lam, 30), torch.arange(30) % (mixture.null + 1))
    a, s = (1 + math.exp(-lam)) ** -0.5, (1 + math.exp(lam)) ** -0.5
    torch.testing.assert_close(a * prediction.x + s * prediction.eps, z, rtol=0, atol=1e-13)


@pytest.mark.parametrize("lam", [-20.0, -8.0, 0.0, 8.0, 20.0])
@pytest.mark.parametrize("mixture", [plane(), NARROW], ids=["plane", "narrow"])
def test_float32_is_close_to_float64(mixture, lam):
    z = noisy(mixture, lam, 200).float()  # the same numbers in both
    cond = torch.arange(200) % (mixture.null + 1)
    narrow = mixture(z, level(lam, 200, torch.float32), cond)
    exact = mixture(z.double(), level(lam, 200), cond)
    assert narrow.x.dtype == narrow.eps.dtype == torch.float32
    torch.testing.assert_close(narrow.x.double(), exact.x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(narrow.eps.double(), exact.eps, rtol=1e-4, atol=1e-4)
    log_p = mixture.class_log_prob(z, lam, cond.clamp(max=mixture.null - 1))
    assert log_p.dtype == torch.float32


def test_a_point_mass():
    mixture = GaussianMixture([[1.0], [-2.0]], [0.0, 0.0], [1.0, 1.0])
    z = noisy(mixture, 3.0, 10)
    prediction = mixture(z, level(3.0, 10), torch.zeros(10, dtype=torch.int64))
    torch.testing.assert_close(prediction.x, torch.ones(10, 1, dtype=torch.float64))


def test_null_is_one_past_the_last_class():
    mixture = plane()
    z, lam = normal(10, 2), level(0.7, 10)
    assert mixture.null == 3
    null = torch.full((10,), mixture.null)
    assert torch.equal(mixture(z, lam, null).x, mixture(z, lam).x)
    assert torch.equal(mixture.density(z, 0.7, null), mixture.density(z, 0.7))
    mixed = torch.tensor([0, 1, 2, 3] * 2 + [3, 0])
    together = mixture(z, lam, mixed).x
    for i, label in enumerate(mixed):
        alone = mixture(z[i : i + 1], lam[i : i + 1], label[None]).x
        torch.testing.assert_close(together[i], alone[0], rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("lam", [-3.0, 0.0, 4.0])
def test_marginal(lam):
    """The mixture of z: as a clean density, and by its moments."""
    mixture = plane()
    here = mixture.marginal(lam)
    z = noisy(mixture, 0.0, 20)
    torch.testing.assert_close(here.density(z), mixture.density(z, lam), rtol=1e-11, atol=0)
    a2, s2 = 1 / (1 + math.exp(-lam)), 1 / (1 + math.exp(lam))
    torch.testing.assert_close(here.means, math.sqrt(a2) * mixture.means)
    torch.testing.assert_close(here.variances, a2 * mixture.variances + s2)
    torch.testing.assert_close(here.weights, mixture.weights)


def test_draw():
    mixture, count = plane(), 50_000
    x, labels = mixture.draw(count, torch.Generator().manual_seed(0))
    shares = torch.bincount(labels, minlength=3) / count
    p = mixture.weights
    assert ((shares - p).abs() < 4 * (p * (1 - p) / count).sqrt()).all()
    for label in range(3):
        own = x[labels == label]
        variance = mixture.variances[label]
        assert ((own.mean(0) - mixture.means[label]).abs() < 4 * (variance / len(own)) ** 0.5).all()
        spread = 4 * variance * (2 / len(own)) ** 0.5
        off = own.T.cov() - variance * torch.eye(2)
        assert (off.abs() < spread).all()
    again, _ = mixture.draw(count, torch.Generator().manual_seed(0))
    assert torch.equal(x, again)


def test_weights_are_normalised():
    mixture = GaussianMixture([[0.0], [1.0]], [1.0, 1.0], [3.0, 9.0])
    assert mixture.weights.tolist() == [0.25, 0.75]


@pytest.mark.parametrize("w", [-1.0, -0.5, 0.0, 0.7, 3.0, 12.0])
@pytest.mark.parametrize("lam", [-2.0, 1.0, math.inf])
def test_guided_density_in_1d(w, lam):
    """p(z|c) p(c|z)^w over its integral by scipy's adaptive quadrature."""
    mixture = line()
    a2, s2 = 1 / (1 + math.exp(-lam)), 1 / (1 + math.exp(min(lam, 700.0)))
    weights = mixture.weights.numpy()
    means, variances = math.sqrt(a2) * mixture.means[:, 0].numpy(), mixture.variances.numpy()

    def unnormalised(z, label):
        variance = a2 * variances + s2
        log_given = -0.5 * ((z - means) ** 2 / variance + np.log(variance))
        log_joint = np.log(weights) + log_given
        log_posterior = log_joint[label] - np.logaddexp.reduce(log_joint)
        return math.exp(log_given[label] + w * log_posterior)

    z = torch.linspace(-6, 6, 25, dtype=torch.float64)[:, None]
    for label in range(3):
        total, _ = integrate.quad(
            unnormalised, -9, 9, (label,), points=[-4, -2, 0, 1, 2, 4], epsabs=0, epsrel=1e-10
        )
        expected = [unnormalised(v.item(), label) / total for v in z]
        ours = mixture.guided_density(z, label, w, lam)
        np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-300)


@pytest.mark.parametrize("w", [-1.0, 0.0, 1.0, 4.0])
def test_guided_density_in_2d_integrates_to_one(w):
    mixture = plane()
    axis = torch.linspace(-9, 9, 601, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    for label in range(3):
        p = mixture.guided_density(points, label, w, 2.0).reshape(601, 601)
        total = torch.trapezoid(torch.trapezoid(p, axis), axis)
        assert total.item() == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("lam", [0.0, 5.0, math.inf])
def test_guided_density_at_its_two_ends(lam):
    """w = 0 is p(z|c), and w = −1 is p(z|c)/p(c|z) ∝ p(z)."""
    mixture = plane()
    z = noisy(mixture, min(lam, 30.0), 50)
    for label in range(3):
        given_c = mixture.density(z, lam, torch.full((50,), label))
        torch.testing.assert_close(
            mixture.guided_density(z, label, 0.0, lam), given_c, rtol=1e-9, atol=0
        )
        torch.testing.assert_close(
            mixture.guided_density(z, label, -1.0, lam), mixture.density(z, lam), rtol=1e-9, atol=0
        )


def test_guidance_sharpens():
    """The classifier is surer, and the density narrower, as w rises."""
    mixture, axis = line(), torch.linspace(-8, 8, 4001, dtype=torch.float64)
    posterior = mixture.posterior(axis[:, None])[:, 1]
    sure, spread = [], []
    for w in (0.0, 1.0, 3.0, 10.0):
        p = mixture.guided_density(axis[:, None], 1, w)
        mean = torch.trapezoid(p * axis, axis)
        sure.append(torch.trapezoid(p * posterior, axis).item())
        spread.append(torch.trapezoid(p * (axis - mean) ** 2, axis).item())
    assert sure == sorted(sure)
    assert spread == sorted(spread, reverse=True)
    assert sure[-1] - sure[0] > 0.05


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([[0.0]], [1.0, 1.0], [1.0]), "have shapes"),
        (([[0.0]], [1.0], [1.0, 1.0]), "have shapes"),
        (([0.0], [1.0], [1.0]), "have shapes"),
        (([[0.0]], [-1.0], [1.0]), "variances must be at least 0"),
        (([[0.0]], [math.nan], [1.0]), "variances must be at least 0"),
        (([[0.0], [1.0]], [1.0, 1.0], [1.0, 0.0]), "weights above 0"),
    ],
)
def test_wrong_mixtures(arguments, words):
    with pytest.raises(PilotageError, match=words):
        GaussianMixture(*arguments)


@pytest.mark.parametrize("label", [-1, 4])
def test_wrong_labels(label):
    with pytest.raises(PilotageError, match=r"it must be labels in 0\.\.3"):
        plane()(normal(1, 2), level(0.0, 1), torch.tensor([label]))


def test_wrong_guided_densities():
    z = normal(3, 2)
    for w in (-1.5, math.nan, math.inf):
        with pytest.raises(PilotageError, match=f"w is {w}"):
            plane().guided_density(z, 0, w)
    cube = GaussianMixture([[0.0, 0.0, 0.0]], [1.0], [1.0])
    with pytest.raises(PilotageError, match="D is 3"):
        cube.guided_density(normal(3, 3), 0, 1.0)
    with pytest.raises(PilotageError, match="variance is 0"):
        NARROW.guided_density(z, 0, 1.0)
