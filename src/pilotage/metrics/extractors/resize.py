"""The resizing that published Inception numbers rest on."""

import torch
from jaxtyping import Float
from torch import Tensor


def resize_tf1_bilinear(
    images: Float[Tensor, "B C H W"], size: tuple[int, int] | int
) -> Float[Tensor, "B C h w"]:
    """``tf.image.resize_bilinear`` of TensorFlow 1 with its defaults.

    Output pixel i lies at input position i·in/out (``align_corners=False``,
    ``half_pixel_centers=False``), between its neighbours below and above, the last one repeated.
    There is no antialiasing: shrinking skips pixels. The result is not clipped or rounded.

    Args:
        images: of any number type; computed in float32.
        size: (h, w), or one number for both.
    """
    height, width = (size, size) if isinstance(size, int) else size
    x = images.float()
    upper, lower, down = neighbours(x.shape[2], height, x.device)
    left, right, across = neighbours(x.shape[3], width, x.device)
    x = between(x[..., left], x[..., right], across)
    return between(x[..., upper, :], x[..., lower, :], down[:, None])


def between(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Not `torch.lerp`, which rounds differently for shares over a half."""
    return first + (second - first) * share


def neighbours(size: int, new_size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each new pixel: its two neighbours and the share of the second."""
    position = torch.arange(new_size, dtype=torch.float32, device=device) * (size / new_size)
    first = position.floor().long().clamp(max=size - 1)
    return first, (first + 1).clamp(max=size - 1), position - first
