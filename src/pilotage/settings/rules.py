"""The guidance rules, as values: how conditional and unconditional predictions become one.

Adding one means adding a class here (and a function of denoisers, if it is more than a formula).
"""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pilotage.settings.base import AS_TEXT, Choice

if TYPE_CHECKING:
    from pilotage.diffusion import Denoiser


class Rule(Choice):
    """A function from a conditional denoiser to a guided one."""

    family: ClassVar[str] = "rule"

    def apply(self, denoise: "Denoiser", w: float, null: Any) -> "Denoiser":
        """The guided denoiser, of strength w against the null condition."""
        raise NotImplementedError


class CFG(Rule):
    """Classifier-free guidance (2207.12598, equation 6)."""

    name: ClassVar[str] = "cfg"

    def apply(self, denoise: "Denoiser", w: float, null: Any) -> "Denoiser":
        """(1 + w) · conditional − w · unconditional."""
        from pilotage.diffusion import classifier_free

        return classifier_free(denoise, w, null)


# the type of a setting: the value, or its text form
RuleField = Annotated[Rule, AS_TEXT]
