"""The conditioning of a `TextUNet`: captions, and concatenated conditioning channels."""

from typing import NamedTuple

from torch import Tensor


class TextCond(NamedTuple):
    """A batch of captions, with the conditioning images of the network.

    Attributes:
        tokens: (B, L) int64, or features (B, L, D) of a frozen encoder.
        mask: (B, L) bool, False where padded. All False is the empty caption.
        low_res: (B, C, h, w), low-resolution images for super-resolution, or None.
        known: (B, C, H, W), images for inpainting, or None; only known pixels count.
        known_mask: (B, 1, H, W), 1 where known and 0 where not, or None.
    """

    tokens: Tensor
    mask: Tensor
    low_res: Tensor | None = None
    known: Tensor | None = None
    known_mask: Tensor | None = None


class EncodedText(NamedTuple):
    """An encoded `TextCond`, which does not change over the sampling steps.

    Attributes:
        pooled: (B, 4 * channels), added to the time embedding.
        sequence: (B, L, text_width), attended to.
        image: (B, extra, H, W), the concatenated conditioning channels, or None.
    """

    pooled: Tensor
    sequence: Tensor
    image: Tensor | None = None
