"""Objectives: what a network is trained for, as terms per example."""

from pilotage.objectives.chain_bound import Bound, bound
from pilotage.objectives.denoising import Denoising, Draws, stratified
from pilotage.objectives.gaussian import discretised_log_likelihood, normal_kl
from pilotage.objectives.hybrid import Hybrid
from pilotage.objectives.variational import model_log_variance, posterior, prior_bpd, vlb_term

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
