"""How a model is guided, as one value: strengths, rule, where it acts, and what it leads away from.

The same value is resolved from a spec, applied to a denoiser, recorded beside images and in rows,
and read back from rows by the report.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from torch import Tensor

from pilotage.diffusion import Denoiser, between, classifier, composed
from pilotage.diffusion.composition import several
from pilotage.diffusion.guidance import LogProb, score
from pilotage.diffusion.prediction import Prediction
from pilotage.diffusion.steps import Score
from pilotage.errors import PilotageError
from pilotage.networks.text_cond import EncodedText
from pilotage.settings.rules import CFG, Rule

Shift = Literal["eps", "mean"]

# written beside every result
CONVENTION = "(1 + w) * conditional - w * unconditional; guidance_scale = 1 + w"
CLASSIFIER_CONVENTION = "eps - w * sigma * grad log p(c | z), of the model at classifier_free_w"


class Guide(Protocol):
    """A classifier that guides: where it is from, and log p(c | z, λ)."""

    @property
    def folder(self) -> Path:
        """Its run folder."""
        ...

    @property
    def step(self) -> int:
        """Its training step."""
        ...

    @property
    def hash(self) -> str:
        """SHA-256 of its weights."""
        ...

    @property
    def log_prob(self) -> LogProb:
        """(z, λ, c) to (B,)."""
        ...


@dataclass(frozen=True)
class RecordedGuide:
    """A classifier that a row names by the hash of its weights."""

    hash: str


@dataclass(frozen=True)
class RecordedRule:
    """A rule that a row names and that is not registered: its text, which guides nothing."""

    text: str

    def __str__(self) -> str:
        """The text."""
        return self.text

    def apply(self, denoise: Denoiser, w: float, null: Any) -> Denoiser:
        """Refuse."""
        raise PilotageError(f"rule is {self.text!r}: it is not registered.")


@dataclass(frozen=True)
class Guidance:
    """How images are guided.

    Attributes:
        w: the strength: of the classifier if there is one, else classifier-free.
        rule: how conditional and unconditional predictions are combined.
        interval: the log-SNR between which guidance acts; None for everywhere.
        classifier: that guides, or None.
        classifier_free_w: the strength beside a classifier's; not used without one.
        classifier_shift: what a classifier moves, "eps" or "mean" (ADM's Algorithm 1).
        negative: the negative prompt, in place of the empty one; or None.
        image_w: the image guidance scale as w, apart from the text's; or None.
        compose: prompts with weights, in place of one prompt and w.
    """

    w: float = 0.0
    rule: Rule | RecordedRule = field(default_factory=CFG)
    interval: tuple[float, float] | None = None
    classifier: Any = None  # a Guide, or a RecordedGuide of a row
    classifier_free_w: float = 0.0
    classifier_shift: Shift = "eps"
    negative: str | None = None
    image_w: float | None = None
    compose: tuple[tuple[str, float], ...] = ()

    @property
    def free_w(self) -> float:
        """The classifier-free strength."""
        return self.w if self.classifier is None else self.classifier_free_w

    @property
    def by_classifier(self) -> bool:
        """Whether w is a classifier's strength."""
        return self.classifier is not None

    @property
    def convention(self) -> str:
        """What w means, in words."""
        return CLASSIFIER_CONVENTION if self.by_classifier else CONVENTION

    def at(self, w: float) -> "Guidance":
        """The same guidance of another strength."""
        return replace(self, w=w)

    def apply(self, denoise: Denoiser, null: Any) -> Denoiser:
        """The guided denoiser; a classifier that shifts the mean is left to the step.

        Args:
            denoise: of the model.
            null: the null condition, or None of a model that knows none. With ``image_w`` both
                conditions and null are dicts of their parts "image" and "text"; with ``compose``
                the conditions are a tuple, one batch for each composed prompt.
        """
        if self.compose:
            return self._composed(denoise, null)
        if self.image_w is not None:
            return several(_of_parts(denoise), {"image": self.image_w, "text": self.w}, null)
        guided = plain = denoise
        if null is not None:
            guided = self.rule.apply(denoise, self.free_w, null)
        if self.classifier is not None and self.classifier_shift == "eps":
            plain, guided = guided, classifier(guided, self.classifier.log_prob, self.w)
        return guided if self.interval is None else between(guided, plain, *self.interval)

    def mean_score(self, cond: Any) -> Score | None:
        """A classifier's shift of the step's mean, if that is how it guides."""
        if self.classifier is None or self.classifier_shift == "eps":
            return None
        push = score(self.classifier.log_prob, self.w)
        return lambda z, lam: push(z, lam, cond)

    def _composed(self, denoise: Denoiser, null: Any) -> Denoiser:
        weights = [weight for _, weight in self.compose]

        def guided(z: Tensor, lam: Tensor, cond: Any = None) -> Prediction:
            return composed(denoise, list(zip(cond, weights, strict=True)), null)(z, lam)

        return guided

    def label(self) -> str:
        """The strength in a title, and what else steers."""
        return ", ".join([f"w = {self.w:g}", *self.modifiers()])

    def modifiers(self) -> list[str]:
        """The rule, if it is not the usual one, and where guidance acts, if not everywhere."""
        rule = [] if self.rule == CFG() else [str(self.rule)]
        between = "λ from {:g} to {:g}"
        return rule + ([] if self.interval is None else [between.format(*self.interval)])

    def record(self) -> dict[str, Any]:
        """The strengths and what they mean, for a file beside the images."""
        if self.classifier is None:
            return {
                "w": self.w,
                "guidance_scale": 1 + self.w,
                "convention": self.convention,
                **self._where(),
            }
        return {
            "w": self.w,
            "classifier": str(self.classifier.folder),
            "classifier_step": self.classifier.step,
            "classifier_free_w": self.classifier_free_w,
            "classifier_shift": self.classifier_shift,
            "convention": self.convention,
            **self._where(),
        }

    def row(self) -> dict[str, Any]:
        """What decides a row of a table; nothing of what is at its default, as in earlier rows."""
        found: dict[str, Any] = {"w": self.w, **self._where()}
        if self.classifier is not None:
            found |= {
                "guidance": "classifier",
                "classifier_hash": self.classifier.hash,
                "classifier_free_w": self.classifier_free_w,
                "classifier_shift": self.classifier_shift,
            }
        words = {"negative": self.negative, "image_w": self.image_w}
        return found | {name: value for name, value in words.items() if value is not None}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Guidance":
        """The guidance that a row was sampled with; the values of the row are checked before.

        A rule that is not registered is kept as the row's text.
        """
        rule = row.get("rule", "cfg")
        known = re.match(r"[\w-]*", rule)[0] in Rule.known  # type: ignore[index]
        interval = row.get("guidance_interval")
        by_classifier = row.get("guidance") == "classifier"
        return cls(
            w=row["w"],
            rule=Rule.parse(rule) if known else RecordedRule(rule),
            interval=None if interval is None else (interval[0], interval[1]),
            classifier=RecordedGuide(row["classifier_hash"]) if by_classifier else None,
            classifier_free_w=row["classifier_free_w"] if by_classifier else 0.0,
            classifier_shift=row["classifier_shift"] if by_classifier else "eps",
            negative=row.get("negative"),
            image_w=row.get("image_w"),
        )

    def _where(self) -> dict[str, Any]:
        """Rule and interval, where they are not the usual ones."""
        rule = {} if self.rule == CFG() else {"rule": str(self.rule)}
        return rule | ({} if self.interval is None else {"guidance_interval": list(self.interval)})


def _of_parts(denoise: Denoiser) -> Denoiser:
    """The denoiser of a condition in parts, pooled text and sequence, and image."""

    def of_parts(z: Tensor, lam: Tensor, cond: Any = None) -> Prediction:
        pooled, sequence = cond["text"]
        return denoise(z, lam, EncodedText(pooled, sequence, cond["image"]))

    return of_parts
