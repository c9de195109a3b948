"""Images as conditions: for super-resolution or editing, or with known pixels for inpainting."""

from collections.abc import Sequence
from os import PathLike
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pilotage.conditions.space import single_values
from pilotage.conditions.stored import write_facts
from pilotage.diffusion import batching
from pilotage.errors import PilotageError
from pilotage.networks.plan import positive_int


class Images:
    """Whole images (C, h, w) in [−1, 1], such as the low-resolution input of super-resolution.

    The null is the image of zeros, as in 2211.09800, which a uniformly mid-grey image equals. Where
    that matters, :class:`KnownPixels` with all pixels known distinguishes the two.

    Args:
        shape: (C, h, w).

    Raises:
        PilotageError: if shape is not of three whole numbers of at least 1.
    """

    def __init__(self, shape: Sequence[int]):
        self.shape = _image_shape(shape)

    @property
    def null(self) -> Float[Tensor, "1 C h w"]:
        """No image, a batch of one."""
        return torch.zeros(1, *self.shape)

    def values(self, given: Any) -> list[Any]:
        """Return a list of values from one or several; None is the null."""
        return single_values(given)

    def collate(self, images: Sequence[Tensor | None]) -> Float[Tensor, "B C h w"]:
        """Collate images to a batch; None is no image.

        Raises:
            PilotageError: if an image has another shape, or is not floating-point.
        """
        return torch.stack([self.null[0] if i is None else _image(i, self.shape) for i in images])

    def drop(
        self, batch: Float[Tensor, "B C h w"], dropped: Bool[Tensor, " B"]
    ) -> Float[Tensor, "B C h w"]:
        """Replace images by zeros where ``dropped``."""
        found: Tensor = batching.where(dropped, batching.expanded(0, batch), batch)
        return found

    def save(self, folder: str | PathLike[str]) -> None:
        """Write what :func:`pilotage.conditions.load_space` reads."""
        write_facts(folder, {"kind": "images", "shape": list(self.shape)})


class Known(NamedTuple):
    """Images with a mask of known pixels.

    Attributes:
        image: (B, C, H, W), zero where unknown.
        mask: (B, 1, H, W), 1 where known and 0 where not.
    """

    image: Float[Tensor, "B C H W"]
    mask: Float[Tensor, "B 1 H W"]


class KnownPixels:
    """Images (C, H, W) in [−1, 1] for inpainting; the null has no known pixels.

    Args:
        shape: (C, H, W).

    Raises:
        PilotageError: if shape is not of three whole numbers of at least 1.
    """

    def __init__(self, shape: Sequence[int]):
        self.shape = _image_shape(shape)

    @property
    def null(self) -> Known:
        """Nothing known, a batch of one."""
        return Known(torch.zeros(1, *self.shape), torch.zeros(1, 1, *self.shape[1:]))

    def values(self, given: Any) -> list[Any]:
        """Return a list of values from one or several; None is the null."""
        return single_values(given)

    def collate(self, values: Sequence[tuple[Tensor, Tensor] | None]) -> Known:
        """Collate pairs of an image and its mask (1, H, W); None has no known pixels.

        Unknown pixels are set to zero, so that no network sees them.

        Raises:
            PilotageError: if an image or a mask has another shape, or a mask has other values than
                0 and 1.
        """
        pairs = [(self.null.image[0], self.null.mask[0]) if v is None else v for v in values]
        image = torch.stack([_image(image, self.shape) for image, _ in pairs])
        mask = torch.stack([_mask(mask, (1, *self.shape[1:])) for _, mask in pairs]).to(image)
        return Known(image * mask, mask)

    def drop(self, batch: Known, dropped: Bool[Tensor, " B"]) -> Known:
        """Make all pixels unknown where ``dropped``."""
        found: Known = batching.where(dropped, batching.expanded(self.null, batch), batch)
        return found

    def save(self, folder: str | PathLike[str]) -> None:
        """Write what :func:`pilotage.conditions.load_space` reads."""
        write_facts(folder, {"kind": "known_pixels", "shape": list(self.shape)})


def _image_shape(shape: Sequence[int]) -> tuple[int, ...]:
    if len(shape) != 3:
        raise PilotageError(f"shape is {tuple(shape)}: it must be (C, H, W).")
    return tuple(positive_int("shape", size) for size in shape)


def _image(image: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(image.shape) != shape or not image.is_floating_point():
        raise PilotageError(
            f"an image has shape {tuple(image.shape)} and dtype {image.dtype}: it must have shape "
            f"{shape} and be floating-point in [-1, 1]."
        )
    return image


def _mask(mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(mask.shape) != shape or not ((mask == 0) | (mask == 1)).all():
        raise PilotageError(
            f"a mask has shape {tuple(mask.shape)} and values in [{mask.min()}, {mask.max()}]: it "
            f"must have shape {shape}, 1 where the image is known and 0 where not."
        )
    return mask
