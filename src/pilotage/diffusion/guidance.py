"""Guidance: functions from denoisers to a denoiser. They compose, and samplers do not see them.

The order is: guide, clip x, re-derive ε from the clipped x. For instance
``clip_x(classifier_free(denoise, w=2, null=null))``. guided-diffusion clips before its classifier
guides, ``classifier(clip_x(denoise), ...)``: a guided x may then leave the range of the data again.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pilotage.diffusion import batching
from pilotage.diffusion.denoiser import Denoiser
from pilotage.diffusion.logsnr import like, sigma, spread
from pilotage.diffusion.prediction import Prediction, move_x
from pilotage.errors import PilotageError

LogProb = Callable[[Tensor, Tensor, Any], Tensor]


class BrokenGuidanceError(PilotageError):
    """Raised when the gradient of a guiding function is NaN or infinite."""


def classifier_free(denoise: Denoiser, w: float | Tensor, null: Any) -> Denoiser:
    """(1 + w) · conditional − w · unconditional, in one batched call (2207.12598, equation 6).

    w = 0 calls the conditional and w = −1 the unconditional model alone, exactly. x and ε are both
    guided, so neither is recovered by a division. A learned variance comes from the conditional
    branch.

    Another condition may replace the null, one for all or one per row: guidance then leads away
    from it. With captions this is the negative prompt.

    Args:
        denoise: a conditional denoiser that was also trained on the null condition.
        w: the strength, one number or one per example (B,).
        null: the null condition as a value of the condition space, e.g. the label K; or with the
            structure of the conditions, see :func:`pilotage.diffusion.batching.expanded`.

    Raises:
        PilotageError: if w is NaN or infinite; when called, if there is no condition, or null is
            None or of another structure.
    """
    strength = check_w(w)

    def guided(z: Tensor, lam: Tensor, cond: Any = None) -> Prediction:
        if cond is None:
            raise PilotageError(
                "cond is None: it must be a condition, for classifier-free guidance."
            )
        empty = batching.expanded(null, cond)
        if isinstance(strength, float) and strength in (0.0, -1.0):
            return denoise(z, lam, cond if strength == 0.0 else empty)
        given, free = predict_all(denoise, z, lam, [cond, empty])
        return toward(
            free, given, 1 + (strength.to(z) if isinstance(strength, Tensor) else strength)
        )

    return guided


def predict_all(
    denoise: Denoiser, z: Tensor, lam: Tensor, conds: Sequence[Any]
) -> list[Prediction]:
    """Predict at (z, λ) under each of several batches of conditions, in one batched call.

    Raises:
        PilotageError: if the batches of conditions differ in structure or in the shape of a row.
    """
    times = len(conds)
    if times == 1:
        return [denoise(z, lam, conds[0])]
    joint = denoise(torch.cat([z] * times), spread(lam, times * len(z)), batching.joined(conds))
    v = [None] * times if joint.v is None else joint.v.chunk(times)
    whole = zip(joint.x.chunk(times), joint.eps.chunk(times), v, strict=True)
    return [Prediction(*fields) for fields in whole]


def toward(start: Prediction, end: Prediction, reach: float | Tensor) -> Prediction:
    """Return start + reach · (end − start), exact at reach 0 and 1; v is that of the end.

    Args:
        start: the prediction at reach 0.
        end: the prediction at reach 1.
        reach: extrapolation factor, one number or one per example (B,).
    """
    far = like(reach.to(end.x), end.x) if isinstance(reach, Tensor) else reach
    x, eps = torch.lerp(start.x, end.x, far), torch.lerp(start.eps, end.eps, far)
    return Prediction(x, eps, end.v)


def classifier(denoise: Denoiser, log_prob: LogProb, w: float | Tensor) -> Denoiser:
    """ε̃ = ε − w σ ∇_z log p(c | z, λ) (2105.05233, Algorithm 2, with its code's scale w).

    Args:
        denoise: any denoiser, conditional or not.
        log_prob: differentiable ``(z, lam, cond) -> (B,)``, one log-probability per example (or
            any other differentiable score of z). It is summed over the batch, so the gradient of an
            example does not depend on the others.
        w: the strength, one number or one per example (B,).

    Raises:
        PilotageError: if w is NaN or infinite.
    """
    push = score(log_prob, w)

    def guided(z: Tensor, lam: Tensor, cond: Any = None) -> Prediction:
        prediction = denoise(z, lam, cond)
        push_z = push(z, lam, cond)
        lam = like(lam, z)
        shift = sigma(lam) * push_z
        return prediction._replace(
            x=prediction.x + shift * torch.exp(-lam / 2), eps=prediction.eps - shift
        )

    return guided


def on_x(denoise: Denoiser, log_prob: LogProb) -> LogProb:
    """Turn a score of the clean image into one of z: log_prob(x̂(z, λ, c), λ, c).

    A function that was never trained on noise can then guide (2302.07121, forward guidance); its
    gradient passes through the denoiser.

    Args:
        denoise: predicts x̂.
        log_prob: differentiable ``(x, lam, cond) -> (B,)``.
    """

    def of_z(z: Tensor, lam: Tensor, cond: Any) -> Tensor:
        return log_prob(denoise(z, lam, cond).x, lam, cond)

    return of_z


def score(log_prob: LogProb, w: float | Tensor) -> Callable[[Tensor, Tensor, Any], Tensor]:
    """Return w ∇_z log p(c | z, λ) as a function of (z, lam, cond).

    :func:`classifier` shifts ε by it; ``ancestral(score=...)`` shifts the mean.

    Args:
        log_prob: as for :func:`classifier`.
        w: as for :func:`classifier`.

    Raises:
        PilotageError: if w is NaN or infinite.
        BrokenGuidanceError: when called, if a gradient is NaN or infinite.
    """
    strength = check_w(w)

    def push(z: Tensor, lam: Tensor, cond: Any = None) -> Tensor:
        gradient = _gradient(log_prob, z, lam, cond)
        return gradient * (like(strength.to(z), z) if isinstance(strength, Tensor) else strength)

    return push


def _gradient(log_prob: LogProb, z: Tensor, lam: Tensor, cond: Any) -> Tensor:
    """∇_z Σ_b log p(c_b | z_b, λ_b), also inside ``torch.no_grad``."""
    lam = spread(lam, len(z))
    with torch.enable_grad():
        leaf = z.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(log_prob(leaf, lam, cond).sum(), leaf)
    if not gradient.isfinite().all():
        where = lam[~gradient.flatten(1).isfinite().all(dim=1)][0].item()
        raise BrokenGuidanceError(
            f"the gradient of log_prob at lam = {where:.4g} is not finite: it must be "
            "differentiable there."
        )
    return gradient


def between(guided: Denoiser, plain: Denoiser, lam_lo: float, lam_hi: float) -> Denoiser:
    """Use ``guided`` where lam_lo <= λ <= lam_hi, ``plain`` elsewhere (2404.07724).

    The interval is in λ, so it covers the same noise levels at any number of steps. Each example is
    evaluated by one denoiser only.

    Raises:
        PilotageError: unless lam_lo <= lam_hi.
    """
    if not lam_lo <= lam_hi:
        raise PilotageError(
            f"lam_lo is {lam_lo} and lam_hi is {lam_hi}: lam_lo must not exceed lam_hi."
        )

    def gated(z: Tensor, lam: Tensor, cond: Any = None) -> Prediction:
        inside = ((lam >= lam_lo) & (lam <= lam_hi)).expand(len(z))
        if inside.all():
            return guided(z, lam, cond)
        if not inside.any():
            return plain(z, lam, cond)
        lam = lam.expand(len(z))
        places = [inside.nonzero().squeeze(1), (~inside).nonzero().squeeze(1)]
        parts = [
            side(z[i], lam[i], batching.take(cond, i))
            for side, i in zip((guided, plain), places, strict=True)
        ]
        order = torch.cat(places).argsort()
        return Prediction(
            x=torch.cat([p.x for p in parts])[order],
            eps=torch.cat([p.eps for p in parts])[order],
            v=_join([p.v for p in parts], order),
        )

    return gated


def _join(fields: list[Tensor | None], order: Tensor) -> Tensor | None:
    """Concatenate the fields and reorder rows; None if one is missing."""
    present = [field for field in fields if field is not None]
    return torch.cat(present)[order] if len(present) == len(fields) else None


def clip_x(denoise: Denoiser, bound: float = 1.0) -> Denoiser:
    """Clip x to [−bound, bound], and re-derive ε from the clipped x.

    Raises:
        PilotageError: unless bound > 0.
    """
    if not bound > 0:
        raise PilotageError(f"bound is {bound}: it must be above 0.")

    def clipped(z: Tensor, lam: Tensor, cond: Any = None) -> Prediction:
        prediction = denoise(z, lam, cond)
        return move_x(prediction, lam, prediction.x.clamp(-bound, bound))

    return clipped


def keep_known(denoise: Denoiser, known: Tensor, mask: Tensor) -> Denoiser:
    """Replace the known pixels of x, and re-derive ε (2112.10741, section 4.3).

    The sampled image then has exactly its known pixels.

    Args:
        denoise: a denoiser, usually clipped.
        known: (B, C, H, W).
        mask: (B, 1, H, W), 1 where known.
    """

    def kept(z: Tensor, lam: Tensor, cond: Any = None) -> Prediction:
        prediction = denoise(z, lam, cond)
        return move_x(prediction, lam, torch.where(mask > 0, known, prediction.x))

    return kept


def check_w(w: float | Tensor, name: str = "w") -> float | Tensor:
    """Return a strength as a float or a tensor; raise a PilotageError for NaN and infinity."""
    finite = torch.as_tensor(w).isfinite().all()
    if not finite:
        raise PilotageError(f"{name} is {w}: it must be a finite number.")
    return w if isinstance(w, Tensor) else float(w)
