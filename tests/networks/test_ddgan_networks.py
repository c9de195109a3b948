"""The networks of denoising diffusion GANs: shapes, what they react to, and what they refuse."""

import itertools
import json

import pytest
import torch

from pilotage.errors import PilotageError
from pilotage.networks.discriminator import Discriminator, DiscriminatorPlan, stddev_map
from pilotage.networks.embedding import sin_cos_features
from pilotage.networks.latent_unet import LatentUNet, LatentUNetPlan, pixel_norm
from pilotage.networks.mlp import (
    VectorDiscriminator,
    VectorDiscriminatorPlan,
    VectorGenerator,
    VectorGeneratorPlan,
)
from pilotage.networks.ncsnpp import NCSNpp
from pilotage.networks.ncsnpp_plan import NCSNppPlan

IMAGE = {
    "in_channels": 3,
    "channels": 8,
    "channel_mult": (1, 2, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (2,),
    "latent_dim": 6,
    "latent_width": 12,
}
UNET = {
    "in_channels": 3,
    "channels": 8,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (2,),
    "head_channels": 8,
}


def perturbed(network, size=0.2):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def ncsnpp(**settings):
    torch.manual_seed(0)
    return perturbed(NCSNpp(NCSNppPlan(**{**IMAGE, **settings})))


def latent_unet(**settings):
    torch.manual_seed(0)
    return perturbed(LatentUNet(LatentUNetPlan(**{**UNET, **settings}, latent_dim=6)))


def vector_generator(**settings):
    torch.manual_seed(0)
    plan = VectorGeneratorPlan(dim=2, hidden=8, latent_dim=6, **settings)
    return perturbed(VectorGenerator(plan))


def vector_discriminator(**settings):
    return perturbed(VectorDiscriminator(VectorDiscriminatorPlan(dim=2, hidden=8, **settings)))


def discriminator(size="small", **settings):
    torch.manual_seed(0)
    plan = DiscriminatorPlan(channels=4, size=size, time_width=8, **settings)
    return perturbed(Discriminator(plan))


GENERATORS = {
    "ncsnpp": (ncsnpp, (3, 8, 8)),
    "latent_unet": (latent_unet, (3, 8, 8)),
    "vector": (vector_generator, (2,)),
    "vector_without_features": (lambda **s: vector_generator(fourier=None, **s), (2,)),
}
JUDGES = {
    "small": (discriminator, (3, 8, 8)),
    "large": (lambda **s: discriminator("large", **s), (3, 64, 64)),
    "vector": (vector_discriminator, (2,)),
}


def batch(shape, count=2):
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(count, *shape, generator=generator)
    return z, torch.arange(count) % 4, torch.randn(count, 6, generator=generator)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("size", [(8, 8), (28, 12), (4, 20)])
def test_any_size_that_halves(channels, size):
    z, time, latent = batch((channels, *size))
    for build in (ncsnpp, latent_unet):
        z.requires_grad_()
        x = build(in_channels=channels)(z, time, latent)
        assert x.shape == z.shape
        assert (x.abs() < 1).all(), "it ends in tanh"
        (gradient,) = torch.autograd.grad(x.square().sum(), z)
        assert gradient.abs().min() > 0, "a pixel without effect"


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("size", [(8, 8), (28, 13), (9, 11)])
@pytest.mark.parametrize("count", [1, 2, 6, 8])
def test_any_size_from_eight_pixels_is_judged(channels, size, count):
    z, time, _ = batch((channels, *size), count)
    judge = discriminator(in_channels=channels)
    x = z.roll(1, 2)
    logits = judge(x, time, z)
    assert logits.shape == (count,)
    assert logits.unique().numel() == count
    # the groups of the minibatch statistic are those of rows i, i + B/g, ...: a roll keeps them
    rolled = judge(x.roll(1, 0), time.roll(1), z.roll(1, 0))
    torch.testing.assert_close(rolled, logits.roll(1))


@pytest.mark.parametrize("block", ["biggan", "biggan_one", "ddpm"])
@pytest.mark.parametrize("fir", [True, False])
def test_every_variant(block, fir):
    ways = (("none", "output_skip", "residual"), ("none", "input_skip", "residual"))
    for (up, down), time in itertools.product(
        itertools.product(*ways), ("sinusoidal", "fourier", "none")
    ):
        settings = {"block": block, "fir": fir, "progressive": up, "progressive_input": down}
        for combine in ("sum", "cat") if down == "input_skip" else ("sum",):
            network = ncsnpp(**settings, progressive_combine=combine, time_features=time)
            z, times, latent = batch((3, 8, 4))
            x = network(z.requires_grad_(), times + 1, latent.requires_grad_())
            case = (settings, combine, time)
            assert (x.abs() < 1).all(), case
            for gradient in torch.autograd.grad(x.square().sum(), (z, latent)):
                assert gradient.abs().min() > 0, case
            same = torch.equal(network(z, times + 9, latent), x)
            assert same == (time == "none"), case


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("classes", [None, 3])
def test_a_generator_reacts_to_all_it_is_given(name, classes):
    build, shape = GENERATORS[name]
    generator = build(num_classes=classes)
    z, time, latent = batch(shape)
    given = [z, time, latent] + ([torch.tensor([0, 2])] if classes else [])
    others = [z + 0.1, time + 1, latent + torch.randn(6), torch.tensor([1, 1])]
    x = generator(*given)
    for place, other in enumerate(others[: len(given)]):
        changed = generator(*given[:place], other, *given[place + 1 :])
        assert (x - changed).flatten(1).abs().amax(1).min() > 1e-4, place
    again = torch.cat([generator(*(g[i : i + 1] for g in given)) for i in range(2)])
    torch.testing.assert_close(x, again, msg="an example does not depend on its neighbours")


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("classes", [None, 3])
def test_a_discriminator_reacts_to_all_it_is_given(name, classes):
    build, shape = JUDGES[name]
    judge = build(num_classes=classes)
    x, time, _ = batch(shape)
    given = [x, time, x.flip(0)] + ([torch.tensor([0, 2])] if classes else [])
    others = [x + 0.3 * x.square(), time + 1, x.roll(1, 1), torch.tensor([1, 1])]
    logits = judge(*given)
    for place, other in enumerate(others[: len(given)]):
        changed = judge(*given[:place], other, *given[place + 1 :])
        assert (logits - changed).abs().min() > 1e-5, place


@pytest.mark.parametrize("name", GENERATORS)
def test_every_parameter_of_a_generator_is_trained(name):
    build, shape = GENERATORS[name]
    generator = build(num_classes=3)
    z, time, latent = batch(shape)
    latent.requires_grad_()
    generator(z, time, latent, torch.tensor([0, 2])).square().sum().backward()
    assert latent.grad.abs().amax(1).min() > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in generator.parameters())


@pytest.mark.parametrize("name", JUDGES)
def test_a_gradient_penalty_reaches_every_parameter(name):
    build, shape = JUDGES[name]
    judge = build(num_classes=3)
    x, time, _ = batch(shape)
    x.requires_grad_()
    logits = judge(x, time, x.detach().flip(0), torch.tensor([0, 2]))
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    (gradient.square().sum() + logits.sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in judge.parameters())
    assert any(p.grad.abs().max() > 0 for p in judge.parameters())


def test_the_settings_rebuild_the_networks():
    for network in (
        *(build(num_classes=3) for build, _ in GENERATORS.values()),
        *(build(num_classes=3) for build, _ in JUDGES.values()),
    ):
        plan = type(network.plan)(**json.loads(json.dumps(network.settings)))
        twin = type(network)(plan)
        twin.load_state_dict(network.state_dict())
        assert twin.settings == network.settings


def test_a_latent_unet_with_a_null_class():
    unet = latent_unet(num_classes=3, null_class=True)
    z, time, latent = batch((3, 8, 8))
    assert unet.null == 3
    null = torch.tensor([3, 3])
    torch.testing.assert_close(unet(z, time, latent), unet(z, time, latent, null))


def test_a_latent_unet_in_half_precision_keeps_its_classes():
    unet = latent_unet(num_classes=600).bfloat16()
    z, time, latent = batch((3, 8, 8))
    z, latent = z.bfloat16(), latent.bfloat16()
    apart = [unet(z, time, latent, torch.tensor([n, n])) for n in (512, 513)]
    assert not torch.equal(*apart)


def test_pixel_norm():
    latent = torch.randn(4, 7) * 30
    torch.testing.assert_close(pixel_norm(latent).square().mean(1), torch.ones(4))
    assert torch.equal(pixel_norm(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_features_of_the_time():
    features = sin_cos_features(torch.tensor([0.0, 2.0]), 9)
    assert features.shape == (2, 9)
    assert torch.equal(features[0], torch.tensor([0.0] * 4 + [1.0] * 4 + [0.0]))
    expected = torch.tensor([2.0, 2e-4]).sin()
    torch.testing.assert_close(features[1, [0, 3]], expected, msg="from 1 to 1/10000")


def test_deviation_over_groups():
    h = torch.randn(8, 3, 2, 2)
    found = stddev_map(h)
    assert found.shape == (8, 1, 2, 2)
    expected = h[[1, 3, 5, 7]].std(0, unbiased=False).mean()  # 8 images in groups of 4: every other
    torch.testing.assert_close(found[1::2], expected.expand(4, 1, 2, 2))
    assert stddev_map(h[:6]).unique().numel() == 2, "two groups of three"
    torch.testing.assert_close(stddev_map(h[:5]), torch.full((5, 1, 2, 2), 1e-4))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"channel_mult": ()}, "channel_mult is"),
        ({"channel_mult": (1.5,)}, "channel_mult is 1.5"),
        ({"block": "vgg"}, "block is 'vgg'"),
        ({"progressive": "yes"}, "progressive is 'yes'"),
        ({"progressive_combine": "mean"}, "progressive_combine is 'mean'"),
        ({"fir_kernel": (1, -1)}, "fir_kernel is"),
        ({"fir_kernel": "1331"}, "fir_kernel is '1331'"),
        ({"dropout": 1}, "dropout is 1"),
        ({"latent_dim": 0}, "latent_dim is 0"),
        ({"latent_layers": -1}, "latent_layers is -1"),
        ({"channels": 2}, "channels is 2: it must be at least 4"),
        ({"num_classes": 3, "time_features": "none"}, "num_classes is 3 but time_features"),
    ],
)
def test_wrong_settings_of_a_generator(change, words):
    with pytest.raises(PilotageError, match=words):
        NCSNppPlan(**{**IMAGE, **change})


def test_wrong_input_is_refused():
    z, time, latent = batch((3, 8, 8))
    label = torch.tensor([0, 1])
    for call, words in [
        (lambda: ncsnpp()(z[..., :6], time, latent), "must be multiples of 4"),
        (lambda: ncsnpp()(z, time, latent[:, :4]), r"latent has shape \(2, 4\)"),
        (lambda: ncsnpp()(z, time, latent, label), "cond is given"),
        (lambda: ncsnpp(time_features="none")(z, time, latent, label), "cond is given"),
        (lambda: ncsnpp(num_classes=3)(z, time, latent), "cond is None"),
        (lambda: latent_unet()(z, time, latent[:1]), r"latent has shape \(1, 6\)"),
        (lambda: latent_unet(num_classes=3)(z, time, latent), "cond is None"),
        (lambda: latent_unet(num_classes=3)(z, time, latent, label[:1]), r"cond has shape \(1,\)"),
        (lambda: LatentUNetPlan(**UNET, learned_variance=True), "learned_variance is True"),
        (lambda: discriminator()(z[..., :7], time, z[..., :7]), "must be at least 8"),
        (lambda: discriminator()(z, time, z[:1]), "x has shape"),
        (lambda: discriminator()(z, time, z, label), "cond is given"),
        (lambda: discriminator(num_classes=3)(z, time, z), "cond is None"),
        (lambda: DiscriminatorPlan(size="medium"), "size is 'medium'"),
        (lambda: DiscriminatorPlan(time_width=3), "time_width is 3: it must be at least 4"),
        (lambda: vector_generator()(z, time, latent), "z has shape"),
        (lambda: vector_discriminator()(latent[:, :2], time, latent), "z has shape"),
        (lambda: VectorGeneratorPlan(dim=0), "dim is 0"),
        (lambda: VectorGeneratorPlan(dim=2, latent_dim=0), "latent_dim is 0"),
        (lambda: VectorDiscriminatorPlan(dim=2, fourier=(2, 1)), r"fourier is \(2, 1\)"),
    ]:
        with pytest.raises(PilotageError, match=words):
            call()
