"""Our steps, guidance and bound against guided-diffusion's GaussianDiffusion, whatever was run.

What was recorded is read off the names: every ``out/…`` tensor is a test of its own, and one that
no answer below recognises fails.

Two habits of guided-diffusion are imitated here, so that its numbers can be compared:

* It clips x before it guides, ``classifier(clip_x(d))``: a guided x leaves [−1, 1] again, and ε is
  not derived from an image that could be. Ours is ``clip_x(classifier(d))``, so that the last word
  is the bound that the data have. `test_guiding_before_clipping_is_not_theirs` sees them differ.
* At t = 0 guidance by the mean shifts the image by a variance clipped to that of t = 1, where ours
  is 0: `end_shift` is that shift.
"""

import re
from typing import NamedTuple

import pytest
import torch

from pilotage.conditions import Labels
from pilotage.diffusion import (
    NetworkDenoiser,
    Prediction,
    State,
    Timesteps,
    alpha,
    ancestral,
    classifier,
    clip_x,
    ddim,
    respaced,
    sample,
    sigma,
)
from pilotage.diffusion.logsnr import diffuse, tau
from pilotage.diffusion.prediction import move_x
from pilotage.errors import PilotageError
from pilotage.interop.adm.diffusion import end_shift, network_time, read_output
from pilotage.objectives import (
    Denoising,
    Draws,
    Hybrid,
    bound,
    discretised_log_likelihood,
    model_log_variance,
    normal_kl,
    posterior,
    prior_bpd,
    vlb_term,
)
from pilotage.objectives.variational import normal_cdf

from .reference import (
    Answers,
    distance,
    each,
    every_folder,
    float32_room,
    float64_room,
    largest,
)

PREDICTS = {"EPSILON": "eps", "START_X": "x"}
DTYPES = {"f32": torch.float32, "f64": torch.float64}
LABELS = Labels(())
END = torch.tensor(torch.inf, dtype=torch.float64)


recorded = every_folder("gaussian_diffusion")
answers = Answers(
    "gaussian_diffusion", lambda name: name.split("/", 2)[2] if name.startswith("out/") else None
)


def every(pattern):
    """Run a test for every tensor whose name fits a pattern."""
    return each(
        "gaussian_diffusion",
        lambda found: [name for name in sorted(found[1]) if re.fullmatch(pattern, name)],
        "name",
        what=pattern,
    )


def every_request(key):
    """Run a test for every item of one of the JSON's lists of respacings."""
    return each(
        "gaussian_diffusion", lambda found: found[0][key].items(), "request_", "expected", what=key
    )


# --- tables --------------------------------------------------------------------------------------


def betas(lams):
    """β of a chain λ_0 > λ_1 > …: the transition variance τ σ_t²."""
    return tau(lams, before(lams)) * torch.sigmoid(-lams)


def before(lams):
    """λ_{t−1} for every t, ∞ for t = 0."""
    return torch.cat([END[None], lams[:-1]])


def attribute(lams, name):
    """A table of guided-diffusion's by its own name, as a function of λ."""
    bar, rest, s = torch.sigmoid(lams), torch.sigmoid(-lams), before(lams)
    share = tau(lams, s)
    variance = share * torch.sigmoid(-s)
    after = torch.cat([lams[1:], -END[None]])
    return {
        "betas": lambda: betas(lams),
        "alphas_cumprod": lambda: bar,
        "alphas_cumprod_prev": lambda: torch.sigmoid(s),
        "alphas_cumprod_next": lambda: torch.sigmoid(after),
        "sqrt_alphas_cumprod": lambda: alpha(lams),
        "sqrt_one_minus_alphas_cumprod": lambda: sigma(lams),
        "log_one_minus_alphas_cumprod": lambda: rest.log(),
        "sqrt_recip_alphas_cumprod": lambda: 1 / alpha(lams),
        "sqrt_recipm1_alphas_cumprod": lambda: torch.exp(-lams / 2),
        "posterior_variance": lambda: variance,
        "posterior_log_variance_clipped": lambda: torch.cat([variance[1:2], variance[1:]]).log(),
        "posterior_mean_coef1": lambda: share * alpha(s),
        "posterior_mean_coef2": lambda: torch.exp(lams - s) * alpha(s) / alpha(lams),
    }[name]()


@every("schedule/.+")
def test_tables(recorded, name):
    kind, count, table = re.fullmatch(r"schedule/([a-z]+)(\d+)/(.+)", name).groups()
    expected = recorded[1][name]
    ours = attribute(Timesteps(kind, int(count)).lams, table)
    # theirs is the log of a rounded 1 − ᾱ, which is almost 1 at the noise end
    assert_elementwise(ours, expected, atol=4e-16 if table.startswith("log_one_minus") else 0)


def assert_elementwise(ours, expected, atol=0):
    """To 1e-9 of every single entry: tables span many orders of magnitude."""
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=atol)


@every("respaced/.+")
def test_respaced_tables(recorded, name):
    count, sections, kind = re.fullmatch(r"respaced/(\d+):(.+)/([a-z]+)/betas", name).groups()
    schedule = Timesteps(kind, int(count))
    ours = betas(schedule.grid(sections).flip(0))
    assert_elementwise(ours, recorded[1][name])
    if sections.isdecimal() and int(sections) > 1:
        assert torch.equal(schedule.grid(int(sections)), schedule.grid(sections))


@every_request("space_timesteps")
def test_respacing(recorded, request_, expected):
    count, sections = request_.split(":")
    assert respaced(int(count), sections) == expected
    if not sections.startswith("ddim"):
        assert respaced(int(count), [int(n) for n in sections.split(",")]) == expected


@every_request("space_timesteps_edge")
def test_odd_respacings(recorded, request_, expected):
    count, sections = request_.split(":")
    steps = re.fullmatch(r"(\d+) steps", expected)
    if steps:
        assert len(respaced(int(count), sections)) == int(steps[1])
    else:
        with pytest.raises(PilotageError, match=re.escape(repr(sections))):
            respaced(int(count), sections)


# --- the answers ---------------------------------------------------------------------------------


def assert_log_mass(ours, expected, exact):
    """The mass is theirs in the same precision, and its log to all the digits that theirs has.

    Theirs is a difference of two numbers near 1. In float32 that costs them up to 11 nats in the
    tail, and us nothing: so our float32 is held against their float64.
    """
    assert ours.dtype == expected.dtype
    single = ours.dtype == torch.float32
    assert distance(ours.exp(), expected.exp()) <= (1e-4 if single else 1e-9)
    theirs_lost = 8 * torch.finfo(torch.float64).eps / exact.exp()
    error = (ours.double() - exact).abs()
    assert (error <= (3e-5 if single else 1e-9) * largest(exact) + theirs_lost).all(), error.max()


def assert_answer(ours, expected, facts, short):
    """Within the README's tolerances of the recorded value."""
    assert ours.shape == expected.shape
    if not expected.is_floating_point():
        assert ours.tolist() == expected.tolist()
        return
    assert ours.dtype == expected.dtype
    # their prior is a sum of numbers near 1 that almost cancels
    allowed = float64_room(expected) + (4e-16 if "prior" in short else 0)
    if expected.dtype == torch.float32:
        measured = facts["max_abs_f32_vs_f64"].get(short, 1e-6 * largest(expected))
        allowed = float32_room(measured, expected)
    error = distance(ours, expected)
    assert error <= allowed, f"{error:.3g} is above {allowed:.3g}"


class Case:
    """The recorded inputs in one precision, and the chains that the settings name."""

    def __init__(self, facts, tensors, dtype):
        self.facts, self.tensors, self.dtype = facts, tensors, dtype

    def get(self, name):
        """An input, in this precision if it is a float."""
        tensor = self.tensors[name]
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def schedule(self, kind):
        """The schedule of cases which name no T: of the recorded ones, not the short one."""
        counts = {int(n) for name in self.tensors for n in re.findall(rf"/{kind}(\d+)/", name)}
        for count in counts - {self.facts["short_steps"]}:
            return Timesteps(kind, count)
        return pytest.skip(f"{self.facts.where} has no {kind} schedule of more steps")

    def chain(self, kind):
        """That schedule's levels at in/t."""
        return Chain(self.schedule(kind).lams, self.get("in/t"))

    def output(self, variance_type="LEARNED_RANGE"):
        """What the stubbed model says, with as many channels as its variance needs."""
        output = self.get("in/model_output6")
        return output if "LEARNED" in variance_type else output.chunk(2, dim=1)[0]

    def gradient(self, cond, scale=None):
        """The constant gradient, None without guidance."""
        scale = self.facts["cond_scale"] if scale is None else scale
        return self.get("in/cond_grad") * scale if int(cond) else None


class Chain:
    """The levels before, at and after some timesteps of a chain, each (B,), float64."""

    def __init__(self, lams, t):
        self.first = t == 0
        self.lam_s, self.lam_t = before(lams)[t], lams[t]
        self.lam_r = torch.cat([lams[1:], -END[None]])[t]

    def read(self, output, z, mean_type="EPSILON", variance_type="LEARNED_RANGE"):
        levels = self.lam_t, self.lam_s
        return read_output(output, z, *levels, mean_type, variance_type, self.lam_r)

    def clipped(self, prediction):
        return move_x(prediction, self.lam_t.to(prediction.x), prediction.x.clamp(-1, 1))

    def mean(self, prediction, z):
        return posterior(prediction.x, z, self.lam_t, self.lam_s)[0]

    def log_variance(self, v):
        return model_log_variance(self.lam_t, self.lam_s, v, self.lam_r)

    def variance(self, v):
        return self.log_variance(v).exp()

    def vlb(self, prediction, x, z):
        return vlb_term(prediction, x, z, self.lam_t, self.lam_s, self.lam_r)

    def noisy(self, x, eps):
        return rowwise(lambda i, rows: diffuse(x[rows], eps[rows], self.lam_t[i]), len(x))

    def ancestral(self, prediction, z, noise, gradient):
        """Their p_sample, clipped: the sample and its x."""

        def one(i, rows):
            push = None if gradient is None else lambda *_: gradient[rows]
            return self._after(
                ancestral("learned", push), clip_x(says(prediction, rows)), i, z, noise
            )

        state = rowwise(one, len(z))
        if gradient is None:
            return state
        shift = end_shift(prediction.v, gradient, self.lam_t, self.lam_r)
        return state._replace(z=state.z + shift * column(self.first))

    def ddim(self, prediction, z, noise, gradient, eta=0.0, to=None):
        """Their ddim_sample, clipped and then guided: the sample and its x."""

        def one(i, rows):
            denoise = clip_x(says(prediction, rows))
            if gradient is not None:
                denoise = classifier(denoise, slope(gradient[rows]), 1.0)
            return self._after(ddim(eta), denoise, i, z, noise, to)

        return rowwise(one, len(z))

    def _after(self, step, denoise, i, z, noise, to=None):
        rows, to = slice(i, i + 1), self.lam_s if to is None else to
        state = step(denoise, State(z[rows], self.lam_t[i]), to[i], noise[rows])
        return Sampled(state.z, state.prediction.x)


class Sampled(NamedTuple):
    """What a step of guided-diffusion returns."""

    z: torch.Tensor
    x: torch.Tensor


def rowwise(one, count):
    """one(i, rows i:i+1) for every example, so that each λ is a scalar, joined."""
    made = [one(i, slice(i, i + 1)) for i in range(count)]
    if isinstance(made[0], Sampled):
        return Sampled(*map(torch.cat, zip(*made, strict=True)))
    return torch.cat(made)


def column(flags):
    return flags.reshape(-1, 1, 1, 1)


def says(prediction, rows):
    """A denoiser that gives those rows of a prediction whatever it is asked."""
    known = Prediction(*(field[rows] for field in prediction))
    return lambda z, lam, cond=None: known


def slope(gradient):
    """A log-probability with that gradient in z."""
    return lambda z, lam, cond: (z * gradient).flatten(1).sum(dim=1)


# --- q, p and single steps -----------------------------------------------------------------------


@answers(r"(?P<kind>[a-z]+)/q\.(?P<what>\w+)")
def q(case_, kind, what):
    chain, x, z = case_.chain(kind), case_.get("in/x_start"), case_.get("in/x_t")
    lam = column(chain.lam_t)
    mean, log_variance = posterior(x, z, chain.lam_t, chain.lam_s, chain.lam_r)
    return {
        "q_sample": lambda: chain.noisy(x, case_.get("in/noise")),
        "q_mean": lambda: chain.noisy(x, 0 * x),
        "q_var": lambda: torch.sigmoid(-lam).to(x.dtype).expand_as(x),
        "q_logvar": lambda: torch.sigmoid(-lam).log().to(x.dtype).expand_as(x),
        "post_mean": lambda: mean,
        "post_var": lambda: log_variance.exp() * ~column(chain.first),
        "post_logvar": lambda: log_variance,
    }[what]()


@answers(
    r"(?P<kind>[a-z]+)/p_mean_variance/(?P<mean_type>\w+)/(?P<variance_type>\w+)/clip(?P<clip>[01])"
    r"\.(?P<what>\w+)"
)
def p_mean_variance(case_, kind, mean_type, variance_type, clip, what):
    chain, z = case_.chain(kind), case_.get("in/x_t")
    raw = chain.read(case_.output(variance_type), z, mean_type, variance_type)
    prediction = chain.clipped(raw) if int(clip) else raw
    moved = raw if mean_type == "PREVIOUS_X" else prediction  # their mean is then the output's own
    made = moments(chain, prediction, z) | {"mean": chain.mean(moved, z)}
    if variance_type == "FIXED_SMALL":  # alone in saying 0 at t = 0
        made["variance"] = made["variance"] * ~column(chain.first)
    return made[what]


@answers(r"(?P<kind>[a-z]+)/p_mean_variance/denoised_fn\.(?P<what>\w+)")
def denoised_fn(case_, kind, what):
    chain, z = case_.chain(kind), case_.get("in/x_t")
    raw = chain.read(case_.output(), z)
    moved = move_x(raw, chain.lam_t.to(z), raw.x / 2 + 0.1)
    return moments(chain, chain.clipped(moved), z)[what]


def moments(chain, prediction, z):
    """Their four answers."""
    return {
        "mean": chain.mean(prediction, z),
        "variance": chain.variance(prediction.v),
        "log_variance": chain.log_variance(prediction.v),
        "pred_xstart": prediction.x,
    }


@answers(r"(?P<kind>[a-z]+)/p_sample/cond(?P<cond>[01])\.(?P<what>\w+)")
def p_sample(case_, kind, cond, what):
    chain, z = case_.chain(kind), case_.get("in/x_t")
    prediction = chain.read(case_.output(), z)
    made = chain.ancestral(prediction, z, case_.get("in/noise"), case_.gradient(cond))
    return {"sample": made.z, "pred_xstart": made.x}[what]


@answers(r"(?P<kind>[a-z]+)/ddim_sample/eta(?P<eta>[\d.]+)/cond(?P<cond>[01])\.(?P<what>\w+)")
def ddim_sample(case_, kind, eta, cond, what):
    chain, z = case_.chain(kind), case_.get("in/x_t")
    prediction = chain.read(case_.output(), z)
    made = chain.ddim(prediction, z, case_.get("in/noise"), case_.gradient(cond), float(eta))
    return {"sample": made.z, "pred_xstart": made.x}[what]


@answers(r"(?P<kind>[a-z]+)/ddim_reverse\.(?P<what>\w+)")
def ddim_reverse(case_, kind, what):
    chain, z = case_.chain(kind), case_.get("in/x_t")
    prediction = chain.read(case_.output(), z)
    made = chain.ddim(prediction, z, 0 * z, None, to=chain.lam_r)
    return {"sample": made.z, "pred_xstart": made.x}[what]


@answers(r"(?P<kind>[a-z]+)/condition\.(?P<what>\w+)")
def condition(case_, kind, what):
    chain, z, gradient = case_.chain(kind), case_.get("in/x_t"), case_.gradient(1)
    plain = chain.clipped(chain.read(case_.output(), z))
    guided = classifier(lambda *_: plain, slope(gradient), 1.0)(z, chain.lam_t.to(z))
    variance = chain.variance(plain.v)
    return {
        "condition_mean": lambda: chain.mean(plain, z) + variance * gradient,
        "score_mean": lambda: chain.mean(guided, z),
        "score_pred_xstart": lambda: guided.x,
        "score_variance": lambda: variance,
    }[what]()


@every(r"out/f64/[a-z]+/condition\.score_pred_xstart")
def test_guiding_before_clipping_is_not_theirs(recorded, name):
    """Clipped first, a guided x leaves [−1, 1]; clipped last, it does not."""
    case_ = Case(*recorded, torch.float64)
    chain, z = case_.chain(name.split("/")[2]), case_.get("in/x_t")
    raw = chain.read(case_.output(), z)
    ours = clip_x(classifier(lambda *_: raw, slope(case_.gradient(1)), 1.0))(z, chain.lam_t)
    theirs = recorded[1][name]
    if not (theirs.abs() > 1).any():
        pytest.skip("the recorded guidance stays within the bounds")
    assert ours.x.abs().max() <= 1


# --- a short chain with rescaled times -----------------------------------------------------------


@answers(r"respaced_rescaled/(?P<count>\d+):(?P<sections>[^/]+)/cond(?P<cond>[01])\.(?P<what>\w+)")
def respaced_rescaled(case_, count, sections, cond, what):
    schedule = Timesteps(case_.facts["schedule_for_steps"], int(count))
    chain = Chain(schedule.grid(sections).flip(0), case_.get("in/t_rescaled"))
    if what.startswith("ts_given_to"):
        return network_time(schedule, rescale_timesteps=True)(chain.lam_t.to(case_.dtype))
    z, noise = case_.get("in/x_t"), case_.get("in/noise")
    prediction, gradient = chain.read(case_.output(), z), case_.gradient(cond, scale=1.0)
    if what == "p_sample":
        return chain.ancestral(prediction, z, noise, gradient).z
    made = chain.ddim(prediction, z, noise, gradient, case_.facts["eta"])
    return {"ddim": made.z, "ddim_xstart": made.x}[what]


# --- losses and likelihoods ----------------------------------------------------------------------


@answers(
    r"training_losses/(?P<kind>[a-z]+)(?P<count>\d+)/(?P<mean_type>\w+)/(?P<variance_type>\w+)"
    r"/(?P<loss>\w+)\.(?P<what>\w+)"
)
def training_losses(case_, kind, count, mean_type, variance_type, loss, what):
    output = case_.output(variance_type)
    return losses(case_, kind, int(count), mean_type, variance_type, loss, output)[what]


@answers(
    r"training_losses_grad/(?P<kind>[a-z]+)(?P<count>\d+)/(?P<mean_type>\w+)"
    r"/(?P<variance_type>\w+)/(?P<loss>\w+)"
)
def training_losses_grad(case_, kind, count, mean_type, variance_type, loss):
    output = case_.output(variance_type).clone().requires_grad_()
    made = losses(case_, kind, int(count), mean_type, variance_type, loss, output)
    return torch.autograd.grad(made["loss"].sum(), output)[0]


def losses(case_, kind, count, mean_type, variance_type, loss, output):
    """Their terms, by our objectives wherever those have such a network."""
    schedule = Timesteps(kind, count)
    short = count != case_.schedule(kind).count
    t = case_.get("in/t_losses_short" if short else "in/t")
    chain, x, eps = Chain(schedule.lams, t), case_.get("in/x_start"), case_.get("in/noise")
    draws = Draws((t.to(x.dtype) + 0.5) / count, eps, torch.zeros(len(x), dtype=torch.bool))
    scale = count / 1000 if loss == "RESCALED_MSE" else 1.0
    z = chain.noisy(x, eps)
    if loss in ("KL", "RESCALED_KL"):
        term = chain.vlb(chain.read(output, z, mean_type, variance_type), x, z)
        return {"loss": term * (count if loss == "RESCALED_KL" else 1)}
    denoise = NetworkDenoiser(lambda *_: output, PREDICTS.get(mean_type, "x"))
    labels = torch.zeros(len(x), dtype=torch.long)
    if mean_type in PREDICTS and variance_type == "LEARNED_RANGE":
        weight = scale * 1000 / count
        hybrid = Hybrid(schedule, LABELS, 0.0, steps=count, vlb_weight=weight)
        terms = hybrid.terms(denoise, x, labels, draws)
        return {"loss": terms["loss"], "mse": terms["simple"], "vb": scale * terms["vlb"]}
    if mean_type in PREDICTS and variance_type.startswith("FIXED"):
        mse = Denoising(schedule, LABELS, 0.0).terms(denoise, x, labels, draws)["loss"]
        return {"loss": mse, "mse": mse}
    mean = output[:, : x.shape[1]]
    wanted = {
        "EPSILON": eps,
        "START_X": x,
        "PREVIOUS_X": posterior(x, z, chain.lam_t, chain.lam_s)[0],
    }
    mse = (mean - wanted[mean_type]).square().flatten(1).mean(dim=1)
    if variance_type.startswith("FIXED"):
        return {"loss": mse, "mse": mse}
    held = torch.cat([mean.detach(), output[:, x.shape[1] :]], dim=1)
    vb = scale * chain.vlb(chain.read(held, z, mean_type, variance_type), x, z)
    return {"loss": mse + vb, "mse": mse, "vb": vb}


@answers(r"(?P<kind>[a-z]+)/vb_terms\.(?P<what>\w+)")
def vb_terms(case_, kind, what):
    chain, x = case_.chain(kind), case_.get("in/x_start")
    z = chain.noisy(x, case_.get("in/noise"))
    prediction = chain.clipped(chain.read(case_.output(), z))
    return {
        "output": lambda: chain.vlb(prediction, x, z),
        "pred_xstart": lambda: prediction.x,
        "decoder_ll": lambda: discretised_log_likelihood(
            x, chain.mean(prediction, z), chain.log_variance(prediction.v) / 2
        ),
        "cdf": lambda: normal_cdf(case_.get("in/x_t")),
    }[what]()


@answers(r"normal_kl\.(?P<what>\w+)")
def kl(case_, what):
    z = case_.get("in/x_t")
    log_variance = (0.3 * case_.tensors["in/cond_grad"]).to(z)
    return {
        "kl": lambda: normal_kl(z, log_variance, case_.get("in/noise"), case_.output("FIXED")),
        "kl_std": lambda: normal_kl(z, log_variance, torch.zeros_like(z), torch.zeros_like(z)),
        "prior": lambda: prior_bpd(z, case_.schedule("linear").lam_min),
        "prior_cos": lambda: prior_bpd(z, case_.schedule("cosine").lam_min),
    }[what]()


# --- whole chains --------------------------------------------------------------------------------


class TinyNetwork:
    """out = tanh(W x per pixel) + b sin(time/100); it keeps the times it was told."""

    def __init__(self, case_):
        self.weight, self.bias = case_.get("tiny_model/W"), case_.get("tiny_model/b")
        self.times = []

    def __call__(self, z, time, cond):
        self.times.append(time[0].item())
        mixed = torch.tanh(torch.einsum("oc,bchw->bohw", self.weight, z))
        return mixed + self.bias[:, None, None] * torch.sin(time / 100)[:, None, None, None]


def tiny(case_, settings):
    """The tiny model as a denoiser, and the levels of its chain for the sampler."""
    schedule = Timesteps(settings["schedule"], settings["steps"])
    network = TinyNetwork(case_)
    return NetworkDenoiser(network, "eps", network_time(schedule)), schedule.grid(
        settings["respacing"]
    )


@answers(r"calc_bpd_loop/clip(?P<clip>[01])\.(?P<what>\w+)")
def calc_bpd_loop(case_, clip, what):
    denoise, lams = tiny(case_, case_.facts["bpd"])
    noises = case_.get("in/bpd_noises")
    made = bound(denoise, case_.get("in/x_start"), lams, noises, clip=bool(int(clip)))
    return {
        "total_bpd": made.total,
        "prior_bpd": made.prior,
        "vb": made.terms,
        "xstart_mse": made.x_error,
        "mse": made.eps_error,
    }[what]


@answers(r"loop/(?P<sampler>\w+)/cond(?P<cond>[01])\.(?P<what>\w+)")
def loop(case_, sampler, cond, what):
    settings = case_.facts["loops"]
    if settings["var"] != "LEARNED_RANGE":
        pytest.skip(f"{case_.facts.where} has loops with {settings['var']}")
    denoise, lams = tiny(case_, settings)
    target, scale, network = case_.get("in/cond_target"), case_.facts["cond_scale"], denoise.network

    def log_prob(z, lam, cond):
        return -0.5 * (target - z).square().flatten(1).sum(dim=1)

    plain = clip_x(denoise) if settings["clip_denoised"] else denoise
    if sampler == "p":
        push = (lambda z, lam: scale * (target - z)) if int(cond) else None
        guided, step = plain, ancestral("learned", push)
    else:
        guided = classifier(plain, log_prob, scale) if int(cond) else plain
        step = ddim(0.0 if sampler == "ddim0" else case_.facts["eta"])
    states = list(
        sample(guided, case_.get("in/x_T"), lams, step, noise=case_.get("in/loop_noises"))
    )
    if what == "model_ts":
        return torch.tensor(network.times)
    images = [state.z for state in states]
    if sampler == "p" and int(cond):
        before_last, v = images[-2], states[-1].prediction.v
        images[-1] = images[-1] + end_shift(v, push(before_last, None), lams[-1], lams[-2])
    return torch.stack(images)


# --- all of them ---------------------------------------------------------------------------------


@answers.each()
def test_answer(recorded, name):
    facts, tensors = recorded
    _, precision, short = name.split("/", 2)
    ours = answers.of(name, Case(facts, tensors, DTYPES[precision]))
    if short.endswith("decoder_ll"):
        assert_log_mass(ours, tensors[name], tensors[f"out/f64/{short}"])
    else:
        assert_answer(ours, tensors[name], facts, short)
