"""Images as conditions: one to be enlarged or changed, or one of which some pixels are known."""

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
    """Whole images (C, h, w) in [−1, 1], such as those of low resolution to be enlarged.

    The null is the image of zeros, as in 2211.09800: an image that is mid-grey all over means the
    same. Where that will not do, :class:`KnownPixels` with all known says what is given.

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

    def values(self, wanted: Any) -> list[Any]:
        """Single values, of a list or one; None is the null."""
        return single_values(wanted)

    def collate(self, images: Sequence[Tensor | None]) -> Float[Tensor, "B C h w"]:
        """Images as a batch; None is no image.

        Raises:
            PilotageError: if an image has another shape, or is not of floats.
        """
        return torch.stack([self.null[0] if i is None else _image(i, self.shape) for i in images])

    def drop(
        self, batch: Float[Tensor, "B C h w"], dropped: Bool[Tensor, " B"]
    ) -> Float[Tensor, "B C h w"]:
        """The batch with no image where ``dropped``."""
        found: Tensor = batching.where(dropped, batching.expanded(0, batch), batch)
        return found

    def save(self, folder: str | PathLike[str]) -> None:
        """Write what :func:`pilotage.conditions.load_space` reads."""
        write_facts(folder, {"kind": "images", "shape": list(self.shape)})


class Known(NamedTuple):
    """Images of which some pixels are known.

    Attributes:
        image: (B, C, H, W), zero where unknown.
        mask: (B, 1, H, W), 1 where known and 0 where not.
    """

    image: Float[Tensor, "B C H W"]
    mask: Float[Tensor, "B 1 H W"]


class KnownPixels:
    """Images (C, H, W) in [−1, 1] to be completed, with nothing known as the null.

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

    def values(self, wanted: Any) -> list[Any]:
        """Single values, of a list or one; None is the null."""
        return single_values(wanted)

    def collate(self, values: Sequence[tuple[Tensor, Tensor] | None]) -> Known:
        """Pairs of an image and its mask (1, H, W) as a batch; None is nothing known.

        Unknown pixels are set to zero, so that no network can read them.

        Raises:
            PilotageError: if an image or a mask has another shape, or a mask has not 0 and 1 only.
        """
        pairs = [(self.null.image[0], self.null.mask[0]) if v is None else v for v in values]
        image = torch.stack([_image(image, self.shape) for image, _ in pairs])
        mask = torch.stack([_mask(mask, (1, *self.shape[1:])) for _, mask in pairs]).to(image)
        return Known(image * mask, mask)

    def drop(self, batch: Known, dropped: Bool[Tensor, " B"]) -> Known:
        """The batch with nothing known where ``dropped``."""
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
            f"an image has shape {tuple(image.shape)} and is {image.dtype}: it must have shape "
            f"{shape} and be of floats in [-1, 1]."
        )
    return image


def _mask(mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(mask.shape) != shape or not ((mask == 0) | (mask == 1)).all():
        raise PilotageError(
            f"a mask has shape {tuple(mask.shape)} and values in [{mask.min()}, {mask.max()}]: it "
            f"must have shape {shape}, 1 where the image is known and 0 where not."
        )
    return mask
