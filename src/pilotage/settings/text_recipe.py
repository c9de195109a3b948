"""The recipe of a denoiser on captions, and concatenated conditioning channels (2112.10741)."""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pilotage.settings.architectures import TextUNetSettings
from pilotage.settings.base import MaybeSize, Positive
from pilotage.settings.recipe import FixedNoiseLevels, Predicts, TrainingRecipe, VlbWeight


class TextRecipe(FixedNoiseLevels, TrainingRecipe):
    """A denoiser's training run on captioned images."""

    task: ClassVar[str] = "captioned"
    marks: ClassVar[dict[str, str]] = {"condition": "text"}

    condition: Literal["text"] = Field("text", description="What images are conditioned on.")
    caption_column: str | None = Field(
        None, description="Column of the captions; found if not given."
    )
    tokenizer: str = Field(
        "bpe",
        description="bpe, trained on the run's captions, or a tokenizer.json file; with "
        "start_from, that run's.",
    )
    encoder: str | None = Field(
        None,
        description="In place of a tokenizer: a text encoder of transformers, a folder or hub id, "
        "that is not trained.",
    )
    vocabulary: Positive = Field(1024, description="Tokens of a trained tokenizer, at most.")
    context: Positive = Field(64, description="Tokens of a caption; longer ones are cut.")
    low_res: MaybeSize = Field(
        None, description="Super-resolution: height and width of the images to be enlarged."
    )
    augment: float = Field(
        0.1, ge=0, description="With low_res: its images get noise of up to this deviation."
    )
    inpaint: bool = Field(
        False, description="In-painting: complete images of which random parts are erased."
    )
    p_uncond_image: float = Field(
        0.1, ge=0, le=1, description="Probability of dropping the conditioning image, on its own."
    )
    objective: Literal["simple", "hybrid"] = Field(
        "simple",
        description="Squared error of the output; hybrid also learns the variance (2102.09672).",
    )
    vlb_weight: VlbWeight = 1.0
    network: TextUNetSettings = TextUNetSettings()
    predicts: Predicts = "v"
    p_uncond: float = Field(
        0.1, ge=0, le=1, description="Probability of dropping the caption of an example."
    )

    @model_validator(mode="after")
    def _tells_once(self) -> Self:
        if self.encoder is not None and self.tokenizer != "bpe":
            raise ValueError(
                f"encoder is {self.encoder!r} and tokenizer is {self.tokenizer!r}: an encoder has "
                "its own tokenizer, so give one of the two."
            )
        return self

    @model_validator(mode="after")
    def _nothing_in_vain(self) -> Self:
        concatenated = self.low_res is not None or self.inpaint
        for name, used, needed in (
            ("augment", self.low_res is not None, "low_res"),
            ("p_uncond_image", concatenated, "low_res or inpaint"),
            ("vlb_weight", self.objective == "hybrid", "objective hybrid"),
        ):
            value = getattr(self, name)
            if not used and value != type(self).model_fields[name].default:
                raise ValueError(f"{name} is {value}: it needs {needed}.")
        return self

    @model_validator(mode="after")
    def _enlarges(self) -> Self:
        larger = (
            self.low_res
            and self.size
            and any(low >= high for low, high in zip(self.low_res, self.size, strict=True))
        )
        if larger:
            raise ValueError(
                f"low_res is {self.low_res} and size is {self.size}: low_res must be the smaller."
            )
        return self

    @property
    def caption_settings(self) -> dict[str, Any]:
        """Captions are read, from their column."""
        return {"captions": True, "caption_column": self.caption_column}
