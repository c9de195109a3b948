"""Image-conditioned denoising: concatenated low-resolution images, or known parts of x."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import interpolate

from pilotage.conditions import draw_dropped
from pilotage.networks.text_cond import TextCond
from pilotage.objectives.denoising import Denoising, Draws

BOXES = 3


class ConditionedDraws(NamedTuple):
    """The random numbers of one training step.

    Attributes:
        inner: those of the denoising.
        dropped: which examples lose their image (B,).
        level: of the noise conditioning augmentation (B,), in [0, 1).
        noise: its noise (B, C, h, w), or (B, 0) without low-resolution images.
        boxes: U[0, 1) numbers for the erased boxes (B, BOXES, 4), or (B, 0).
    """

    inner: Draws
    dropped: Bool[Tensor, " B"]
    level: Float[Tensor, " B"]
    noise: Float[Tensor, "B *shape"]
    boxes: Float[Tensor, "B *boxes"]

    def rows(self, part: slice) -> "ConditionedDraws":
        """Select the numbers of some examples."""
        return ConditionedDraws(self.inner.rows(part), *(numbers[part] for numbers in self[1:]))


@dataclass(frozen=True)
class ImageConditionedDenoising:
    """Denoising by a network with concatenated conditioning channels, made of x.

    For super-resolution these are x at a low resolution, with Gaussian noise of a random standard
    deviation up to ``augment`` (noise conditioning augmentation, 2106.15282, section 4.2), so that
    another model may provide them in sampling. For inpainting (2112.10741, section 4.3) they are x
    without some random boxes.

    Attributes:
        inner: the denoising objective.
        low_res: height and width of low-resolution images, or None.
        augment: largest standard deviation of their noise.
        inpaint: whether to condition on known pixels of x.
        p_uncond_image: the rate at which images are dropped, independently of the caption: low
            resolution is then 0 everywhere, and no pixel known.
    """

    inner: Denoising
    low_res: tuple[int, int] | None = None
    augment: float = 0.1
    inpaint: bool = False
    p_uncond_image: float = 0.1

    def draw(
        self, count: int, shape: tuple[int, ...], generator: torch.Generator
    ) -> ConditionedDraws:
        """Draw the random numbers of ``count`` examples of a shape, on the generator's device."""
        device = generator.device

        def uniform(*size: int) -> Tensor:
            return torch.rand(count, *size, generator=generator, device=device)

        inner = self.inner.draw(count, shape, generator)
        dropped, level = draw_dropped(uniform(), self.p_uncond_image), uniform()
        small = (shape[0], *self.low_res) if self.low_res else (0,)
        noise = torch.randn(count, *small, generator=generator, device=device)
        boxes = uniform(*((BOXES, 4) if self.inpaint else (0,)))
        return ConditionedDraws(inner, dropped, level, noise, boxes)

    def terms(
        self,
        denoise: Any,
        x: Float[Tensor, "B C H W"],
        cond: TextCond,
        draws: ConditionedDraws,
    ) -> dict[str, Tensor]:
        """Return the terms of the denoising objective, with conditioning images made of x.

        Args:
            denoise: the network with its parametrisation.
            x: clean images in [−1, 1].
            cond: their captions.
            draws: the step's random numbers.
        """
        kept = (~draws.dropped)[:, None, None, None].to(x)
        if self.low_res:
            deviation = self.augment * draws.level[:, None, None, None]
            low = shrunk(x, self.low_res) + deviation * draws.noise
            cond = cond._replace(low_res=low * kept)
        if self.inpaint:
            mask = known_mask(draws.boxes, x.shape[2], x.shape[3]).to(x) * kept
            cond = cond._replace(known=x * mask, known_mask=mask)
        return self.inner.terms(denoise, x, cond, draws.inner)


def shrunk(x: Float[Tensor, "B C H W"], size: tuple[int, int]) -> Float[Tensor, "B C h w"]:
    """Downsample images by area means."""
    return interpolate(x, size, mode="area")


def known_mask(boxes: Float[Tensor, "B K 4"], height: int, width: int) -> Float[Tensor, "B 1 H W"]:
    """Make masks: 0 in any of K boxes, each 1/8 to 5/8 of a side, and 1 elsewhere.

    Args:
        boxes: U[0, 1) numbers for height, width and position of each box.
        height: H in pixels.
        width: W.
    """
    tall, wide = 0.125 + 0.5 * boxes[..., 0], 0.125 + 0.5 * boxes[..., 1]
    top, left = boxes[..., 2] * (1 - tall), boxes[..., 3] * (1 - wide)
    rows, columns = ((torch.arange(n, device=boxes.device) + 0.5) / n for n in (height, width))
    inside_rows = (rows >= top[..., None]) & (rows < (top + tall)[..., None])
    inside_columns = (columns >= left[..., None]) & (columns < (left + wide)[..., None])
    erased = inside_rows[..., :, None] & inside_columns[..., None, :]
    return (~erased.any(dim=1, keepdim=True)).to(boxes)
