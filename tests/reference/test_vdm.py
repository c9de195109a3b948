"""Our schedules, bound, decoder and sampler against the published VDM, whatever was run.

What was recorded is read off the names: every ``out/…`` tensor is a test of its own, and one that
neither an answer below nor `SKIPPED` recognises fails. There γ is −λ and images are NHWC, which
none of our functions here cares about; data are encoded as 2 (k + ½)/V − 1, our levels with a reach
of 1 − 1/V; the network's output is the recorded ``in/eps_hat``.
"""

import re

import pytest
import torch

from pilotage.conditions import Labels
from pilotage.diffusion import NetworkDenoiser, State, ancestral
from pilotage.diffusion.learned import LinearLam, MonotoneLam, rate
from pilotage.diffusion.logsnr import alpha, diffuse, sigma, tau
from pilotage.networks.embedding import fourier_features, sin_cos_features
from pilotage.objectives.vdm import VDM, VDMDraws, antithetic
from pilotage.objectives.vdm_terms import level_log_probs, reconstruction_term

from .reference import (
    Answers,
    distance,
    each,
    every_folder,
    float32_room,
    float64_room,
    largest,
    state_dict,
)
from .same_network import with_wide_tables

DTYPES = {"f32": torch.float32, "f64": torch.float64}
SKIPPED = {
    "score_unet": "their score network has a layout of its own; our networks are ADM's",
}

recorded = every_folder("vdm")
answers = Answers("vdm", lambda name: name.split("/", 2)[2] if name.startswith("out/") else None)


class Recorded:
    """The recorded inputs in one precision."""

    def __init__(self, facts, tensors, dtype):
        self.facts, self.tensors, self.dtype = facts, tensors, dtype
        self.levels = facts["vocab_size"]
        self.reach = 1 - 1 / self.levels

    def __getitem__(self, name):
        return self.tensors[f"in/{name}"].to(self.dtype)

    @property
    def encoded(self):
        """Our images in [−1, 1], within their reach."""
        return self.reach * (2 * self["images"] / (self.levels - 1) - 1)

    @property
    def denoise(self):
        return NetworkDenoiser(lambda *_: self["eps_hat"])

    def schedule(self, kind):
        config = self.facts["config"]
        if kind == "fixed":
            return LinearLam(-config["gmax"], -config["gmin"])
        found = state_dict(self.tensors, f"params/{kind}")
        params = {name: tensor.to(self.dtype).flatten() for name, tensor in found.items()}
        return (_linear if kind == "learnable_scalar" else _monotone)(params)


def _linear(params):
    return _with_ends(LinearLam(-1.0, 1.0, learned=True), params["b"], params["w"].abs())


def _monotone(params):
    """Their γ̃, whose ends are those that it happens to have, with ours as parameters."""
    assert set(params) == {"l1/kernel", "l1/bias", "l2/kernel", "l2/bias", "l3/kernel"}
    width = len(params["l2/bias"])
    schedule = MonotoneLam(-1.0, 1.0, width).to(params["l1/bias"].dtype)
    schedule.slope.data = params["l1/kernel"][0]
    schedule.gain.data = params["l2/kernel"]
    schedule.shift.data = params["l2/bias"]
    schedule.share.data = params["l3/kernel"]
    start = torch.sigmoid(params["l2/bias"] - params["l2/kernel"].abs())
    low = params["l1/bias"] + (params["l3/kernel"].abs() * (2 * start - 1)).sum() / width
    u = torch.tensor([0.0, 1.0], dtype=low.dtype)
    return _with_ends(schedule, low, schedule._risen(u).diff()[0].detach())


def _with_ends(schedule, gamma_0, rise):
    """γ from gamma_0 to gamma_0 + rise, each (1,) or a scalar."""
    ends = torch.stack([-(gamma_0 + rise).reshape(()), -gamma_0.reshape(())])
    schedule.ends.data = ends
    return schedule


# --- the answers ---------------------------------------------------------------------------------


@answers(r"gamma/(?P<kind>\w+)/grid(?P<derivative>_derivative)?")
def gamma(run, kind, derivative):
    lam, slope = rate(run.schedule(kind), run["t_grid"])
    return -slope if derivative else -lam


@answers(r"loss/(?P<kind>\w+)/T(?P<steps>\d+)/(?P<times>antithetic|given_t)/(?P<part>\w+)")
def loss(run, kind, steps, times, part):
    schedule, x = run.schedule(kind), run.encoded
    u = run["t"] if times == "given_t" else antithetic(run["t0_antithetic"][0], len(x))
    draws = VDMDraws(u, run["eps"], run["eps_0"], torch.zeros(len(x), dtype=torch.bool))
    labels = torch.zeros(len(x), dtype=torch.long)
    objective = VDM(
        schedule,
        Labels(()),
        steps=int(steps) or torch.inf,
        levels=run.levels,
        reach=run.reach,
    )
    terms = objective.terms(run.denoise, x, labels, draws)
    noise_end, data_end = (lam.to(run.dtype) for lam in objective.schedule.limits())
    return {
        "loss_recon": terms["reconstruction"],
        "loss_klz": terms["prior"],
        "loss_diff": terms["diffusion"],
        "bpd": terms["loss"].mean()[None],
        "var_0": torch.sigmoid(-data_end)[None],
        "var_1": torch.sigmoid(-noise_end)[None],
    }[part]


@answers(r"sample/(?P<kind>\w+)/T(?P<steps>\d+)/i(?P<i>\d+)")
def sample_step(run, kind, steps, i, v=0.0):
    """Their step is the ancestral one with the posterior's variance: v = 0."""
    lam_t, lam_s = step_levels(run, kind, steps, i)
    return ancestral(v)(run.denoise, State(run["z_t"], lam_t), lam_s, run["noise_s"]).z


def step_levels(run, kind, steps, i):
    left = int(steps) - int(i)
    u = torch.tensor([left, left - 1], dtype=torch.float64) / int(steps)
    return run.schedule(kind)(u).detach()


@answers(r"encode")
def encode(run):
    return run.encoded


@answers(r"generate_x_z0/(?P<kind>\w+)")
def clean_end(run, kind):
    lam_max = run.schedule(kind).limits()[1].to(run.dtype)
    return diffuse(run.encoded, run["eps_0"], lam_max)


@answers(r"generate_x/(?P<kind>\w+)")
def likeliest(run, kind):
    lam_max = run.schedule(kind).lam_max
    logs = level_log_probs(clean_end(run, kind), lam_max, run.levels, run.reach)
    return logs.argmax(dim=-1).int()


@answers(r"decode_logprobs_g(?P<g>.+)")
def decode(run, g):
    lam = -torch.tensor(float(g), dtype=torch.float64)
    z = alpha(lam) * (run.encoded + torch.exp(-lam / 2) * run["eps_0"])
    return level_log_probs(z[:1, :2, :2], lam, run.levels, run.reach)


@answers(r"logprob_g(?P<g>.+)")
def log_prob(run, g):
    return -reconstruction_term(run.encoded, run["eps_0"], -float(g), run.levels, run.reach)


@answers(r"fourier_(?P<start>-?\d+)_(?P<stop>-?\d+)")
def fourier(run, start, stop):
    """Their stop is not included."""
    x = run["fourier_input"].movedim(-1, 1)
    return fourier_features(x, int(start), int(stop) - 1).movedim(1, -1)


@answers(r"timestep_embedding")
def embedding(run):
    """Their score network is told 1000 t."""
    dim = run.tensors["out/f32/timestep_embedding"].shape[1]
    return sin_cos_features(1000 * run["t"], dim, run.dtype)


# --- beyond the answers --------------------------------------------------------------------------


STEPS = re.compile(r"out/f64/sample/(?P<kind>\w+)/T(?P<steps>\d+)/i(?P<i>\d+)")


@each(
    "vdm",
    lambda found: [name for name in sorted(found[1]) if STEPS.fullmatch(name)],
    "name",
    what="steps",
)
def test_their_step_has_no_other_variance(recorded, name):
    """With the transition's, a step lies √τ (σ_t − σ_s) n away from theirs."""
    run, match = Recorded(*recorded, torch.float64), STEPS.fullmatch(name)
    other, theirs = sample_step(run, **match.groupdict(), v=1.0), recorded[1][name]
    lam_t, lam_s = step_levels(run, **match.groupdict())
    apart = tau(lam_t, lam_s).sqrt() * (sigma(lam_t) - sigma(lam_s)) * run["noise_s"]
    assert largest(apart) > 0
    assert distance(other - theirs, apart) <= 1e-9 * largest(theirs)


def test_antithetic_times_are_as_many_as_examples(recorded):
    """Their arange(0, 1, 1/B) has one too many for these B, says the JSON."""
    for count in recorded[0]["antithetic_arange_wrong_length_for_batch"]:
        u = antithetic(torch.tensor(0.3), count)
        assert len(u) == count
        assert len(u.unique()) == count
        assert ((u >= 0) & (u < 1)).all()


# --- all of them ---------------------------------------------------------------------------------


@answers.each()
def test_answer(recorded, name):
    facts, tensors = recorded
    _, precision, short = name.split("/", 2)
    if short in SKIPPED:
        pytest.skip(SKIPPED[short])
    run, expected = Recorded(facts, tensors, DTYPES[precision]), tensors[name]

    def evaluate():
        return answers.of(name, run).detach()

    ours = evaluate()
    assert ours.dtype == expected.dtype
    if not ours.is_floating_point():
        assert torch.equal(ours, expected)
        return
    if precision == "f64":
        allowed = float64_room(expected) + 10 * distance(ours, with_wide_tables(evaluate))
    else:
        spread = facts["f32_vs_f64_rel_to_max"].get(short, 0) * largest(expected)
        allowed = float32_room(spread, expected)
    if short.endswith("loss_klz"):  # a sum over pixels of numbers near 1 that almost cancel
        allowed += torch.finfo(run.dtype).eps * run["images"][0].numel()
    error = distance(ours, expected)
    assert error <= allowed, f"{error:.3g} is above {allowed:.3g}"
