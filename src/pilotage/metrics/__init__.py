"""Metrics: features → statistics → number, with a standard error.

The functions are of arrays with one row per image, (N, D); where the features came from is the
business of ``pilotage.metrics.extractors``. All arithmetic is float64, and NumPy is all that is
needed. ``real`` always comes before ``fake``.

    Moments               count, mean and covariance, streamed and merged
    frechet_distance      ‖μ₁−μ₂‖² + tr(C₁ + C₂ − 2 (C₁C₂)^½)
    inception_score       exp E KL(p(y|x) ‖ p(y))
    precision_recall      shares of each set within the other's nearest-neighbour balls
    density_coverage      the same balls, counted so that outliers matter less
    kernel_distance       squared maximum mean discrepancy over random subsets
    mode_coverage         modes hit, and KL(samples ‖ data) over the modes
    gaussian_modes        the same for points, and how many of them are near a mode
    paired_error          of the difference of two of these numbers at the same seeds

``registry`` has an entry of each metric that sweeps, ``evaluate`` and reports know, and ``compare``
computes all of them that two ``Sample``s allow.
"""

from pilotage.metrics.features import Features, Sample, join
from pilotage.metrics.frechet import frechet_distance, frechet_influence
from pilotage.metrics.inception_score import InceptionScore, inception_score
from pilotage.metrics.kernel import KernelDistance, kernel_distance, mmd2
from pilotage.metrics.manifold import (
    DensityCoverage,
    PrecisionRecall,
    density_coverage,
    precision_recall,
    squared_radii,
)
from pilotage.metrics.modes import GaussianCoverage, ModeCoverage, gaussian_modes, mode_coverage
from pilotage.metrics.moments import Moments
from pilotage.metrics.registry import METRICS, Metric, Options, compare, register, row_parts
from pilotage.metrics.standard_errors import Measured, paired_error

__all__ = [
    "METRICS",
    "DensityCoverage",
    "Features",
    "GaussianCoverage",
    "InceptionScore",
    "KernelDistance",
    "Measured",
    "Metric",
    "ModeCoverage",
    "Moments",
    "Options",
    "PrecisionRecall",
    "Sample",
    "compare",
    "density_coverage",
    "frechet_distance",
    "frechet_influence",
    "gaussian_modes",
    "inception_score",
    "join",
    "kernel_distance",
    "mmd2",
    "mode_coverage",
    "paired_error",
    "precision_recall",
    "register",
    "row_parts",
    "squared_radii",
]
