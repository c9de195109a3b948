"""Gaussian mixtures: the exact oracle for every sampler and every guidance rule."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pilotage.diffusion.logsnr import alpha, sigma
from pilotage.diffusion.prediction import Prediction
from pilotage.errors import PilotageError

_POINTS_PER_SD = 4
_REACH_IN_SD = 12
_LARGEST_GRID = 2**25


class GaussianMixture:
    """p(x) = Σ_k w_k N(x; μ_k, v_k I): each component a class, everything in closed form.

    A denoiser, ``mixture(z, lam, cond)``: cond is None or labels (B,) in 0..K, where K (``null``)
    means "no class". All arithmetic is float64; results have the dtype of z; gradients flow.

    Args:
        means: μ, (K, D).
        variances: v, (K,), at least 0 each (0 is a point).
        weights: w, (K,), positive; normalised here.

    Attributes:
        null: the null label, K.

    Raises:
        PilotageError: if shapes disagree, a variance is negative or a weight is not positive.
    """

    def __init__(
        self,
        means: Tensor | Sequence[Sequence[float]],
        variances: Tensor | Sequence[float],
        weights: Tensor | Sequence[float],
    ) -> None:
        self.means = torch.as_tensor(means, dtype=torch.float64)
        self.variances = torch.as_tensor(variances, dtype=torch.float64)
        self.weights = torch.as_tensor(weights, dtype=torch.float64)
        count = (len(self.means),) if self.means.ndim == 2 else None
        if count is None or self.variances.shape != count or self.weights.shape != count:
            raise PilotageError(
                f"means, variances and weights have shapes {tuple(self.means.shape)}, "
                f"{tuple(self.variances.shape)}, {tuple(self.weights.shape)}: "
                "they must be (K, D), (K,) and (K,)."
            )
        if not (self.variances >= 0).all() or not (self.weights > 0).all():
            raise PilotageError(
                f"variances is {self.variances.tolist()} and weights is {self.weights.tolist()}: "
                "variances must be at least 0 and weights above 0."
            )
        self.weights = self.weights / self.weights.sum()
        self.null = len(self.means)

    def marginal(self, lam: float | Tensor) -> "GaussianMixture":
        """Return the distribution of z at one log-SNR: means α μ, variances α² v + σ²."""
        lam = torch.as_tensor(lam, dtype=torch.float64)
        a, s = alpha(lam), sigma(lam)
        return GaussianMixture(a * self.means, a**2 * self.variances + s**2, self.weights)

    def draw(
        self, count: int, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "N D"], Int[Tensor, " N"]]:
        """Draw ``count`` exact samples x and their classes."""
        labels = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        unit = torch.randn(count, self.means.shape[1], generator=generator, dtype=torch.float64)
        return self.means[labels] + self.variances[labels, None].sqrt() * unit, labels

    def log_density(
        self,
        z: Float[Tensor, "B D"],
        lam: float | Tensor = math.inf,
        cond: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, " B"]:
        """Return log p(z | c) at λ, by default of clean data (λ = ∞); marginal where c is null."""
        log_joint = self._log_components(z, lam) + self._log_prior(z, cond)
        return log_joint.logsumexp(dim=1).to(z.dtype)

    def density(
        self,
        z: Float[Tensor, "B D"],
        lam: float | Tensor = math.inf,
        cond: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, " B"]:
        """Return p(z | c) at λ."""
        return self.log_density(z, lam, cond).exp()

    def score(
        self, z: Float[Tensor, "B D"], lam: Tensor, cond: Int[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B D"]:
        """Return ∇_z log p(z | c) at a finite λ, which is −ε/σ."""
        lam = _column(lam, z)
        spread = self._spread(lam)
        pull = -(z.double()[:, None] - self._centres(lam)) / spread[..., None]
        return (self._responsibilities(z, lam, cond)[..., None] * pull).sum(dim=1).to(z.dtype)

    def log_posterior(
        self, z: Float[Tensor, "B D"], lam: float | Tensor = math.inf
    ) -> Float[Tensor, "B K"]:
        """Return log p(c | z) at λ for each class."""
        return (self._logits(z, lam) + self._log_prior(z, None)).log_softmax(1).to(z)

    def posterior(
        self, z: Float[Tensor, "B D"], lam: float | Tensor = math.inf
    ) -> Float[Tensor, "B K"]:
        """Return p(c | z) at λ for each class."""
        return self.log_posterior(z, lam).exp()

    def class_log_prob(
        self, z: Float[Tensor, "B D"], lam: float | Tensor, cond: Int[Tensor, " B"]
    ) -> Float[Tensor, " B"]:
        """Return log p(c | z, λ): the exact classifier for ``classifier`` guidance."""
        return self.log_posterior(z, lam).gather(1, cond[:, None]).squeeze(1)

    def __call__(
        self, z: Float[Tensor, "B D"], lam: Tensor, cond: Int[Tensor, " B"] | None = None
    ) -> Prediction:
        """Predict E[x | z, c] and E[ε | z, c] at λ."""
        lam = _column(lam, z)
        a, s, spread = alpha(lam), sigma(lam), self._spread(lam)
        offset = (z.double()[:, None] - self._centres(lam)) / spread[..., None]
        share = self._responsibilities(z, lam, cond)[..., None]
        gain = (a * self.variances.to(z.device))[..., None]
        x = (share * (self.means.to(z.device) + gain * offset)).sum(dim=1)
        eps = (share * offset).sum(dim=1) * s
        return Prediction(x.to(z.dtype), eps.to(z.dtype))

    def guided_density(
        self,
        z: Float[Tensor, "B D"],
        cond: int,
        w: float,
        lam: float | Tensor = math.inf,
    ) -> Float[Tensor, " B"]:
        """Return p(z | c) p(c | z)^w at λ, normalised by quadrature, for D = 1 or 2.

        The trapezoidal rule on a box of 12 standard deviations around every mean, with a grid fine
        enough to be exact up to rounding for these smooth integrands.

        Raises:
            PilotageError: if D > 2, w < −1 (no density), w is not finite, a variance at λ is 0, or
                the grid would exceed 2**25 points.
        """
        if self.means.shape[1] > 2:
            raise PilotageError(f"D is {self.means.shape[1]}: it must be 1 or 2, for quadrature.")
        if not -1 <= w < math.inf:
            raise PilotageError(
                f"w is {w}: it must be finite and at least -1, for a guided density."
            )
        here = self.marginal(lam)
        grid, cell = here._grid(w)
        total = torch.logsumexp(here._log_guided(grid, cond, w), dim=0) + math.log(cell)
        return (here._log_guided(z.double(), cond, w) - total).exp().to(z.dtype)

    def _log_guided(self, z: Tensor, cond: int, w: float) -> Tensor:
        labels = torch.full((len(z),), cond, device=z.device)
        given_c = self.log_density(z, cond=labels)
        return given_c + w * self.class_log_prob(z, math.inf, labels)

    def _grid(self, w: float) -> tuple[Tensor, float]:
        """Return quadrature points (M, D) and the volume of one cell."""
        sd = self.variances.sqrt()
        reach = _REACH_IN_SD * sd[:, None]
        low, high = (self.means - reach).amin(0), (self.means + reach).amax(0)
        spacing = float(sd.min()) / (_POINTS_PER_SD * math.sqrt(1 + max(w, 0.0)))
        counts = [
            math.ceil(float(h - lo) / spacing) + 1 if spacing else math.inf
            for lo, h in zip(low, high, strict=True)
        ]
        if math.prod(counts) > _LARGEST_GRID:
            raise PilotageError(
                f"the smallest variance is {float(sd.min()) ** 2:.3g}: it must be larger, to be "
                f"resolved by a quadrature grid of at most {_LARGEST_GRID} points."
            )
        axes = [
            torch.linspace(float(lo), float(h), int(n), dtype=torch.float64)
            for lo, h, n in zip(low, high, counts, strict=True)
        ]
        cell = math.prod(float(axis[1] - axis[0]) for axis in axes)
        return torch.cartesian_prod(*axes).reshape(-1, len(axes)), cell

    def _centres(self, lam: Tensor) -> Tensor:
        """Return α μ, (B, K, D)."""
        return alpha(lam)[..., None] * self.means.to(lam.device)

    def _spread(self, lam: Tensor) -> Tensor:
        """Return α² v + σ², (B, K)."""
        return alpha(lam) ** 2 * self.variances.to(lam.device) + sigma(lam) ** 2

    def _log_components(self, z: Tensor, lam: float | Tensor) -> Tensor:
        """Return log N(z; α μ_k, α² v_k + σ²), (B, K)."""
        lam = _column(lam, z)
        spread = self._spread(lam)
        square = (z.double()[:, None] - self._centres(lam)).square().sum(dim=2)
        dims = self.means.shape[1]
        return -0.5 * (square / spread + dims * (2 * math.pi * spread).log())

    def _logits(self, z: Tensor, lam: float | Tensor) -> Tensor:
        """Return the log components up to a term common to all k, (B, K).

        At high noise the components differ by O(α) only. There the common −|z|²/2 is removed
        analytically (α² v + σ² = 1 − α²(1 − v)), or it would swamp differences and gradients.
        """
        column = _column(lam, z)
        a, spread = alpha(column), self._spread(column)
        means = self.means.to(z.device)
        excess = a**2 * (1 - self.variances.to(z.device))
        z64 = z.double()
        quadratic = excess * z64.square().sum(1, keepdim=True) + a**2 * means.square().sum(1)
        dims = means.shape[1]
        noisy = (a * (z64 @ means.T) - quadratic / 2) / spread - dims / 2 * torch.log1p(-excess)
        return torch.where(column < 0, noisy, self._log_components(z, lam))

    def _log_prior(self, z: Tensor, cond: Tensor | None) -> Tensor:
        """Return log p(k | c): the weights where c is null, else class c alone; (B, K)."""
        weights = self.weights.to(z.device).log().expand(len(z), -1)
        if cond is None:
            return weights
        if not ((cond >= 0) & (cond <= self.null)).all():
            raise PilotageError(f"cond is {cond.tolist()}: it must be labels in 0..{self.null}.")
        one_hot = torch.arange(self.null, device=z.device) == cond[:, None]
        certain = torch.zeros_like(weights).masked_fill(~one_hot, -math.inf)
        return torch.where((cond == self.null)[:, None], weights, certain)

    def _responsibilities(self, z: Tensor, lam: Tensor, cond: Tensor | None) -> Tensor:
        """Return p(k | z, c) at λ, (B, K)."""
        return (self._logits(z, lam) + self._log_prior(z, cond)).softmax(dim=1)


def _column(lam: float | Tensor, z: Tensor) -> Tensor:
    """Return λ as float64 (B, 1) on z's device."""
    lam = torch.as_tensor(lam, dtype=torch.float64, device=z.device)
    return lam.reshape(-1, 1).expand(len(z), 1)
