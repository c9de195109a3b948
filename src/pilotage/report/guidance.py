"""What w is the strength of: classifier-free guidance, or that of a certain classifier."""

from collections.abc import Iterable
from typing import NamedTuple

FREE, BY_CLASSIFIER = "classifier-free", "classifier"
KINDS = (FREE, BY_CLASSIFIER)
SHIFTS = ("eps", "mean")


class Guidance(NamedTuple):
    """Strengths of two of these are not comparable.

    Attributes:
        kind: one of ``KINDS``; the other fields are a classifier's.
        classifier: the hash of its weights.
        free_w: the classifier-free strength beside it.
        shift: what it moves, one of ``SHIFTS``.
        interval: the log-SNR between which guidance of either kind acts; None for everywhere.
    """

    kind: str = FREE
    classifier: str = ""
    free_w: float | None = None
    shift: str = ""
    interval: tuple[float, float] | None = None

    @property
    def by_classifier(self) -> bool:
        """Whether w is a classifier's strength."""
        return self.kind == BY_CLASSIFIER


def guidance_names(found: Iterable[Guidance], free_w: bool | None = None) -> dict[Guidance, str]:
    """Short names: the kind, and of classifiers what tells them apart.

    Args:
        found: what is to be named.
        free_w: whether to tell the classifier-free strength; if several occur unless given.
    """
    found = list(dict.fromkeys(found))
    guided = [g for g in found if g.by_classifier]
    hashes, shifts = {g.classifier for g in guided}, {g.shift for g in guided}
    if free_w is None:
        free_w = len({g.free_w for g in guided}) > 1
    names = {}
    for g in found:
        if not g.by_classifier:
            names[g] = FREE + _interval(g, ", λ from {:g} to {:g}")
            continue
        parts = [f"classifier {g.classifier[:6]}" if len(hashes) > 1 else "classifier"]
        parts += [f"classifier_free_w {g.free_w:g}"] if free_w else []
        parts += [f"{g.shift} shift"] if len(shifts) > 1 else []
        names[g] = ", ".join(parts) + _interval(g, ", λ from {:g} to {:g}")
    return names


def guidance_text(guidance: Guidance) -> str:
    """What w is, in full."""
    where = _interval(guidance, ", from λ = {:g} to {:g} only")
    if not guidance.by_classifier:
        return f"w is the classifier-free strength{where}"
    return (
        f"w is the strength of classifier {guidance.classifier[:6]} "
        f"({guidance.shift} shift, classifier_free_w = {guidance.free_w:g}){where}"
    )


def _interval(guidance: Guidance, words: str) -> str:
    return "" if guidance.interval is None else words.format(*guidance.interval)


def w_text(guidance: Guidance | None, w: float) -> str:
    """A strength as the head of a row: a classifier's 0 in words, as 2105.05233 has it."""
    if w or guidance is None or not guidance.by_classifier:
        return f"{w:g}"
    return "no guidance" if guidance.free_w in (0, -1) else "no classifier"
