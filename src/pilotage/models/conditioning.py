"""What is asked for, as the conditions of a model's network: one face for every kind.

A conditioner checks what the user wants (``values``, ``check``) before anything is sampled, and
encodes it once per call; ``encode`` then gives the conditions, and the null, of any rows.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypedDict

import torch
from jaxtyping import Float
from torch import Tensor

from pilotage.conditions import CaptionSpace, Labels, Space
from pilotage.diffusion import Denoiser, batching, keep_known
from pilotage.errors import PilotageError
from pilotage.models.guidance_spec import Guidance
from pilotage.networks.text_cond import EncodedText, TextCond
from pilotage.networks.text_unet import TextUNet, concatenated_channels
from pilotage.settings import TextRecipe

ENCODED_AT_ONCE = 256

# the rows of a batch to its conditions and their null
Encoded = Callable[[slice], tuple[Any, Any]]


class ConditionImages(TypedDict, total=False):
    """Images that a network sees beside x, in [−1, 1]: one per image to be made, or one for all.

    Attributes:
        low_res: (N, C, h, w), to be enlarged.
        known: (N, C, H, W), to be completed.
        known_mask: (N, 1, H, W), 1 where it is known.
    """

    low_res: Tensor | None
    known: Tensor | None
    known_mask: Tensor | None


class Conditioner(Protocol):
    """From what is asked for to conditions of a network."""

    @property
    def noun(self) -> str:
        """What is asked for, in messages."""
        ...

    @property
    def has_null(self) -> bool:
        """Whether the network knows a null condition."""
        ...

    @property
    def classifiers(self) -> bool:
        """Whether a classifier can guide."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels, if there are labels."""
        ...

    def values(self, wanted: Any) -> list[Any]:
        """Single values of what a user asks for.

        Raises:
            PilotageError: naming the one that does not exist.
        """
        ...

    def check(self, values: Sequence[Any], guidance: Guidance, images: ConditionImages) -> Any:
        """One value per image, checked with what goes with them.

        Args:
            values: one per image.
            guidance: how these will be guided.
            images: those that are given.

        Raises:
            PilotageError: naming the setting that is wrong.
        """
        ...

    def encode(self, conditions: Any, guidance: Guidance) -> Encoded:
        """The conditions and the null of any rows; what does not change is computed once."""
        ...

    def keep(self, denoise: Denoiser, conditions: Any, rows: slice) -> Denoiser:
        """The denoiser, held to what is known of the images."""
        ...


@dataclass(frozen=True)
class SpaceConditioner:
    """Conditions that the network reads as the space collates them, such as labels.

    Attributes:
        space: its ``values`` reads what users ask for.
        has_null: whether the network knows the null.
        device: of the network.
        noun: what is asked for, in messages.
        classifiers: whether a classifier can guide.
    """

    space: Space
    has_null: bool
    device: torch.device
    noun: str = "labels"
    classifiers: bool = True

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels, if the space has labels."""
        return self.space.classes if isinstance(self.space, Labels) else ()

    def values(self, wanted: Any) -> list[Any]:
        """Single values, as the space reads them."""
        return self.space.values(wanted.tolist() if isinstance(wanted, Tensor) else wanted)

    def check(
        self, values: Sequence[Any], guidance: Guidance, images: ConditionImages
    ) -> tuple[Any, ...]:
        """The values; prompts and images mean nothing to the network, and are refused."""
        given: dict[str, Any] = {name: x for name, x in images.items() if x is not None}
        for name in ("negative", "image_w", "compose"):
            if getattr(guidance, name) not in (None, ()):
                given[name] = getattr(guidance, name)
        if given:
            raise PilotageError(
                f"{next(iter(given))} is given: the run is conditioned on {self.noun}, so it means "
                "nothing to it."
            )
        return tuple(values)

    def encode(self, conditions: tuple[Any, ...], guidance: Guidance) -> Encoded:
        """The collated values, and the space's null."""
        cond = batching.to(self.space.collate(conditions), self.device)
        return lambda rows: (batching.take(cond, rows), self.space.null)

    def keep(self, denoise: Denoiser, conditions: Any, rows: slice) -> Denoiser:
        """The denoiser as it is."""
        return denoise


@dataclass(frozen=True)
class Prompts:
    """Captions, one per image, and the images that go with them.

    Attributes:
        captions: one per image.
        low_res: an image to enlarge for each (N, C, h, w), or None.
        known: an image to complete for each (N, C, H, W), or None.
        known_mask: (N, 1, H, W), 1 where it is known.
    """

    captions: tuple[str, ...]
    low_res: Float[Tensor, "N C h w"] | None = None
    known: Float[Tensor, "N C H W"] | None = None
    known_mask: Float[Tensor, "N 1 H W"] | None = None


@dataclass(frozen=True)
class CaptionConditioner:
    """Captions, which the network's text encoder reads, and images concatenated with x.

    Attributes:
        space: of the captions.
        network: its ``encode_text`` reads them.
        recipe: says which images the network sees.
        shape: (C, H, W) of an image.
    """

    space: CaptionSpace
    network: TextUNet
    recipe: TextRecipe
    shape: tuple[int, ...]
    noun: str = "captions"
    has_null: bool = True
    classifiers: bool = False
    classes: tuple[str, ...] = field(default=(), init=False)

    def values(self, wanted: Any) -> list[str]:
        """Captions from one, or several."""
        return self.space.values(wanted)

    def check(self, values: Sequence[str], guidance: Guidance, images: ConditionImages) -> Prompts:
        """The captions with their images, checked."""
        self._check_strengths(guidance, values)
        self._warn_of_nulls(guidance)
        return Prompts(tuple(values), **self._images(len(values), images))

    def encode(self, conditions: Prompts, guidance: Guidance) -> Encoded:
        """Text features, of every distinct caption once, and the images beside x."""
        negative = guidance.negative or ""
        composed = [caption for caption, _ in guidance.compose]
        distinct = list(dict.fromkeys([*conditions.captions, negative, *composed]))
        features = self._features(distinct)
        place = {caption: k for k, caption in enumerate(distinct)}

        def of(rows: slice) -> tuple[Any, Any]:
            captions = conditions.captions[rows]
            image = self._beside(conditions, rows, len(captions))

            def told(texts: Sequence[str]) -> EncodedText:
                at = torch.tensor([place[text] for text in texts], device=self._device)
                found: EncodedText = batching.take(features, at)._replace(image=image)
                return found

            null = told([negative] * len(captions))
            if guidance.compose:
                return tuple(told([text] * len(captions)) for text in composed), null
            cond = told(captions)
            return _in_parts(cond, null) if guidance.image_w is not None else (cond, null)

        return of

    def keep(self, denoise: Denoiser, conditions: Prompts, rows: slice) -> Denoiser:
        """The denoiser, with the known pixels kept."""
        if conditions.known is None or conditions.known_mask is None:
            return denoise
        known, mask = (i[rows].to(self._device) for i in (conditions.known, conditions.known_mask))
        return keep_known(denoise, known, mask)

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def _features(self, captions: list[str]) -> Any:
        """Pooled features and sequences of captions, on the device."""
        tokens = self.space.collate(captions)
        parts = [slice(k, k + ENCODED_AT_ONCE) for k in range(0, len(captions), ENCODED_AT_ONCE)]
        with torch.no_grad():
            encoded = [
                self.network.encode_text(batching.to(batching.take(tokens, p), self._device))
                for p in parts
            ]
        return batching.joined(encoded)

    def _beside(self, conditions: Prompts, rows: slice, count: int) -> Tensor | None:
        """The channels concatenated with x."""
        given = (conditions.low_res, conditions.known, conditions.known_mask)
        images = [None if i is None else i[rows].to(self._device) for i in given]
        empty = torch.zeros(count, 1, dtype=torch.int64, device=self._device)
        cond = TextCond(empty, empty.bool(), *images)
        return concatenated_channels(self.network.plan, cond, self.shape[1:])

    def _check_strengths(self, guidance: Guidance, captions: Sequence[str]) -> None:
        """Refuse strengths that do not go together."""
        compose, image_w = guidance.compose, guidance.image_w
        if guidance.interval is not None and (compose or image_w is not None):
            raise PilotageError(
                f"guidance_interval is {guidance.interval}: it is of one strength w, and goes "
                "with neither compose nor image_w."
            )
        if image_w is not None and self.recipe.low_res is None and not self.recipe.inpaint:
            raise PilotageError(f"image_w is {image_w}: the run sees no image beside x.")
        if compose and (image_w is not None or set(captions) != {""}):
            raise PilotageError(
                "compose is given: its weights take the place of w, image_w and the captions."
            )

    def _warn_of_nulls(self, guidance: Guidance) -> None:
        """Warn of a negative prompt without effect, and of nulls that were never trained."""
        recipe, w, image_w = self.recipe, guidance.w, guidance.image_w
        weights = [weight for _, weight in guidance.compose]
        if guidance.negative is not None and w == 0 and image_w is None and weights in ([], [1.0]):
            _warn(f"negative is {guidance.negative!r}: it has no effect at w = 0")
        if weights not in ([], [1.0]) and recipe.p_uncond == 0:
            _warn(
                f"compose has weights {weights}, but the run was trained with p_uncond 0: its null "
                "condition was never trained, so guidance means nothing"
            )
        if image_w is not None and image_w != w and recipe.p_uncond_image == 0:
            _warn(
                f"image_w is {image_w}, but the run was trained with p_uncond_image 0: it always "
                "saw its image, so a strength of the image's own means nothing"
            )

    def _images(self, count: int, images: ConditionImages) -> dict[str, Tensor | None]:
        """The images beside x, one per image to be made.

        Raises:
            PilotageError: if one is missing, given in vain, or of another shape.
        """
        recipe, (channels, height, width) = self.recipe, self.shape
        low = recipe.low_res and (channels, *recipe.low_res)
        if recipe.low_res and images.get("low_res") is None:
            raise PilotageError(
                "low_res is missing: the run enlarges images of "
                f"{recipe.low_res[0]}x{recipe.low_res[1]}, so give them."
            )
        if (images.get("known") is None) != (images.get("known_mask") is None):
            raise PilotageError("known and its mask must be given together.")
        full = recipe.inpaint and (channels, height, width)
        shapes = {"low_res": low, "known": full, "known_mask": full and (1, height, width)}
        given: dict[str, Any] = dict(images)
        return {name: _fitting(name, given.get(name), s, count) for name, s in shapes.items()}


def _in_parts(cond: EncodedText, null: EncodedText) -> tuple[dict[str, Any], dict[str, Any]]:
    """Conditions and null as dicts, whose image and text have strengths of their own."""
    if cond.image is None:
        raise PilotageError("image_w is given: the run sees no image beside x.")
    nulls = {"image": torch.zeros_like(cond.image), "text": null[:2]}
    return {"image": cond.image, "text": cond[:2]}, nulls


def _warn(said: str) -> None:
    warnings.warn(said, stacklevel=7)


def _fitting(
    name: str, images: Tensor | None, shape: tuple[int, ...] | Literal[False] | None, count: int
) -> Tensor | None:
    """Images of a shape, one for each to be made; a single one is for all."""
    if images is None:
        return None
    if not shape:
        raise PilotageError(f"{name} is given: the run was not trained to see such an image.")
    if images.ndim != 4 or images.shape[1:] != shape or len(images) not in (1, count):
        raise PilotageError(
            f"{name} has shape {tuple(images.shape)}: it must be {(count, *shape)}, or one image "
            "for all."
        )
    return images.expand(count, *shape).float()
