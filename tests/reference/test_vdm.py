"""Our schedules, bound, decoder and sampler against the published VDM, whatever was run.

What was recorded is read off the names: every ``out/…`` tensor is a test of its own, and one that
neither an answer below nor `SKIPPED` recognises fails. There γ is −λ and images are NHWC, which
none of our functions here cares about; data are encoded as 2 (k + ½)/V − 1, our levels with a reach
of 1 − 1/V; the network's output is the recorded ``in/eps_hat``.
"""

import re

import pytest
import torch
from safetensors import safe_open

from pilotage.conditions import Labels
from pilotage.diffusion import NetworkDenoiser, State, ancestral
from pilotage.diffusion.learned import LinearLam, MonotoneLam, rate
from pilotage.diffusion.logsnr import alpha, diffuse
from pilotage.networks.fourier import fourier_features
from pilotage.objectives.vdm import VDM, VDMDraws, antithetic
from pilotage.objectives.vdm_terms import level_log_probs, reconstruction_term

from .reference import case, folder

DTYPES = {"f32": torch.float32, "f64": torch.float64}
SKIPPED = {
    "score_unet": "their score network has a layout of its own; our networks are ADM's",
    "timestep_embedding": "of their score network, [sin | cos] over half − 1; ours is ADM's",
}
ANSWERS = {}


def recorded_names():
    """The names of all outputs; a skipped stand-in where there is no file."""
    path = folder() / "vdm.safetensors"
    if not path.is_file():
        skip = pytest.mark.skip(reason=f"no reference file {path}")
        return [pytest.param("", marks=skip, id="absent")]
    with safe_open(path, "pt") as file:
        return [name for name in sorted(file.keys()) if name.startswith("out/")]


@pytest.fixture(scope="module")
def recorded():
    return case("vdm")


def answers(pattern):
    """Register the function that computes the tensors whose names, less ``out/f32/``, fit."""

    def register(function):
        ANSWERS[re.compile(pattern)] = function
        return function

    return register


@pytest.mark.parametrize("name", recorded_names())
def test_answer(recorded, name):
    facts, tensors = recorded
    _, precision, short = name.split("/", 2)
    if short in SKIPPED:
        pytest.skip(SKIPPED[short])
    found = [(f, match) for p, f in ANSWERS.items() if (match := p.fullmatch(short))]
    assert len(found) == 1, f"{len(found)} answers know {short}"
    function, match = found[0]
    ours = function(Recorded(facts, tensors, DTYPES[precision]), **match.groupdict()).detach()
    assert_close(ours, tensors[name], facts["f32_vs_f64_rel_to_max"].get(short, 0))


def assert_close(ours, expected, spread):
    """Within the README's bounds; ``spread`` is what their two precisions differ by."""
    assert ours.shape == expected.shape
    assert ours.dtype == expected.dtype
    if not ours.is_floating_point():
        assert torch.equal(ours, expected)
        return
    bound = 1e-9 if ours.dtype == torch.float64 else 10 * spread + 1e-6
    error = (ours - expected).abs().max() / expected.abs().max()
    assert error <= bound, f"{error:.3g} is above {bound:.3g}"


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
        prefix = f"params/{kind}/"
        params = {
            name.removeprefix(prefix): tensor.to(self.dtype).flatten()
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }
        assert params
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
    schedule, left = run.schedule(kind), int(steps) - int(i)
    u = torch.tensor([left, left - 1], dtype=torch.float64) / int(steps)
    lam_t, lam_s = schedule(u).detach()
    return ancestral(v)(run.denoise, State(run["z_t"], lam_t), lam_s, run["noise_s"]).z


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


# --- beyond the answers --------------------------------------------------------------------------


def test_every_kind_of_answer_was_recorded():
    names = [name.split("/", 2)[2] for name in recorded_names() if isinstance(name, str)]
    if not names:
        pytest.skip("no reference file")
    for pattern in ANSWERS:
        assert any(pattern.fullmatch(name) for name in names), pattern.pattern


def test_their_step_has_no_other_variance(recorded):
    facts, tensors = recorded
    run = Recorded(facts, tensors, torch.float64)
    for name in tensors:
        match = re.fullmatch(r"out/f64/sample/(\w+)/T(\d+)/i(\d+)", name)
        if match:
            other = sample_step(run, *match.groups(), v=1.0)
            assert (other - tensors[name]).abs().max() > 1e-3


def test_antithetic_times_are_as_many_as_examples(recorded):
    """Their arange(0, 1, 1/B) has one too many for these B, says the JSON."""
    for count in recorded[0].get("antithetic_arange_wrong_length_for_batch", [49]):
        u = antithetic(torch.tensor(0.3), count)
        assert len(u) == count
        assert len(u.unique()) == count
        assert ((u >= 0) & (u < 1)).all()
