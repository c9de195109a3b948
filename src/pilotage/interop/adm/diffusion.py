"""The parametrisations of guided-diffusion's ``GaussianDiffusion``, as predictions.

Its released models are ``EPSILON`` with ``LEARNED_RANGE``, which `NetworkDenoiser` supports
directly:

    schedule = Timesteps("linear", 1000)
    denoise = NetworkDenoiser(load_unet(path, config=config), "eps", network_time(schedule))
    states = sample(clip_x(denoise), z, schedule.grid("250"), ancestral("learned"), cond, noise)

Two differences: that code clips x *before* classifier guidance, so guided x may leave
[−1, 1]: compose ``classifier(clip_x(denoise), ...)`` for that, where ours is
``clip_x(classifier(denoise, ...))``. And its guidance by the mean also shifts the last image, by
`end_shift`.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from pilotage.diffusion.prediction import Prediction, from_eps, from_x
from pilotage.diffusion.timesteps import Timesteps
from pilotage.errors import PilotageError
from pilotage.objectives.variational import coefficients, model_log_variance

MeanType = Literal["EPSILON", "START_X", "PREVIOUS_X"]
VarianceType = Literal["LEARNED_RANGE", "LEARNED", "FIXED_SMALL", "FIXED_LARGE"]


def network_time(
    schedule: Timesteps, rescale_timesteps: bool = False
) -> Callable[[Tensor], Tensor]:
    """Return the map from λ to a network's timestep, perhaps rescaled to 1000."""
    scale = 1000 / schedule.count if rescale_timesteps else 1.0
    return lambda lam: schedule.time(lam) * scale


def read_output(
    output: Tensor,
    z: Tensor,
    lam_t: Tensor,
    lam_s: Tensor,
    mean_type: MeanType,
    variance_type: VarianceType,
    lam_r: Tensor | None = None,
) -> Prediction:
    """Convert a model's output to x, ε and the variance fraction v of the step from λ_t to λ_s.

    Args:
        output: (B, 2C, *rest) with a learned variance, else (B, C, *rest).
        z: the model's input, (B, C, *rest).
        lam_t: its level, a scalar or (B,), preferably float64.
        lam_s: the next level; ∞ for t = 0.
        mean_type: parametrisation of the first C channels.
        variance_type: parametrisation of the variance.
        lam_r: the level before λ_t, which determines the lower bound at λ_s = ∞.

    Raises:
        PilotageError: if a type is unknown, output's channels do not fit it, or lam_r is missing
            where a ``LEARNED`` variance needs it.
    """
    learned = variance_type in ("LEARNED_RANGE", "LEARNED")
    if output.shape[1] != (2 if learned else 1) * z.shape[1]:
        raise PilotageError(
            f"output has {output.shape[1]} channels: with {variance_type} it must have "
            f"{(2 if learned else 1) * z.shape[1]}."
        )
    mean = output[:, : z.shape[1]]
    prediction = _prediction(mean, z, lam_t, lam_s, mean_type)
    step = coefficients(z, lam_t, lam_s, lam_r)
    if variance_type == "LEARNED_RANGE":
        v = (output[:, z.shape[1] :] + 1) / 2
    elif variance_type == "LEARNED":
        if lam_r is None and step.last.any():
            raise PilotageError(
                "lam_r is None: it must be given for a LEARNED variance where lam_s is infinite."
            )
        v = (output[:, z.shape[1] :] - step.lower) / (step.upper - step.lower)
    elif variance_type == "FIXED_SMALL":
        v = torch.zeros_like(z)
    elif variance_type == "FIXED_LARGE":  # at t = 0 it is the variance of t = 1
        v = torch.ones_like(z) * ~step.last
    else:
        raise PilotageError(
            f"variance_type is {variance_type!r}: it must be 'LEARNED_RANGE', 'LEARNED', "
            "'FIXED_SMALL' or 'FIXED_LARGE'."
        )
    return prediction._replace(v=v)


def _prediction(
    mean: Tensor, z: Tensor, lam_t: Tensor, lam_s: Tensor, mean_type: str
) -> Prediction:
    lam = lam_t.to(z)
    if mean_type == "EPSILON":
        return from_eps(z, lam, mean)
    if mean_type == "START_X":
        return from_x(z, lam, mean)
    if mean_type == "PREVIOUS_X":
        return from_previous(z, lam_t, lam_s, mean)
    raise PilotageError(
        f"mean_type is {mean_type!r}: it must be 'EPSILON', 'START_X' or 'PREVIOUS_X'."
    )


def from_previous(z: Tensor, lam_t: Tensor, lam_s: Tensor, mean: Tensor) -> Prediction:
    """Return the prediction whose reverse step from λ_t to λ_s has that mean.

    Clipping x changes our mean. guided-diffusion, with ``PREVIOUS_X``, clips the reported x and
    keeps the model's mean.
    """
    step = coefficients(z, lam_t, lam_s)
    return from_x(z, lam_t.to(z), (mean - step.on_z * z) / step.on_x)


def end_shift(v: Tensor, score: Tensor, lam_t: Tensor, lam_r: Tensor) -> Tensor:
    """Return the shift of mean guidance at t = 0: the score times the clipped variance.

    Args:
        v: the prediction's fraction at λ_t (B, *shape).
        score: w ∇_z log p(c | z, λ_t) (B, *shape).
        lam_t: the level of t = 0.
        lam_r: the level of t = 1.
    """
    end = torch.full_like(lam_t, torch.inf)
    return model_log_variance(lam_t, end, v, lam_r).exp() * score
