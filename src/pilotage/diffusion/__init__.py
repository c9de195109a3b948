r"""Guided diffusion as functions of the log signal-to-noise ratio λ.

The formalism, once. A clean x and noise ε ~ N(0, I) mix to

    z = α x + σ ε,   α² = sigmoid(λ),   σ² = sigmoid(−λ),   λ = log(α²/σ²),

so that λ falls as noise is added. Everything else is a function of λ:

* a *schedule* maps u in [0, 1] to λ, from λ_max (data) to λ_min (noise);
* a *denoiser* maps (z, λ, c) to a :class:`Prediction` of x and ε;
* *guidance* maps denoisers to a denoiser, with one strength w: w = 0 is the conditional model and
  w = −1 the unconditional one (the other convention is s = 1 + w);
* a *step* maps a :class:`State` at λ_t to one at λ_s > λ_t, with τ = 1 − e^{λ_t − λ_s};
* the *loop* (:func:`sample`) repeats the step over a grid of λ.

Read the files in that order: ``logsnr``, ``schedules``, ``prediction``, ``denoiser``, ``guidance``,
``steps``, ``loop``; ``composition`` guides by several conditions, ``batching`` handles batches of
them, ``noise`` holds the per-image seeds and ``mixture`` the exact oracle. ``timesteps`` has the
published schedules of discrete timesteps, ``inversion`` encodes an image as its noise.
"""

from pilotage.diffusion.composition import composed, several
from pilotage.diffusion.denoiser import Denoiser, NetworkDenoiser
from pilotage.diffusion.guidance import (
    between,
    classifier,
    classifier_free,
    clip_x,
    keep_known,
    on_x,
)
from pilotage.diffusion.inversion import invert
from pilotage.diffusion.logsnr import alpha, sigma
from pilotage.diffusion.loop import sample
from pilotage.diffusion.mixture import GaussianMixture
from pilotage.diffusion.noise import SeededNoise
from pilotage.diffusion.noisy_classifier import NoisyClassifier
from pilotage.diffusion.prediction import Prediction
from pilotage.diffusion.schedules import Schedule, TruncatedCosine
from pilotage.diffusion.steps import State, Step, ancestral, ddim
from pilotage.diffusion.timesteps import Timesteps, respaced

__all__ = [
    "Denoiser",
    "GaussianMixture",
    "NetworkDenoiser",
    "NoisyClassifier",
    "Prediction",
    "Schedule",
    "SeededNoise",
    "State",
    "Step",
    "Timesteps",
    "TruncatedCosine",
    "alpha",
    "ancestral",
    "between",
    "classifier",
    "classifier_free",
    "clip_x",
    "composed",
    "ddim",
    "invert",
    "keep_known",
    "on_x",
    "respaced",
    "sample",
    "several",
    "sigma",
]
