"""Adversarial training in few steps: latents, pairs, losses, and what they teach."""

import itertools

import pytest
import torch
from torch.nn.functional import softplus

from pilotage.diffusion import SeededNoise, ancestral, classifier_free, sample
from pilotage.diffusion.ddgan_levels import FewSteps, ddgan_lams
from pilotage.diffusion.latent import (
    NetworkDiscriminator,
    NetworkGenerator,
    direct,
    latent,
    no_latents,
)
from pilotage.diffusion.logsnr import alpha, sigma
from pilotage.diffusion.steps import State
from pilotage.errors import PilotageError
from pilotage.networks.mlp import (
    VectorDiscriminator,
    VectorDiscriminatorPlan,
    VectorGenerator,
    VectorGeneratorPlan,
)
from pilotage.objectives.gan_losses import Adversarial

STEPS = [1, 2, 4, 8]


def networks(steps, classes=None, predicts="x", **settings):
    torch.manual_seed(0)
    settings = {"hidden": 32, "layers": 2, "num_classes": classes} | settings
    g = VectorGenerator(VectorGeneratorPlan(dim=2, latent_dim=4, **settings))
    d = VectorDiscriminator(VectorDiscriminatorPlan(dim=2, **settings))
    return NetworkGenerator(g, predicts, steps.time), NetworkDiscriminator(d, steps.time)


def drawn(objective, count=64, shape=(2,), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return objective.draw(count, shape, generator)


@pytest.mark.parametrize("shape", [(2,), (3, 4, 4)])
@pytest.mark.parametrize("count", STEPS)
def test_draws_and_pairs(count, shape):
    objective = Adversarial(ddgan_lams(count), latent_dim=4)
    draws = drawn(objective, 64, shape)
    assert torch.bincount(draws.level, minlength=count).tolist() == [64 // count] * count
    assert draws.latent.shape == (64, 4)
    part = draws.rows(slice(3, 9))
    assert torch.equal(part.noise, draws.noise[3:9])
    x = torch.rand(64, *shape) * 2 - 1
    pair = objective.pair(x, draws)
    last = draws.level == count - 1
    assert torch.equal(pair.z_s[last], x[last]), "the last step ends at the data"
    assert pair.lam_s[last].isinf().all()
    assert (pair.lam_s > pair.lam_t).all()
    rows = objective.pair(x[3:9], part)
    assert torch.equal(rows.z_t, pair.z_t[3:9])


@pytest.mark.parametrize("count", STEPS)
def test_pairs_have_the_marginals_of_the_process(count):
    objective = Adversarial(ddgan_lams(count), latent_dim=1)
    draws = drawn(objective, 160_000, (1,))
    x = torch.full((160_000, 1), 0.7)
    pair = objective.pair(x, draws)
    for level in range(count):
        rows = draws.level == level
        for z, lam in (
            (pair.z_s[rows], pair.lam_s[rows][0]),
            (pair.z_t[rows], pair.lam_t[rows][0]),
        ):
            assert z.mean().item() == pytest.approx(0.7 * alpha(lam).item(), abs=0.03)
            assert z.std().item() == pytest.approx(sigma(lam).item(), abs=0.02)


def test_a_perfect_generator_makes_real_pairs():
    """With x itself in the place of G, the posterior gives back the joint law of (z_s, z_t)."""
    objective = Adversarial(ddgan_lams(2), latent_dim=1)
    draws = drawn(objective, 200_000, (1,))
    x = torch.randint(0, 2, (200_000, 1)) * 2.0 - 1
    pair = objective.pair(x, draws)

    def oracle(z, lam, cond, latent):
        return NetworkGenerator(lambda *_: x)(z, lam, cond, latent)

    made = objective.generated(oracle, pair, None, draws)
    for level in range(2):
        rows = draws.level == level
        real, fake = (torch.cat([z[rows], pair.z_t[rows]], 1).T.cov() for z in (pair.z_s, made))
        torch.testing.assert_close(real, fake, rtol=0, atol=0.02)


@pytest.mark.parametrize("classes", [None, 3])
@pytest.mark.parametrize("count", STEPS)
def test_terms(count, classes):
    steps = FewSteps(count)
    generator, discriminator = networks(steps, classes)
    objective = Adversarial(
        steps.lams, 4, conditional=classes is not None, r1_gamma=0.4, r1_every=3
    )
    x, labels, draws = torch.randn(64, 2), torch.arange(64) % 3, drawn(objective)
    terms = objective.discriminator_terms(discriminator, generator, x, labels, draws)
    assert all(term.shape == (64,) for term in terms.values())
    torch.testing.assert_close(terms["loss"], terms["real"] + terms["fake"] + terms["r1"])
    torch.testing.assert_close(terms["real"], softplus(-terms["real_logit"]))
    torch.testing.assert_close(terms["fake"], softplus(terms["fake_logit"]))
    assert (terms["r1"] > 0).all()
    terms["loss"].mean().backward()
    assert all(p.grad is None for p in generator.network.parameters())
    lazy = objective.discriminator_terms(discriminator, generator, x, labels, draws, step=1)
    assert (lazy["r1"] == 0).all()
    assert torch.equal(lazy["real"], terms["real"])

    made = objective.generator_terms(generator, discriminator, x, labels, draws)
    torch.testing.assert_close(made["loss"], softplus(-terms["fake_logit"]))
    made["loss"].mean().backward()
    assert all(p.grad.isfinite().all() for p in generator.network.parameters())
    if classes:
        other = objective.generator_terms(generator, discriminator, x, (labels + 1) % 3, draws)
        assert not torch.equal(other["loss"], made["loss"])
    else:
        unlabelled = objective.generator_terms(generator, discriminator, x, None, draws)
        assert torch.equal(unlabelled["loss"], made["loss"])


def test_r1_is_half_gamma_times_the_squared_gradient():
    steps = FewSteps(2)
    weight = torch.tensor([3.0, 4.0])
    discriminator = NetworkDiscriminator(lambda x, time, z, cond: x @ weight)
    objective = Adversarial(steps.lams, 4, r1_gamma=0.2)
    x, draws = torch.randn(64, 2), drawn(objective)
    terms = objective.discriminator_terms(discriminator, networks(steps)[0], x, None, draws)
    torch.testing.assert_close(terms["r1"], torch.full((64,), 0.1 * 25))


def test_ablations():
    steps = FewSteps(2)
    generator, discriminator = networks(steps)
    x = torch.randn(64, 2)
    plain = Adversarial(steps.lams, 4, with_latent=False)
    assert (drawn(plain).latent == 0).all()

    one_shot = Adversarial(steps.lams, 4, direct=True)
    draws = drawn(one_shot)
    pair = one_shot.pair(x, draws)
    own = generator(pair.z_t, pair.lam_t, None, draws.latent).x
    assert torch.equal(one_shot.generated(generator, pair, None, draws), own)

    of_noise = networks(steps, predicts="eps")[0]
    found = of_noise(pair.z_t, pair.lam_t, None, draws.latent)
    made = of_noise.network(pair.z_t, steps.time(pair.lam_t), draws.latent, None)
    assert torch.equal(found.eps, made)
    loss = Adversarial(steps.lams, 4).generator_terms(of_noise, discriminator, x, None, draws)
    assert loss["loss"].isfinite().all()


def test_a_latent_is_bound():
    steps = FewSteps(4)
    generator, _ = networks(steps, classes=3)
    z, cond = torch.randn(6, 2), torch.arange(6) % 3

    def images(seeds, guided=False):
        rows = list(seeds)
        denoise = latent(generator, SeededNoise([9000 + s for s in rows], (4,)))
        denoise = classifier_free(denoise, 1.0, null=2) if guided else denoise
        noise = SeededNoise(rows, (2,))
        *_, last = sample(denoise, z[rows], steps.lams, ancestral(v=0), cond[rows], noise)
        return last.z

    torch.testing.assert_close(images(range(6)), torch.cat([images([0, 1]), images([2, 3, 4, 5])]))
    assert generator.calls == 12
    assert images(range(6), guided=True).isfinite().all()
    lam = steps.lams[:1].expand(12)
    rows = torch.randn(6, 4)
    both = latent(generator, [rows])(torch.cat([z, z]), lam, torch.cat([cond, cond]))
    torch.testing.assert_close(both.x[:6], both.x[6:])


def test_direct_steps():
    steps = FewSteps(2)
    generator, _ = networks(steps)
    denoise = latent(generator, no_latents(3, 4))
    z = torch.randn(3, 2)
    first, last = sample(denoise, z, steps.lams, direct())
    assert torch.equal(first.z, denoise(z, steps.lams[:1].float().expand(3)).x)
    assert last.z.shape == (3, 2)
    assert first.lam == steps.lams[1]
    assert direct()(lambda z, lam: denoise(z, lam), State(z, steps.lams[0]), steps.lams[1], None)


def test_wrong_settings():
    steps = FewSteps(2)
    generator, discriminator = networks(steps)
    x, lam = torch.randn(4, 2), steps.lams[:1].expand(4).float()
    objective = Adversarial(steps.lams, 4, conditional=True)
    draws = drawn(objective, 4)
    for call, words in [
        (lambda: Adversarial(steps.lams.flip(0), 4), "lams is"),
        (lambda: Adversarial(torch.tensor([]), 4), "lams is"),
        (lambda: Adversarial(torch.tensor([0.0, torch.inf]), 4), "lams is"),
        (lambda: Adversarial(steps.lams, 0), "latent_dim is 0"),
        (lambda: Adversarial(steps.lams, 4, r1_gamma=-1.0), "r1_gamma is -1"),
        (lambda: Adversarial(steps.lams, 4, r1_every=0), "r1_every is 0"),
        (lambda: NetworkGenerator(lambda: None, "v"), "predicts is 'v'"),
        (lambda: latent(generator, [])(x, lam), "noise is exhausted"),
        (lambda: latent(generator, [torch.randn(3, 4)])(x, lam), "draws of 3 rows"),
        (
            lambda: objective.generator_terms(generator, discriminator, x, None, draws),
            "labels is None",
        ),
    ]:
        with pytest.raises(PilotageError, match=words):
            call()


def train(objective, generator, discriminator, data, updates):
    parts = (discriminator.network, generator.network)
    adams = [torch.optim.Adam(p.parameters(), lr=2e-3, betas=(0.5, 0.9)) for p in parts]
    random = torch.Generator().manual_seed(5)
    for update, (adam, play) in itertools.product(range(updates), zip(adams, "dg", strict=True)):
        adam.param_groups[0]["lr"] = 2e-3 * (1 - update / updates)
        x = data(random)
        draws = objective.draw(len(x), (2,), random)
        if play == "d":
            terms = objective.discriminator_terms(discriminator, generator, x, None, draws, update)
        else:
            terms = objective.generator_terms(generator, discriminator, x, None, draws)
        adam.zero_grad()
        terms["loss"].mean().backward()
        adam.step()


@pytest.mark.slow
def test_two_steps_learn_two_modes():
    centres = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])

    def data(random):
        rows = torch.randint(2, (128,), generator=random)
        return centres[rows] + 0.1 * torch.randn(128, 2, generator=random)

    steps = FewSteps(2)
    generator, discriminator = networks(steps, hidden=64, fourier=None)
    objective = Adversarial(steps.lams, 4, r1_gamma=0.2)
    train(objective, generator, discriminator, data, 500)
    denoise = latent(generator, SeededNoise(range(1000), (4,)))
    noise = SeededNoise(range(1000, 2000), (2,))
    *_, last = sample(denoise, next(noise), steps.lams, ancestral(v=0), noise=noise)
    distance, nearest = torch.cdist(last.z, centres).min(1)
    good = distance < 0.5
    assert good.float().mean() > 0.7
    assert torch.bincount(nearest[good], minlength=2).min() > 250
