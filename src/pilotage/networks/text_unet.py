"""The text-conditional ADM U-Net of GLIDE (Nichol et al., 2112.10741)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pilotage.errors import PilotageError
from pilotage.networks.blocks import Attention
from pilotage.networks.embedding import TimeTextEmbedding
from pilotage.networks.plan import check_input
from pilotage.networks.text_cond import EncodedText, TextCond
from pilotage.networks.text_transformer import TextTransformer, TextTransformerPlan
from pilotage.networks.unet import UNetLayers, UNetLayersPlan


@dataclass(frozen=True, kw_only=True)
class TextUNetPlan(TextTransformerPlan, UNetLayersPlan):
    """The settings of a `TextUNet`.

    They are those of `ADMPlan`, of the way up (`UNetLayersPlan`), of the text
    (`TextTransformerPlan`), and these. ``in_channels`` are those of the noisy image x alone.

    Attributes:
        low_res: super-resolution: the up-sampled low-resolution image is concatenated with x.
        inpaint: inpainting: the known pixels and their mask are concatenated with x.
    """

    low_res: bool = False
    inpaint: bool = False

    @property
    def extra_channels(self) -> int:
        """Number of concatenated conditioning channels."""
        known = self.in_channels + 1 if self.inpaint else 0
        return known + (self.in_channels if self.low_res else 0)

    @property
    def inputs(self) -> int:
        """Input channels of the first layer."""
        return self.in_channels + self.extra_channels

    def attention(self, channels: int, heads: int) -> Attention:
        """A layer of attention to pixels and text."""
        return Attention(channels, heads, self.norm_groups, self.text_width)


class TextUNet(UNetLayers):
    """The ADM U-Net with a text transformer, to whose sequence all attention layers also attend.

    Attributes:
        null: None; `empty` gives the null condition.
    """

    plan: TextUNetPlan
    condition: TimeTextEmbedding
    null: None = None

    def __init__(self, plan: TextUNetPlan):
        condition = TimeTextEmbedding(plan.channels)
        super().__init__(plan, condition)
        self.text = TextTransformer(plan, condition.width)

    def empty(self, count: int) -> TextCond:
        """Return ``count`` null conditions: empty captions, padded with the last id or zeros."""
        shape, device = (count, *self.plan.caption_shape), self.stem.weight.device
        if self.plan.vocabulary is None:
            tokens = torch.zeros(shape, device=device)
        else:
            tokens = torch.full(shape, self.plan.vocabulary - 1, device=device)
        return TextCond(tokens, torch.zeros(shape[:2], dtype=torch.bool, device=device))

    def encode(self, cond: TextCond, size: Sequence[int] | None = None) -> EncodedText:
        """Encode a condition once for all sampling steps, for `forward`.

        Args:
            cond: the captions and images.
            size: (H, W) of x; needed where an image is concatenated with x.

        Raises:
            PilotageError: if a shape is wrong, or an image is missing or not supported.
        """
        image = concatenated_channels(self.plan, cond, size)
        return self.encode_text(cond)._replace(image=image)

    def encode_text(self, cond: TextCond) -> EncodedText:
        """Encode the captions alone, as `encode` does."""
        return EncodedText(*self.text(cond.tokens, cond.mask))

    def forward(
        self, x: Tensor, time: Tensor, cond: TextCond | EncodedText | None = None
    ) -> Tensor:
        """Predict from a noisy image.

        Args:
            x: (B, C, H, W) images.
            time: (B,) times.
            cond: captions and conditioning images, encoded by `encode` or not; None is the empty
                caption for all.

        Returns:
            (B, out, H, W), ``out`` being ``out_channels``, or twice that with a learned variance.

        Raises:
            PilotageError: if a shape is wrong, or an image is missing or not supported.
        """
        check_input(x, time, self.plan.in_channels)
        if cond is None:
            cond = self.empty(len(x))
        if isinstance(cond, TextCond):
            cond = self.encode(cond, x.shape[2:])
        self._check(cond, x)
        if cond.image is not None:
            x = torch.cat([x, cond.image.to(x.dtype)], dim=1)
        return self.predict(x, self.condition(time, cond.pooled), cond.sequence)

    def _check(self, cond: Any, x: Tensor) -> None:
        if not isinstance(cond, EncodedText):
            raise PilotageError(
                f"cond is a {type(cond).__name__}: it must be a TextCond, an EncodedText or None."
            )
        count, extra = len(x), self.plan.extra_channels
        image = (count, extra, *x.shape[2:]) if extra else None
        found = None if cond.image is None else tuple(cond.image.shape)
        if len(cond.pooled) != count or len(cond.sequence) != count or found != image:
            raise PilotageError(
                f"cond is for {len(cond.pooled)} examples with images {found} and x has shape "
                f"{tuple(x.shape)}: it must be for {count} with images {image}."
            )


def concatenated_channels(
    plan: TextUNetPlan, cond: TextCond, size: Sequence[int] | None
) -> Tensor | None:
    """Return the concatenated conditioning channels: known · mask, mask, up-sampled; or None.

    Without known pixels the mask is 0. The low resolution is up-sampled bilinearly, corners not
    aligned.

    Args:
        plan: of the network.
        cond: the captions and images.
        size: (H, W) of x.

    Returns:
        (B, plan.extra_channels, H, W), or None where there are none.

    Raises:
        PilotageError: if a shape is wrong, or an image is missing or not supported.
    """
    if not plan.extra_channels and cond[2:] == (None, None, None):
        return None
    if size is None:
        raise PilotageError("size is None: it must be (H, W) of x, to concatenate images with it.")
    _check_given(plan, cond)
    _check_shapes(plan, cond, size)
    parts: list[Tensor] = []
    if cond.known is not None and cond.known_mask is not None:
        parts += [cond.known * cond.known_mask, cond.known_mask]
    elif plan.inpaint:
        nothing = torch.zeros(len(cond.tokens), plan.in_channels + 1, *size)
        parts.append(nothing.to(cond.tokens.device))
    if cond.low_res is not None:
        parts.append(interpolate(cond.low_res, tuple(size), mode="bilinear"))
    return torch.cat(parts, dim=1)


def _check_given(plan: TextUNetPlan, cond: TextCond) -> None:
    for name, image, supported, needed in (
        ("low_res", cond.low_res, plan.low_res, plan.low_res),
        ("known", cond.known, plan.inpaint, cond.known_mask is not None),
        ("known_mask", cond.known_mask, plan.inpaint, cond.known is not None),
    ):
        if image is not None and not supported:
            raise PilotageError(f"cond.{name} is given: it must be None for this network.")
        if image is None and needed:
            raise PilotageError(f"cond.{name} is None: it must be given for this network.")


def _check_shapes(plan: TextUNetPlan, cond: TextCond, size: Sequence[int]) -> None:
    count = len(cond.tokens)
    for name, image, shape in (
        ("low_res", cond.low_res, (count, plan.in_channels)),
        ("known", cond.known, (count, plan.in_channels, *size)),
        ("known_mask", cond.known_mask, (count, 1, *size)),
    ):
        if image is not None and (image.ndim != 4 or image.shape[: len(shape)] != shape):
            raise PilotageError(
                f"cond.{name} has shape {tuple(image.shape)}: it must have 4 dimensions and begin "
                f"with {shape}."
            )
