"""The samplers, as values: each names its step function and the parameters of that.

Adding one means adding a class here: the command line, sweeps, records and reports know it then.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from pilotage.errors import PilotageError
from pilotage.settings.base import AS_TEXT, Choice, Fraction

if TYPE_CHECKING:
    from pilotage.diffusion import Step
    from pilotage.diffusion.steps import Score

SHORT_FORMS = ("v", "eta")  # parameters that are settings of their own too: --v, --eta
SMALL_V = 0.3  # the variance fraction where none is learned (2207.12598, section 4)


class Sampler(Choice):
    """How a step from λ_t to λ_s is taken.

    Attributes:
        calls_per_step: network calls of a step.
        takes_score: whether a classifier can shift the mean of the step (2105.05233, Algorithm 1).
    """

    family: ClassVar[str] = "sampler"
    calls_per_step: ClassVar[int] = 1
    takes_score: ClassVar[bool] = False

    @property
    def uses_noise(self) -> bool:
        """Whether a step needs noise."""
        return False

    def fitted(self, learned_variance: bool) -> Self:
        """The sampler with nothing left open, for a model that learned its variance or did not."""
        return self

    def step(self, score: "Score | None" = None) -> "Step":
        """The step function.

        Args:
            score: a classifier's shift of the mean; of a sampler that ``takes_score``.
        """
        raise NotImplementedError

    def record(self) -> dict[str, Any]:
        """What files say of it: the text form, but parameters with short forms by their names."""
        short = {name: value for name, value in self if name in SHORT_FORMS}
        return {"sampler": self.text(without=SHORT_FORMS), **short}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Sampler":
        """The sampler of a file."""
        return with_short_forms([cls.parse(record["sampler"])], record)[0]


class Ancestral(Sampler):
    """Ancestral sampling (2207.12598, equations 3 and 4)."""

    name: ClassVar[str] = "ancestral"
    takes_score: ClassVar[bool] = True

    v: Fraction | Literal["learned"] | None = Field(
        None, description="Variance fraction; if not given, as the network learned it, or 0.3."
    )

    @property
    def uses_noise(self) -> bool:
        """Always."""
        return True

    def fitted(self, learned_variance: bool) -> Self:
        """With v learned where the network did, else 0.3, unless it is given.

        Raises:
            PilotageError: if v is to be learned, but was not.
        """
        if self.v == "learned" and not learned_variance:
            raise PilotageError(
                "v is 'learned': it must be a number, since the run's network predicts no variance."
            )
        return (
            self.replace(v="learned" if learned_variance else SMALL_V) if self.v is None else self
        )

    def step(self, score: "Score | None" = None) -> "Step":
        """See :func:`pilotage.diffusion.ancestral`."""
        from pilotage.diffusion import ancestral

        return ancestral(SMALL_V if self.v is None else self.v, score)


class DDIM(Sampler):
    """Denoising diffusion implicit models (2010.02502, equation 12)."""

    name: ClassVar[str] = "ddim"

    eta: Fraction = Field(0.0, description="Randomness; 0 is deterministic.")

    @property
    def uses_noise(self) -> bool:
        """With eta > 0."""
        return self.eta > 0

    def step(self, score: "Score | None" = None) -> "Step":
        """See :func:`pilotage.diffusion.ddim`."""
        from pilotage.diffusion import ddim

        return ddim(self.eta)


# the type of a setting: the value, or its text form
SamplerField = Annotated[Sampler, AS_TEXT]


def with_short_forms(samplers: Sequence[Sampler], given: Mapping[str, Any]) -> list[Sampler]:
    """The samplers with the parameters that were given apart from them, by their short forms.

    Raises:
        PilotageError: if none of the samplers has such a parameter, or it has another value.
    """
    found = list(samplers)
    for name in SHORT_FORMS:
        value = given.get(name)
        owners = [s for s in Sampler.known.values() if name in s.model_fields]
        if value is None or all(value == s.model_fields[name].default for s in owners):
            continue
        if not any(name in type(s).model_fields for s in found):
            names, others = (", ".join(s.name for s in kind) for kind in (owners, found))
            raise PilotageError(
                f"{name} is {value}: it must go with the {names} sampler, not {others}."
            )
        found = [_with(s, name, value) if name in type(s).model_fields else s for s in found]
    return found


def _with(sampler: Sampler, name: str, value: Any) -> Sampler:
    if sampler.parameters.get(name, value) != value:
        raise PilotageError(f"{name} is {value}: the sampler is {sampler}, so it must not differ.")
    return sampler.replace(**{name: value})
