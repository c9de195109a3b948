"""Training objectives, as terms per example."""

from pilotage.objectives.denoising import Denoising, Draws, Hybrid, stratified
from pilotage.objectives.variational import (
    Bound,
    bound,
    discretised_log_likelihood,
    model_log_variance,
    normal_kl,
    posterior,
    prior_bpd,
    vlb_term,
)

__all__ = [
    "Bound",
    "Denoising",
    "Draws",
    "Hybrid",
    "bound",
    "discretised_log_likelihood",
    "model_log_variance",
    "normal_kl",
    "posterior",
    "prior_bpd",
    "stratified",
    "vlb_term",
]
