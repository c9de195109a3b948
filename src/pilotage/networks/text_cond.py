"""What a `TextUNet` is conditioned on: captions, and images that are concatenated with x."""

from typing import NamedTuple

from torch import Tensor


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
