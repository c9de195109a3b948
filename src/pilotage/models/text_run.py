"""A run on captions: images that a text asks for, alone or beside another image."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pilotage.conditions import CaptionSpace, Labels
from pilotage.diffusion import batching, clip_x
from pilotage.diffusion.composition import composed, several
from pilotage.diffusion.guidance import keep_known
from pilotage.diffusion.prediction import Prediction
from pilotage.errors import PilotageError
from pilotage.models.classifier import NoisyRun
from pilotage.models.model import Conditioning, Run, Steered
from pilotage.models.sampling_spec import Request, Sampler, checked_seeds
from pilotage.networks.text_cond import EncodedText, TextCond
from pilotage.networks.text_unet import concatenated_channels
from pilotage.settings import SamplerSettings

ENCODED_AT_ONCE = 256


@dataclass(frozen=True)
class TextRequest(Request):
    """A checked wish for images: image i has seeds[i] and captions[i].

    Attributes:
        captions: one per image.
        negative: the caption to lead away from, in place of the empty one; or None.
        low_res: an image to enlarge for each image (N, C, h, w), or None.
        known: an image to complete for each image (N, C, H, W), or None, and
        known_mask: (N, 1, H, W), 1 where it is known.
        image_w: a strength of its own for the image beside x; or None.
        compose: captions with weights, in place of one caption per image.
    """

    captions: tuple[str, ...] = ()
    negative: str | None = None
    low_res: Float[Tensor, "N C h w"] | None = None
    known: Float[Tensor, "N C H W"] | None = None
    known_mask: Float[Tensor, "N 1 H W"] | None = None
    image_w: float | None = None
    compose: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class TextRun(Run):
    """A model of captioned images with what is needed to use it.

    Attributes:
        space: of its captions.
    """

    space: CaptionSpace

    @property
    def labels(self) -> Labels:
        """No labels."""
        return Labels(())

    def request(
        self,
        captions: str | Iterable[str] = "",
        seeds: int | Iterable[int] | None = None,
        classifier: NoisyRun | None = None,
        negative: str | None = None,
        low_res: Tensor | None = None,
        known: Tensor | None = None,
        known_mask: Tensor | None = None,
        image_w: float | None = None,
        compose: Iterable[tuple[str, float]] = (),
        **settings: Any,
    ) -> TextRequest:
        """A checked request; the arguments are those of :meth:`sample`, which says what they mean.

        Raises:
            PilotageError: naming the setting that is wrong.
        """
        if classifier is not None or settings.get("classifier") is not None:
            raise PilotageError(
                "classifier is given: a run on captions is guided by captions only."
            )
        how = SamplerSettings(**settings)
        asked = self.space.captions(captions)
        seeds = checked_seeds(range(len(asked)) if seeds is None else seeds)
        if len(seeds) < len(asked):
            raise PilotageError(
                f"seeds has {len(seeds)} for {len(asked)} captions: each image has its own seed, "
                "so at least as many are needed."
            )
        count, compose = len(seeds), tuple(compose)
        self._check_strengths(how, image_w, compose, asked)
        guidance = self._guidance(how, None)
        self._warn_of_nulls(guidance.w, negative, image_w, compose)
        return TextRequest(
            labels=(0,) * count,
            seeds=seeds,
            guidance=guidance,
            lams=self.levels(self.default_steps if how.steps is None else how.steps),
            sampler=how.sampler,
            v=self._v(how.v),
            eta=how.eta,
            batch_size=how.batch_size,
            classes=(),
            captions=tuple(asked[i % len(asked)] for i in range(count)),
            negative=negative,
            image_w=image_w,
            compose=compose,
            **self._images(count, low_res, known, known_mask),
        )

    def _check_strengths(
        self,
        how: SamplerSettings,
        image_w: float | None,
        compose: tuple[tuple[str, float], ...],
        captions: list[str],
    ) -> None:
        """Refuse strengths that do not go together.

        Raises:
            PilotageError: naming them.
        """
        if how.guidance_interval is not None and (compose or image_w is not None):
            raise PilotageError(
                f"guidance_interval is {how.guidance_interval}: it is of one strength w, and goes "
                "with neither compose nor image_w."
            )
        if image_w is not None and not self.network.plan.extra_channels:
            raise PilotageError(f"image_w is {image_w}: the run sees no image beside x.")
        strength = how.w if how.w is not None else how.guidance_scale
        if compose and (strength is not None or image_w is not None or set(captions) != {""}):
            raise PilotageError(
                "compose is given: its weights take the place of w, image_w and the captions."
            )

    def _warn_of_nulls(
        self,
        w: float,
        negative: str | None,
        image_w: float | None,
        compose: tuple[tuple[str, float], ...],
    ) -> None:
        """Warn of what leads away from nothing, or from what was never trained."""
        recipe, weights = self.card.recipe, [weight for _, weight in compose]
        if negative is not None and w == 0 and image_w is None and weights in ([], [1.0]):
            _warn(f"negative is {negative!r}: it has no effect at w = 0")
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

    def conditioning(self, request: TextRequest) -> Conditioning:
        """The conditions of a request's batches; every distinct caption is encoded once."""
        negative = request.negative or ""
        composed = [caption for caption, _ in request.compose]
        distinct = list(dict.fromkeys([*request.captions, negative, *composed]))
        told = self._encoded(distinct)
        place = {caption: k for k, caption in enumerate(distinct)}

        def of(part: slice) -> tuple[Any, Any]:
            image = self._beside(request, part, len(request.seeds[part]))

            def encoded(captions: Sequence[str]) -> EncodedText:
                at = torch.tensor([place[c] for c in captions], device=self.device)
                return batching.take(told, at)._replace(image=image)

            count = len(request.seeds[part])
            null = encoded([negative] * count)
            if request.compose:
                return [(encoded([c] * count), weight) for c, weight in request.compose], null
            return encoded(request.captions[part]), null

        return of

    def steered(self, request: TextRequest, part: slice, cond: Any, null: Any) -> Steered:
        """The guided denoiser of a batch, and the conditions that it is called with."""
        denoise, cond = self._guided_by(request, part, cond, null)
        if request.known is None:
            return denoise, cond
        known, mask = (i[part].to(self.device) for i in (request.known, request.known_mask))
        return keep_known(denoise, known, mask), cond

    def _guided_by(self, request: TextRequest, part: slice, cond: Any, null: Any) -> Steered:
        if request.compose:
            return clip_x(composed(self.denoiser, cond, null)), None
        if request.image_w is None:
            return super().steered(request, part, cond, null)
        strengths = {"image": request.image_w, "text": request.guidance.w}
        nulls = {"image": torch.zeros_like(cond.image), "text": null[:2]}
        parts = {"image": cond.image, "text": cond[:2]}
        return clip_x(several(self._of_parts, strengths, nulls)), parts

    def _of_parts(self, z: Tensor, lam: Tensor, cond: Any) -> Prediction:
        """The denoiser of a condition in parts, pooled text and sequence, and image."""
        return self.denoiser(z, lam, EncodedText(*cond["text"], cond["image"]))

    def _encoded(self, captions: list[str]) -> Any:
        """Pooled features and sequences of captions, on the device."""
        told = self.space.collate(captions)
        parts = [slice(k, k + ENCODED_AT_ONCE) for k in range(0, len(captions), ENCODED_AT_ONCE)]
        with torch.no_grad():
            return batching.joined(
                [
                    self.network.encode_text(batching.to(batching.take(told, p), self.device))
                    for p in parts
                ]
            )

    def _beside(self, request: TextRequest, part: slice, count: int) -> Tensor | None:
        """The channels that the network sees beside x."""
        given = (request.low_res, request.known, request.known_mask)
        images = [None if i is None else i[part].to(self.device) for i in given]
        empty = torch.zeros(count, 1, dtype=torch.int64, device=self.device)
        cond = TextCond(empty, empty.bool(), *images)
        return concatenated_channels(self.network.plan, cond, self.shape[1:])

    def _images(
        self, count: int, low_res: Tensor | None, known: Tensor | None, mask: Tensor | None
    ) -> dict[str, Tensor | None]:
        """The images beside x, one per image to be made.

        Raises:
            PilotageError: if one is missing, given in vain, or of another shape.
        """
        recipe, (channels, height, width) = self.card.recipe, self.shape
        low = recipe.low_res and (channels, *recipe.low_res)
        if recipe.low_res and low_res is None:
            raise PilotageError(
                "low_res is missing: the run enlarges images of "
                f"{recipe.low_res[0]}x{recipe.low_res[1]}, so give them."
            )
        if (known is None) != (mask is None):
            raise PilotageError("known and its mask must be given together.")
        full = recipe.inpaint and (channels, height, width)
        return {
            "low_res": _fitting("low_res", low_res, low, count),
            "known": _fitting("known", known, full, count),
            "known_mask": _fitting("known_mask", mask, full and (1, height, width), count),
        }

    @property
    def reads(self) -> bool:
        """It is: a caption."""
        return True

    @property
    def _knows_null(self) -> bool:
        return True

    def sample(
        self,
        captions: str | Iterable[str] = "",
        *,
        seeds: int | Iterable[int] | None = None,
        negative: str | None = None,
        w: float | None = None,
        guidance_scale: float | None = None,
        low_res: Float[Tensor, "N C h w"] | None = None,
        known: Float[Tensor, "N C H W"] | None = None,
        known_mask: Float[Tensor, "N 1 H W"] | None = None,
        image_w: float | None = None,
        compose: Iterable[tuple[str, float]] = (),
        steps: int | str | None = None,
        sampler: Sampler = "ancestral",
        batch_size: int = 64,
        v: float | None = None,
        eta: float = 0.0,
        guidance_interval: tuple[float, float] | None = None,
    ) -> Float[Tensor, "N C H W"]:
        """Images in [−1, 1] that captions ask for, one per seed (2112.10741).

        Image i has seeds[i] and, with L captions, captions[i % L]. The same seed and caption give
        the same image at any batch size and in any order. Captions are encoded once per call, and
        a guided step is one batched network call.

        Args:
            captions: one, or several; "" asks for nothing.
            seeds: one per image; 0, 1, ... for one image per caption if not given.
            negative: a caption to lead away from, in place of the empty one; with w = 0 it has no
                effect.
            w: the guidance strength; 0 (the default) is the conditional model.
            guidance_scale: the same in the other convention, 1 + w; never both.
            low_res: for a run that enlarges: an image, or one per seed, in [−1, 1].
            known: for a run that completes: an image, or one per seed, in [−1, 1], whose known
                pixels the result keeps; nothing is known without.
            known_mask: 1 where it is known.
            image_w: a strength of its own for the image beside x (2211.09800, equation 3, the image
                first); without one it is always seen.
            compose: captions with weights instead, such as [("a cat", 3), ("red", 2)] (2206.01714);
                each weight is 1 + w of a guidance by that caption alone.
            steps: network levels T, as for :meth:`Run.sample`, and
            sampler: as there, and
            batch_size: as there, and
            v: as there, and
            eta: as there, and
            guidance_interval: as there.

        Raises:
            PilotageError: naming the setting that is wrong.
        """
        request = self.request(
            captions,
            seeds,
            negative=negative,
            low_res=low_res,
            known=known,
            known_mask=known_mask,
            image_w=image_w,
            compose=compose,
            w=w,
            guidance_scale=guidance_scale,
            steps=steps,
            sampler=sampler,
            batch_size=batch_size,
            v=v,
            eta=eta,
            guidance_interval=guidance_interval,
        )
        return torch.cat([batch.images for batch in self.stream(request)])


def _warn(said: str) -> None:
    warnings.warn(said, stacklevel=5)


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
