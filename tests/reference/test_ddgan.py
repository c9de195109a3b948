"""Our adversarial training and its networks against denoising-diffusion-gan's recorded values.

Everything is computed twice: on our own grid of λ, to what its float32 tables allow, and with
those tables put in the place of λ, to 1e-9 in float64 and the rounding of the table of frequencies.
"""

import re
from functools import cache

import pytest
import torch

from pilotage.diffusion.ddgan_levels import SMALLEST_BETA, ddgan_betas, ddgan_lams, ddgan_times
from pilotage.diffusion.logsnr import alpha, sigma, tau
from pilotage.errors import PilotageError
from pilotage.interop.ddgan.tensors import (
    discriminator_pairs,
    generator_pairs,
    load_discriminator,
    load_generator,
)
from pilotage.objectives.gan_losses import Adversarial

from .ddgan_run import Run, Tables, schedule, theirs
from .reference import distance, every_folder, float64_room, largest, state_dict
from .same_network import assert_blind, with_wide_tables

PRECISIONS = {"f32": torch.float32, "f64": torch.float64}
# relative, where the README asks for more room than ten times the measured difference
ROOM = {"generator": 2e-6, "sample_from_model": 2e-6, "D_": 2e-5, "grad": 1e-4, "err": 1e-4}
AFTER_ADAM = re.compile(r"D_after_step|after_D_step")  # whose first step is a sign


recorded = every_folder("ddgan")


def room(facts, name, reference):
    measured = facts["f32_vs_f64"].get(name, {}).get("max_abs", 0.0)
    relative = max([1e-6, *(size for start, size in ROOM.items() if name.startswith(start))])
    return 10 * measured + relative * largest(reference)


def assert_outputs(found, tensors, precision, tolerance):
    names = state_dict(tensors, f"out/{precision}")
    assert names.keys() <= found.keys(), "every recorded output is compared"
    far = {}
    for name, reference in names.items():
        apart = distance(found[name].detach().double(), reference.double())
        allowed = tolerance(name, reference.double())
        if not apart <= allowed:
            far[name] = (apart, allowed)
    assert not far


@pytest.fixture(scope="module")
def outputs(recorded):
    """What ours are in a precision, each run once."""
    return cache(lambda precision, objective: Run(*recorded, precision, objective).outputs())


@pytest.mark.parametrize("objective", [Adversarial, Tables])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_outputs(recorded, outputs, precision, objective):
    facts, tensors = recorded
    found = outputs(PRECISIONS[precision], objective)
    assert_outputs(found, tensors, precision, lambda name, r: room(facts, name, r))


def test_float64_with_the_recorded_tables(recorded, outputs):
    facts, tensors = recorded

    def evaluate():
        return Run(facts, tensors, torch.float64, Tables).outputs()

    found, wide = outputs(torch.float64, Tables), with_wide_tables(evaluate)

    def tolerance(name, reference):
        table = 10 * distance(found[name].detach(), wide[name].detach())
        return (10 if AFTER_ADAM.search(name) else 1) * float64_room(reference) + table

    assert_outputs(found, tensors, "f64", tolerance)


def from_lams(lams):
    """The tables of the published code, from our λ."""
    t = lams.flip(0)
    s = torch.cat([torch.tensor([torch.inf]).double(), t[:-1]])
    bar, bar_s = torch.sigmoid(t), torch.sigmoid(s)
    variance = tau(t, s) * sigma(s) ** 2
    step = alpha(t) / alpha(s)
    first = torch.tensor([SMALLEST_BETA]).double()
    start = torch.ones(1).double()
    scales = torch.cat([(1 - first).sqrt(), step])
    noises = torch.cat([first.sqrt(), tau(t, s).sqrt() * sigma(t)])
    return {
        "betas_with_first": noises**2,
        "diffusion/sigmas": noises,
        "diffusion/a_s": scales,
        "diffusion/a_s_cum": torch.cat([start, alpha(t)]),
        "diffusion/sigmas_cum": torch.cat([0 * start, sigma(t)]),
        "diffusion/a_s_prev": torch.cat([scales[:-1], start]),
        "posterior/betas": noises[1:] ** 2,
        "posterior/alphas": step**2,
        "posterior/alphas_cumprod": bar,
        "posterior/alphas_cumprod_prev": bar_s,
        "posterior/posterior_variance": variance,
        "posterior/sqrt_alphas_cumprod": bar.sqrt(),
        "posterior/sqrt_recip_alphas_cumprod": bar.rsqrt(),
        "posterior/sqrt_recipm1_alphas_cumprod": torch.exp(-t / 2),
        "posterior/posterior_mean_coef1": tau(t, s) * alpha(s),
        "posterior/posterior_mean_coef2": torch.exp(t - s) * alpha(s) / alpha(t),
        "posterior/posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
    }


def test_schedule(recorded):
    facts, tensors = recorded
    steps = schedule(facts)
    found = {"time": ddgan_times(steps.count), **from_lams(steps.lams)}
    names = {n: t for n, t in state_dict(tensors, "schedule").items() if "other/" not in n}
    assert names.keys() <= found.keys(), "every recorded table is compared"
    relative = 2e-6 + 3e-7 / found["posterior/betas"].min().item()  # 1 − ᾱ in float32
    for name, reference in names.items():
        torch.testing.assert_close(found[name], reference.double(), rtol=relative, atol=1e-7)


def test_other_schedules(recorded):
    facts, tensors = recorded
    names = state_dict(tensors, "schedule/other")
    for name, reference in names.items():
        count, kind = re.fullmatch(r"T(\d+)_(vp|geometric)/betas", name).groups()
        geometric = kind == "geometric"
        rates = (facts["beta_min"], facts["beta_max"])
        rates = geometric_rates(reference) if geometric else rates
        betas = ddgan_betas(int(count), *rates, geometric=geometric)
        torch.testing.assert_close(betas, reference[1:], rtol=1e-6, atol=0)
        lams = ddgan_lams(int(count), *rates, geometric=geometric)
        alphas = torch.cat([torch.ones(1), torch.cumprod(1 - reference[1:].double(), 0)])
        torch.testing.assert_close(torch.sigmoid(lams.flip(0)), alphas[1:], rtol=1e-5, atol=0)


def geometric_rates(betas):
    """The two rates, to two digits, of a geometric table, which the JSON does not tell."""
    kept = torch.cumprod(1 - betas[1:].double(), 0).tolist()
    start = (2 * kept[0] - 1 - kept[1]) / (kept[0] ** 2 - kept[1])
    low, high = 1 - start, 1 - kept[-1] * start
    growth = (high / low) ** (1 / (1 - 1e-3))
    return float(f"{high / growth:.1g}"), float(f"{high:.2g}")


def test_the_generator_reacts_to_the_same_parameters(recorded):
    facts, tensors = recorded
    run = Run(facts, tensors, torch.float64)
    run.generator_part("before")
    assert_blind(sizes(run.g, generator_pairs), facts["params_output_is_blind_to"]["G"], run.g)


def test_the_discriminator_reacts_to_the_same_parameters(recorded):
    facts, tensors = recorded
    run = Run(facts, tensors, torch.float64)
    run.d(run.get("x_0"), tensors["in/t"], run.get("noise_D_xt")).sum().backward()
    assert_blind(sizes(run.d, discriminator_pairs), facts["params_output_is_blind_to"]["D"], run.d)


def sizes(network, pairs):
    gradients = theirs(network, pairs, lambda p: p.grad)
    return {name: largest(gradient) for name, gradient in gradients.items()}


# a tensor that each of the networks has, whatever its settings
NETWORKS = {
    "netG": (load_generator, "config_G", "z_transform.1.bias"),
    "netD": (load_discriminator, "config_D", "end_linear.bias"),
    "netD_large": (load_discriminator, "config_D_large", "conv6.skip.0.weight"),
}


@pytest.mark.parametrize("prefix", NETWORKS)
def test_tensors_that_do_not_fit_are_listed(recorded, prefix):
    facts, tensors = recorded
    load, config, gone = NETWORKS[prefix]
    weights = {f"module.{n}": t for n, t in state_dict(tensors, prefix).items()}
    load(weights, facts[config])
    del weights[f"module.{gone}"]
    with pytest.raises(PilotageError) as caught:
        load(weights | {"module.surplus": torch.zeros(1)}, facts[config])
    assert f"missing: {gone};" in str(caught.value)
    assert "left over: surplus." in str(caught.value)


def test_what_the_tensors_of_the_generator_tell(recorded):
    facts, tensors = recorded
    told = ("num_channels_dae", "num_channels", "nz", "z_emb_dim", "n_mlp", "conditional")
    config = {name: v for name, v in facts["config_G"].items() if name not in told}
    weights = state_dict(tensors, "netG")
    whole = load_generator(weights, facts["config_G"])
    assert load_generator(weights, config).settings == whole.settings


@pytest.mark.parametrize(
    ("prefix", "key"), [("netD", "config_D"), ("netD_large", "config_D_large")]
)
def test_what_the_tensors_of_a_discriminator_tell(recorded, prefix, key):
    facts, tensors = recorded
    weights, act = state_dict(tensors, prefix), facts[key].get("act", "LeakyReLU(0.2)")
    given = load_discriminator(weights, facts[key]).settings
    assert load_discriminator(weights, {"act": act}).settings == given


def test_wrong_arguments_are_named(recorded):
    facts, tensors = recorded
    weights, config = state_dict(tensors, "netG"), facts["config_G"]
    without = {name: v for name, v in config.items() if name != "ch_mult"}
    for wrong, words in (
        (without, "ch_mult is None"),
        ({**config, "attn_resolution": 8}, "config has attn_resolution"),
        ({**config, "resblock_type": "vgg"}, "resblock_type is 'vgg'"),
        ({**config, "nz": config["nz"] + 1}, "z_transform.1.weight"),
    ):
        with pytest.raises(PilotageError, match=words):
            load_generator(weights, wrong)
    with pytest.raises(PilotageError, match="act is 'GELU'"):
        load_discriminator(state_dict(tensors, "netD"), {"act": "GELU"})
    small = {
        n: t for n, t in state_dict(tensors, "netD").items() if n[:5] not in ("conv5", "conv6")
    }
    with pytest.raises(PilotageError, match="missing: conv5"):
        load_discriminator(small, size="large")
