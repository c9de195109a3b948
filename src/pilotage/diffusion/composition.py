r"""Guidance by several conditions at once: weighted sums, or one strength for each part.

With e(c) for the prediction under c and ∅ for the null, every rule here is e(base) + Σ reach ·
(e(to) − e(from)), for x and ε alike, in one batched call without terms of weight zero. A negative
prompt needs no rule of its own: it replaces the null in
:func:`~pilotage.diffusion.guidance.classifier_free`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from pilotage.diffusion import batching
from pilotage.diffusion.denoiser import Denoiser
from pilotage.diffusion.guidance import check_w, classifier_free, predict_all, toward
from pilotage.diffusion.logsnr import like
from pilotage.diffusion.prediction import Prediction
from pilotage.errors import PilotageError

Strength = float | Tensor
Move = tuple[Prediction, Prediction, Strength]


def composed(denoise: Denoiser, parts: Sequence[tuple[Any, Strength]], null: Any) -> Denoiser:
    """e(∅) + Σ_i weight_i · (e(c_i) − e(∅)): c_1 and c_2 and ... (2206.01714, conjunction).

    A weight below 0 is "and not" (negation there). The score at every λ is that of the density
    p(z) Π_i p(c_i | z)^weight_i. One part of weight 1 + w is ``classifier_free(w)``, bit for bit.
    Parts of weight 0 cost nothing. A learned variance is that of the first part with a weight.

    Args:
        denoise: a conditional denoiser that was also trained on the null condition.
        parts: pairs of a condition and its weight: a batch of B conditions or of one for all; one
            number or one per example (B,). The guided denoiser is called without a condition.
        null: as for ``classifier_free``.

    Raises:
        PilotageError: if there are no parts, or a weight is NaN or infinite; when called, if it is
            called with a condition, or parts and null differ in structure.
    """
    if not parts:
        raise PilotageError("parts is empty: it must have at least one condition and its weight.")
    names = [f"parts[{place}] weight" for place in range(len(parts))]
    checked = [(c, check_w(w, name)) for (c, w), name in zip(parts, names, strict=True)]
    active = [part for part in checked if not _is(part[1], 0.0)]

    def guided(z: Tensor, lam: Tensor, cond: Any = None) -> Prediction:
        if cond is not None:
            raise PilotageError(
                "cond is given: it must be None, since the parts are the conditions."
            )
        conds = [batching.repeated(part, len(z)) for part, _ in active]
        empty = batching.expanded(null, batching.repeated(checked[0][0], len(z)))
        if not active:
            return denoise(z, lam, empty)
        if len(active) == 1 and _is(active[0][1], 1.0):
            return denoise(z, lam, conds[0])
        *given, free = predict_all(denoise, z, lam, [*conds, empty])
        moves = [(free, to, weight) for to, (_, weight) in zip(given, active, strict=True)]
        return _moved(moves)._replace(v=given[0].v)

    return guided


def several(
    denoise: Denoiser, strengths: Mapping[str, Strength] | Strength, null: Mapping[str, Any]
) -> Denoiser:
    """Guide by a condition of several parts, such as ``{"text": ..., "image": ...}``.

    A single strength is ``classifier_free`` by the whole condition. One strength for each part
    gives, with c_1, c_2, ... in the order of ``strengths`` (2211.09800, equation 3, where s = 1 +
    w),

        e(∅, ∅, ...) + (1 + w_1) · (e(c_1, ∅, ...) − e(∅, ∅, ...))
                     + (1 + w_2) · (e(c_1, c_2, ...) − e(c_1, ∅, ...)) + ...

    so that c_k is weighted by log p(c_k | z, c_1, ..., c_{k−1}). All 0 is the conditional model,
    all equal is one strength, −1 for the last part is the model without it, and −1 for all the
    model without any. (−1 for an earlier part keeps what the later ones imply about it.) Parts that
    have no strength are never dropped. A learned variance comes from the branch with the most
    parts.

    Args:
        denoise: a conditional denoiser that was also trained on the null of each part.
        strengths: w, or w by the name of the part; each one number or one per example (B,).
        null: the null condition of each part, as for ``classifier_free``.

    Raises:
        PilotageError: if a strength is NaN or infinite, there are none, or one has no null; when
            called, if the condition is not a dict with these parts, or a null does not fit.
    """
    if not isinstance(strengths, Mapping):
        return classifier_free(denoise, strengths, null)
    checked = {name: check_w(w, f"strengths[{name!r}]") for name, w in strengths.items()}
    names = list(checked)
    if not names or not set(names) <= set(null):
        raise PilotageError(
            f"strengths has {names}: it must name one or more of the parts {list(null)}."
        )
    base, steps = _nested(list(checked.values()))

    def guided(z: Tensor, lam: Tensor, cond: Any = None) -> Prediction:
        if not isinstance(cond, dict) or not set(names) <= set(cond):
            what = list(cond) if isinstance(cond, dict) else type(cond).__name__
            raise PilotageError(f"cond is {what}: it must be a dict with the parts {names}.")
        dropped = {name: batching.expanded(null[name], cond[name]) for name in names}
        kept = [base, *(end for end, _ in steps)]
        conds = [{**cond, **{name: dropped[name] for name in names[k:]}} for k in kept]
        found = predict_all(denoise, z, lam, conds)
        pairs = zip(found[:-1], found[1:], steps, strict=True)
        moves = [(start, end, reach) for start, end, (_, reach) in pairs]
        return _moved(moves)._replace(v=found[-1].v) if moves else found[0]

    return guided


def _nested(strengths: list[Strength]) -> tuple[int, list[tuple[int, Strength]]]:
    """Return the number of parts of the first branch, and of each further one with its reach 1 + w.

    Steps of equal reach are merged; the first needs no base if its reach is 1; the last is dropped
    if its reach is 0.
    """
    steps: list[tuple[int, Strength]] = []
    for parts, w in enumerate(strengths, 1):
        if steps and isinstance(w, float) and _is(steps[-1][1], 1 + w):
            steps.pop()
        steps.append((parts, 1 + w))
    base = steps.pop(0)[0] if _is(steps[0][1], 1.0) else 0
    if steps and _is(steps[-1][1], 0.0):
        steps.pop()
    return base, steps


def _moved(moves: Sequence[Move]) -> Prediction:
    """Extrapolate from the start of the first move past its end, then along the others."""
    (start, end, reach), *others = moves
    moved = toward(start, end, reach)
    for start, end, reach in others:
        far = like(reach.to(end.x), end.x) if isinstance(reach, Tensor) else reach
        moved = Prediction(
            x=moved.x + far * (end.x - start.x), eps=moved.eps + far * (end.eps - start.eps)
        )
    return moved


def _is(strength: Strength, number: float) -> bool:
    """Whether a strength is that number for all examples; a tensor is never inspected."""
    return isinstance(strength, float) and strength == number
