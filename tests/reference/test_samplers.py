"""Our DDIM step against k-diffusion's Euler and diffusers' DDIM, whatever their settings were.

One formalism holds both. k-diffusion's x = x₀ + s n is variance exploding: its log-SNR is
λ = −2 log s, and our z is α x. The tables of diffusers give α² = ᾱ and λ = log ᾱ − log(1 − ᾱ).
"""

import re

import pytest
import torch

from pilotage.diffusion import GaussianMixture, State, alpha, ddim, sample

from .reference import each, every_folder

RUN = re.compile(r"d/ddim/(?P<spacing>.+)/eta(?P<eta>[^/]+)/trajectory(_f64_alphas)?")
CLEAN = torch.tensor([torch.inf], dtype=torch.float64)


recorded = every_folder("samplers")


def every_run():
    """Run a test for every DDIM run of a folder."""

    def listed(found):
        matches = filter(None, map(RUN.fullmatch, found[1]))
        return sorted({(match["spacing"], match["eta"]) for match in matches})

    return each("samplers", listed, "spacing", "eta", what="DDIM runs")


@pytest.fixture(scope="module")
def mixture(recorded):
    return GaussianMixture(*(recorded[1][f"mog/{n}"] for n in ("means", "variances", "weights")))


def assert_close(ours, reference, bound):
    """Within the bound, relative to the largest value where that is above 1."""
    assert ours.shape == reference.shape
    assert ours.dtype == reference.dtype == torch.float64
    error = (ours - reference).abs().max() / reference.abs().max().clamp(min=1)
    assert error <= bound, f"{error:.3g} is above {bound:.3g}"


def column(lam):
    """λ (n,) against batches (n, B, D)."""
    return lam.reshape(-1, 1, 1)


# --- k-diffusion ---------------------------------------------------------------------------------


def test_denoiser(recorded, mixture):
    tensors = recorded[1]
    x, s, expected = (tensors[n] for n in ("in/denoiser_x", "in/denoiser_sigma", "out/denoiser"))
    lam = -2 * s.log()
    assert_close(mixture(alpha(lam)[:, None] * x, lam).x, expected, 1e-10)


def test_euler_is_ddim(recorded, mixture):
    """Their state x is our z/α, also before the first step, and at λ = ∞, where α is 1."""
    names = ("k/sigmas", "k/euler/trajectory", "k/euler/denoised")
    sigmas, trajectory, denoised = (recorded[1][name] for name in names)
    if sigmas[-1] != 0:
        pytest.skip(f"k/sigmas ends at {sigmas[-1]}: our loop ends at 0")
    lams = -2 * sigmas.log()  # the last is ∞
    assert lams[-1] == CLEAN
    start = alpha(lams[0]) * trajectory[0]
    states = list(sample(mixture, start, lams[:-1], ddim(0.0)))
    ours = torch.stack([start, *(state.z for state in states)]) / alpha(column(lams))
    assert_close(ours, trajectory, 1e-10)
    assert_close(torch.stack([state.prediction.x for state in states]), denoised, 1e-10)


def test_euler_starts_where_its_settings_say(recorded):
    facts, tensors = recorded
    names = ("in/x_T_unit", "k/euler/trajectory", "k/sigmas")
    start, trajectory, sigmas = (tensors[name] for name in names)
    assert len(trajectory) == len(sigmas)
    largest = facts.get("karras", {}).get("sigma_max", sigmas[0])
    assert_close(start * largest, trajectory[0], 1e-12)


# --- diffusers -----------------------------------------------------------------------------------


class Recorded:
    """One run of diffusers' DDIMScheduler: its levels, start, noise and outcomes."""

    def __init__(self, facts, tensors, spacing, eta):
        prefix = f"d/ddim/{spacing}/eta"
        stored = sorted(  # the times may lie under one eta of a spacing only
            name for name in tensors if re.fullmatch(re.escape(prefix) + "[^/]+/timesteps", name)
        )
        own = f"{prefix}{eta}/timesteps"
        times = tensors[own if own in stored else (stored or [own])[0]].tolist()
        bars = tensors["d/alphas_cumprod_f64"]
        log_snr = bars.log() - torch.log1p(-bars)
        base = facts.get("diffusers_base", {})
        self.eta = float(eta)
        self.lams = log_snr[times]
        self.start = tensors["in/x_T_unit"]
        self.noise = [None] * len(times)
        if self.eta:
            self.noise = tensors["in/ddim_noises"]
        self.exact = tensors.get(f"{prefix}{eta}/trajectory_f64_alphas")
        self.shipped = tensors.get(f"{prefix}{eta}/trajectory")
        effect = facts.get("d_float32_tables_effect", {}).get(f"{prefix}{eta}", {})
        self.tables = effect.get("rel_to_max", 1e-6)  # what their float32 tables move

        # diffusers steps from t to t − 1000 // n, which need not be the next of its own times: with
        # "linspace", or where n does not divide 1000, it lands beside the level that it evaluates
        # next. We imitate that to compare with it. Our own loop takes the next level of the list.
        train_steps = base.get("num_train_timesteps", len(bars))
        stride = train_steps // facts.get("ddim_steps", len(times))
        after = [t - stride for t in times]
        last = CLEAN[0] if base.get("set_alpha_to_one", True) else log_snr[0]
        self.targets = [log_snr[t] if t >= 0 else last for t in after]
        self.follows_its_list = after[:-1] == times[1:] and self.targets[-1] == CLEAN

    def assert_trajectory(self, states):
        ours = torch.stack([self.start, *(state.z for state in states)])
        if self.exact is not None:
            assert_close(ours, self.exact, 1e-10)
        if self.shipped is not None:
            assert_close(ours, self.shipped.double(), 10 * self.tables)


@every_run()
def test_ddim_step(recorded, mixture, spacing, eta):
    run = Recorded(*recorded, spacing, eta)
    step, state, states = ddim(run.eta), State(run.start, run.lams[0]), []
    for lam, target, noise in zip(run.lams, run.targets, run.noise, strict=True):
        state = step(mixture, state._replace(lam=lam), target, noise)
        states.append(state)
    run.assert_trajectory(states)


@every_run()
def test_ddim_loop(recorded, mixture, spacing, eta):
    run = Recorded(*recorded, spacing, eta)
    if not run.follows_its_list:
        pytest.skip(f"with {spacing}, diffusers does not step to the next of its own times")
    noise = run.noise if run.eta else None
    run.assert_trajectory(list(sample(mixture, run.start, run.lams, ddim(run.eta), noise=noise)))
