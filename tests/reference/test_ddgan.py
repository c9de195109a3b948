"""Our adversarial training and its networks against denoising-diffusion-gan's recorded values.

Everything is computed twice: on our own grid of λ, to what its float32 tables allow, and with
those tables put in the place of λ, to 1e-9 in float64.
"""

import itertools
import re

import pytest
import torch

from pilotage.diffusion import ancestral, sample
from pilotage.diffusion.ddgan_levels import (
    SMALLEST_BETA,
    FewSteps,
    ddgan_betas,
    ddgan_lams,
    ddgan_times,
)
from pilotage.diffusion.latent import NetworkDiscriminator, NetworkGenerator, latent
from pilotage.diffusion.logsnr import alpha, sigma, tau
from pilotage.errors import PilotageError
from pilotage.interop.ddgan import load_discriminator, load_generator
from pilotage.interop.ddgan_names import discriminator_pairs, generator_pairs
from pilotage.objectives.adversarial import Adversarial, AdversarialDraws, Pair

from .reference import case, state_dict

PRECISIONS = {"f32": torch.float32, "f64": torch.float64}
# relative, where the README asks for more room than ten times the measured difference
ROOM = {"generator": 2e-6, "sample_from_model": 2e-6, "D_": 2e-5, "grad": 1e-4, "err": 1e-4}
AFTER_ADAM = re.compile(r"D_after_step|after_D_step")  # whose first step is a sign


@pytest.fixture(scope="module")
def recorded():
    return case("ddgan")


def schedule(facts):
    rates = (facts["beta_min"], facts["beta_max"], facts.get("use_geometric", False))
    return FewSteps(facts["num_timesteps"], *rates)


class Tables(Adversarial):
    """The objective with the recorded tables in the place of λ."""

    def using(self, tensors):
        object.__setattr__(self, "tables", state_dict(tensors, "schedule"))
        return self

    def row(self, name, index):
        return self.tables[name][index][:, None, None, None]

    def pair(self, x, draws):
        t = len(self.lams) - 1 - draws.level
        a_cum, s_cum = (self.row(f"diffusion/{n}_cum", t) for n in ("a_s", "sigmas"))
        z_s = a_cum * x + s_cum * draws.eps_s
        a, s = (self.row(f"diffusion/{name}", t + 1) for name in ("a_s", "sigmas"))
        lams = torch.cat([self.lams, torch.tensor([torch.inf])])
        lam_t, lam_s = lams[draws.level], lams[draws.level + 1]
        return Pair(z_s, a * z_s + s * draws.eps_t, lam_s.to(x), lam_t.to(x))

    def generated(self, generator, pair, cond, draws):
        t = len(self.lams) - 1 - draws.level
        x = generator(pair.z_t, pair.lam_t, cond, draws.latent).x
        to_x, to_z, log_var = (
            self.row(f"posterior/posterior_{name}", t)
            for name in ("mean_coef1", "mean_coef2", "log_variance_clipped")
        )
        noisy = (t > 0).float()[:, None, None, None]
        return to_x * x + to_z * pair.z_t + noisy * torch.exp(0.5 * log_var) * draws.noise


class Run:
    """One recorded iteration, computed by our code."""

    def __init__(self, facts, tensors, dtype, objective=Adversarial):
        self.facts, self.tensors, self.dtype = facts, tensors, dtype
        self.steps = schedule(facts)
        self.g = load_generator(state_dict(tensors, "netG"), facts["config_G"]).to(dtype)
        weights, config = state_dict(tensors, "netD"), facts["config_D"]
        self.d = load_discriminator(weights, config, "small").to(dtype)
        self.generator = NetworkGenerator(self.g, "x", self.steps.time)
        self.discriminator = NetworkDiscriminator(self.d, self.steps.time)
        self.objective = objective(self.steps.lams, self.g.plan.latent_dim)
        object.__setattr__(self.objective, "r1_gamma", facts["r1_gamma"])
        if objective is Tables:
            self.objective.using(tensors)

    def get(self, name):
        return self.tensors[f"in/{name}"].to(self.dtype)

    def draws(self, of):
        times = self.tensors["in/t" if of == "D" else "in/t_G"]
        noise = (self.get(f"noise_{of}_{name}") for name in ("xt", "xtp1"))
        level = len(self.steps.lams) - 1 - times
        return AdversarialDraws(
            level, *noise, self.get(f"z_{of}"), self.get(f"noise_{of}_posterior")
        )

    def outputs(self):
        return {**self.once(), **self.iteration(), "sample_from_model": self.sampled()}

    def once(self):
        x, draws = self.get("x_0"), self.draws("D")
        pair = self.objective.pair(x, draws)
        z_s = pair.z_s.clone().requires_grad_()
        real = self.discriminator(z_s, pair.lam_t, pair.z_t)
        (gradient,) = torch.autograd.grad(real.sum(), z_s)
        made = self.objective.generated(self.generator, pair, None, draws)
        found = {
            "q_pairs_x_t": pair.z_s,
            "q_pairs_x_tp1": pair.z_t,
            "z_embedding": self.g.latent(draws.latent),
            "generator": self.generator(pair.z_t, pair.lam_t, None, draws.latent).x,
            "posterior_sample": made,
            "x_pos_sample": made,
            "D_real": real[:, None],
            "grad_real": gradient,
        }
        if "in/large_x" in self.tensors:
            weights, config = state_dict(self.tensors, "netD_large"), self.facts["config_D_large"]
            large = load_discriminator(weights, config, "large").to(self.dtype)
            times = self.tensors["in/large_t"]
            found["D_large"] = large(self.get("large_x"), times, self.get("large_x_t"))[:, None]
        return found

    def iteration(self):
        terms = self.objective.discriminator_terms(
            self.discriminator, self.generator, self.get("x_0"), None, self.draws("D")
        )
        found = {
            "D_real_logits": terms["real_logit"],
            "D_fake_logits": terms["fake_logit"],
            "errD_real": terms["real"].mean()[None],
            "errD_fake": terms["fake"].mean()[None],
            "grad_penalty": terms["r1"].mean()[None],
            **self.generator_part("before"),
        }
        adam = torch.optim.Adam(
            self.d.parameters(), lr=self.facts["lr_d"], betas=tuple(self.facts["adam_betas"])
        )
        adam.zero_grad()
        terms["loss"].mean().backward()
        gradients = theirs(self.d, discriminator_pairs, lambda p: p.grad)
        found |= {f"gradD.{name}": gradient for name, gradient in gradients.items()}
        found["gradD_norms"] = norms(gradients, self.facts["gradD_norms_order"])
        adam.step()
        after = theirs(self.d, discriminator_pairs, lambda p: p)
        found |= {f"D_after_step.{name}": parameter for name, parameter in after.items()}
        return found | self.generator_part("after")

    def generator_part(self, when):
        self.g.zero_grad()
        terms = self.objective.generator_terms(
            self.generator, self.discriminator, self.get("x_0"), None, self.draws("G")
        )
        terms["loss"].mean().backward()
        gradients = theirs(self.g, generator_pairs, lambda p: p.grad)
        return {
            f"errG_{when}_D_step": terms["loss"].mean()[None],
            f"G_logits_{when}_D_step": terms["fake_logit"],
            f"gradG_norms_{when}_D_step": norms(gradients, self.facts["gradG_norms_order"]),
        }

    def sampled(self):
        names = ("noise_D_posterior", "noise_G_posterior", "noise_G_xtp1", "noise_G_xt")
        noises = itertools.cycle([self.get(name) for name in names])
        latents = itertools.cycle([self.get("z_D"), self.get("z_G")])
        z, lams = self.get("noise_D_xtp1"), self.steps.lams
        if type(self.objective) is Adversarial:
            denoise = latent(self.generator, latents)
            *_, last = sample(denoise, z, lams, ancestral(v=0), noise=noises)
            return last.z
        for level, lam in enumerate(lams):
            lam = lam.to(self.dtype).expand(len(z))
            rows = torch.full((len(z),), level)
            draws = AdversarialDraws(rows, z, z, next(latents), next(noises))
            z = self.objective.generated(self.generator, Pair(z, z, lam, lam), None, draws).detach()
        return z


def theirs(network, pairs, get):
    """Tensors of our parameters, under their names and in their layout."""
    parameters = dict(network.named_parameters())
    found = {pair.adm: (pair.export, get(parameters[pair.ours])) for pair in pairs(network)}
    return {name: export(tensor).detach().clone() for name, (export, tensor) in found.items()}


def norms(gradients, order):
    """A layer that a network never uses has no gradient."""
    return torch.stack([gradients.get(name, torch.zeros(1)).norm().double() for name in order])


def room(facts, name, reference):
    measured = facts["f32_vs_f64"].get(name, {}).get("max_abs", 0.0)
    relative = max([1e-6, *(size for start, size in ROOM.items() if name.startswith(start))])
    return 10 * measured + relative * reference.abs().max().item()


def assert_outputs(found, tensors, precision, tolerance):
    names = state_dict(tensors, f"out/{precision}")
    assert names
    assert names.keys() <= found.keys(), "every recorded output is compared"
    far = {}
    for name, reference in names.items():
        ours = found[name].detach().double()
        assert ours.shape == reference.shape, name
        distance = (ours - reference.double()).abs().max().item()
        if not distance <= tolerance(name, reference.double()):
            far[name] = (distance, tolerance(name, reference.double()))
    assert not far


@pytest.mark.parametrize("objective", [Adversarial, Tables])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_outputs(recorded, precision, objective):
    facts, tensors = recorded
    found = Run(facts, tensors, PRECISIONS[precision], objective).outputs()
    assert_outputs(found, tensors, precision, lambda name, r: room(facts, name, r))


def test_float64_with_the_recorded_tables(recorded):
    facts, tensors = recorded

    def tolerance(name, reference):
        relative = 1e-8 if AFTER_ADAM.search(name) else 1e-9
        return relative * reference.abs().max().item()

    found = Run(facts, tensors, torch.float64, Tables).outputs()
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
    assert names.keys() == found.keys()
    relative = 2e-6 + 3e-7 / found["posterior/betas"].min().item()  # 1 − ᾱ in float32
    for name, reference in names.items():
        torch.testing.assert_close(found[name], reference.double(), rtol=relative, atol=1e-7)


def test_other_schedules(recorded):
    facts, tensors = recorded
    names = state_dict(tensors, "schedule/other")
    for name, reference in names.items():
        count, kind = re.fullmatch(r"T(\d+)_(vp|geometric)/betas", name).groups()
        rates = geometric_rates(reference) if kind == "geometric" else (0.1, 20.0)
        rates = (facts["beta_min"], facts["beta_max"]) if kind == "vp" else rates
        betas = ddgan_betas(int(count), *rates, geometric=kind == "geometric")
        torch.testing.assert_close(betas, reference[1:], rtol=1e-6, atol=0)
        lams = ddgan_lams(int(count), *rates, geometric=kind == "geometric")
        alphas = torch.cat([torch.ones(1), torch.cumprod(1 - reference[1:].double(), 0)])
        torch.testing.assert_close(torch.sigmoid(lams.flip(0)), alphas[1:], rtol=1e-5, atol=0)


def geometric_rates(betas):
    """The two rates, to two digits, of a geometric table, which the JSON does not tell."""
    kept = torch.cumprod(1 - betas[1:].double(), 0).tolist()
    start = (2 * kept[0] - 1 - kept[1]) / (kept[0] ** 2 - kept[1])
    low, high = 1 - start, 1 - kept[-1] * start
    growth = (high / low) ** (1 / (1 - 1e-3))
    return float(f"{high / growth:.1g}"), float(f"{high:.2g}")


def test_the_networks_react_to_the_same_parameters(recorded):
    facts, tensors = recorded
    run = Run(facts, tensors, torch.float64)
    run.generator_part("before")
    run.d.zero_grad()
    x, times = run.get("x_0"), tensors["in/t"]
    run.d(x, times, run.get("noise_D_xt")).sum().backward()
    for network, pairs, key in ((run.g, generator_pairs, "G"), (run.d, discriminator_pairs, "D")):
        sizes = {
            n: g.abs().max().item() for n, g in theirs(network, pairs, lambda p: p.grad).items()
        }
        blind = {name for name, size in sizes.items() if size <= 1e-10 * max(sizes.values())}
        assert blind == set(facts["params_output_is_blind_to"][key]), key


def test_tensors_that_do_not_fit_are_listed(recorded):
    facts, tensors = recorded
    for prefix, load, config, gone in (
        ("netG", load_generator, facts["config_G"], "z_transform.1.bias"),
        ("netD", load_discriminator, facts["config_D"], "end_linear.bias"),
        ("netD_large", load_discriminator, facts["config_D_large"], "conv6.skip.0.weight"),
    ):
        weights = {f"module.{n}": t for n, t in state_dict(tensors, prefix).items()}
        load(weights, config)
        del weights[f"module.{gone}"]
        with pytest.raises(PilotageError) as caught:
            load(weights | {"module.surplus": torch.zeros(1)}, config)
        assert f"missing: {gone};" in str(caught.value)
        assert "left over: surplus." in str(caught.value)


def test_what_the_tensors_tell(recorded):
    facts, tensors = recorded
    told = ("num_channels_dae", "num_channels", "nz", "z_emb_dim", "n_mlp", "conditional")
    config = {name: v for name, v in facts["config_G"].items() if name not in told}
    whole = load_generator(state_dict(tensors, "netG"), facts["config_G"])
    assert load_generator(state_dict(tensors, "netG"), config).settings == whole.settings
    for prefix, key in (("netD", "config_D"), ("netD_large", "config_D_large")):
        weights, act = state_dict(tensors, prefix), facts[key].get("act", "LeakyReLU(0.2)")
        given = load_discriminator(weights, facts[key]).settings
        assert load_discriminator(weights, {"act": act}).settings == given


def test_wrong_arguments_are_named(recorded):
    facts, tensors = recorded
    weights, config = state_dict(tensors, "netG"), facts["config_G"]
    without = {name: v for name, v in config.items() if name != "ch_mult"}
    for wrong, words in (
        (without, "ch_mult is missing"),
        ({**config, "attn_resolution": 8}, "config has attn_resolution"),
        ({**config, "resblock_type": "vgg"}, "resblock_type is 'vgg'"),
        ({**config, "nz": config["nz"] + 1}, "z_transform.1.weight"),
    ):
        with pytest.raises(PilotageError, match=words):
            load_generator(weights, wrong)
    with pytest.raises(PilotageError, match="act is 'GELU'"):
        load_discriminator(state_dict(tensors, "netD"), {"act": "GELU"})
    with pytest.raises(PilotageError, match="missing: conv5"):
        load_discriminator(state_dict(tensors, "netD"), size="large")
