"""What a `TextUNet` is conditioned on: captions, and images that it sees beside x."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pilotage.errors import PilotageError
from pilotage.networks.text_plan import TextPlan


class TextCond(NamedTuple):
    """A batch of captions, with images where the network asks for them.

    Attributes:
        tokens: (B, L) int64, or the features (B, L, D) that a frozen encoder has made of them.
        mask: (B, L) bool, False where padded. All False is the empty caption.
        low_res: (B, C, h, w), the image to be enlarged, or None.
        known: (B, C, H, W), the image to be completed, or None; only its known pixels count.
        known_mask: (B, 1, H, W), 1 where known and 0 where not, or None.
    """

    tokens: Tensor
    mask: Tensor
    low_res: Tensor | None = None
    known: Tensor | None = None
    known_mask: Tensor | None = None


class EncodedText(NamedTuple):
    """What a `TextUNet` makes of a `TextCond`, and what does not change over the steps.

    Attributes:
        pooled: (B, 4 * channels), added to the time.
        sequence: (B, L, text_width), attended to.
        image: (B, extra, H, W), the channels that follow those of x, or None.
    """

    pooled: Tensor
    sequence: Tensor
    image: Tensor | None = None


def beside(plan: TextPlan, cond: TextCond, size: Sequence[int] | None) -> Tensor | None:
    """The channels beside x: known image · mask, mask, up-sampled image; None if there are none.

    Where nothing is given that is known, nothing is known. The low resolution is up-sampled
    bilinearly, corners not aligned.

    Args:
        plan: which images the network sees.
        cond: the captions and images.
        size: (H, W) of x.

    Raises:
        PilotageError: if a shape is wrong, or an image is missing or given in vain.
    """
    if not plan.beside and cond[2:] == (None, None, None):
        return None
    if size is None:
        raise PilotageError("size is None: it must be (H, W) of x, to put images beside it.")
    _check_given(plan, cond)
    _check_shapes(plan, cond, size)
    parts = []
    if plan.inpaint and cond.known is None:
        parts.append(torch.zeros(len(cond.tokens), plan.in_channels + 1, *size))
        parts[0] = parts[0].to(cond.tokens.device)
    elif plan.inpaint:
        parts += [cond.known * cond.known_mask, cond.known_mask]
    if plan.low_res:
        parts.append(interpolate(cond.low_res, tuple(size), mode="bilinear"))
    return torch.cat(parts, dim=1)


def _check_given(plan: TextPlan, cond: TextCond) -> None:
    for name, image, wanted, needed in (
        ("low_res", cond.low_res, plan.low_res, plan.low_res),
        ("known", cond.known, plan.inpaint, cond.known_mask is not None),
        ("known_mask", cond.known_mask, plan.inpaint, cond.known is not None),
    ):
        if image is not None and not wanted:
            raise PilotageError(f"cond.{name} is given: it must be None for this network.")
        if image is None and needed:
            raise PilotageError(f"cond.{name} is None: it must be given for this network.")


def _check_shapes(plan: TextPlan, cond: TextCond, size: Sequence[int]) -> None:
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
