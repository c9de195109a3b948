"""One recorded iteration of denoising-diffusion-gan, computed by our code."""

import itertools

import torch

from pilotage.diffusion import ancestral, sample
from pilotage.diffusion.ddgan_levels import FewSteps
from pilotage.diffusion.latent import NetworkDiscriminator, NetworkGenerator, latent
from pilotage.interop.ddgan.tensors import (
    discriminator_pairs,
    generator_pairs,
    load_discriminator,
    load_generator,
)
from pilotage.objectives.gan_losses import Adversarial, AdversarialDraws, Pair

from .reference import state_dict


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
        return to_x * x + to_z * pair.z_t + noisy * torch.exp(0.5 * log_var.to(x)) * draws.noise


class Run:
    """One recorded iteration, computed by our code."""

    def __init__(self, facts, tensors, dtype, objective=Adversarial):
        self.facts, self.tensors, self.dtype = facts, tensors, dtype
        self.steps = schedule(facts)
        self.g = load_generator(state_dict(tensors, "netG"), facts["config_G"]).to(dtype)
        self.d = load_discriminator(state_dict(tensors, "netD"), facts["config_D"]).to(dtype)
        self.generator = NetworkGenerator(self.g, "x", self.steps.time)
        self.discriminator = NetworkDiscriminator(self.d, self.steps.time)
        self.objective = objective(
            self.steps.lams, self.g.plan.latent_dim, r1_gamma=facts["r1_gamma"]
        )
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
        if "in/large_x" in self.tensors and "config_D_large" in self.facts:
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
    found = {pair.theirs: (pair.export, get(parameters[pair.ours])) for pair in pairs(network)}
    return {name: export(tensor).detach().clone() for name, (export, tensor) in found.items()}


def norms(gradients, order):
    """A layer that a network never uses has no gradient."""
    return torch.stack([gradients.get(name, torch.zeros(1)).norm().double() for name in order])
