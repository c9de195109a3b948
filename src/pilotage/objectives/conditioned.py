"""Image-conditioned denoising: the network also sees an image to enlarge, or known parts of x."""

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
        dropped: which examples lose the image (B,).
        level: of the noise on the image to enlarge (B,), in [0, 1).
        noise: that noise (B, C, h, w), or (B, 0) without such an image.
        boxes: U[0, 1) numbers for the erased boxes (B, BOXES, 4), or (B, 0).
    """

    inner: Draws
    dropped: Bool[Tensor, " B"]
    level: Float[Tensor, " B"]
    noise: Float[Tensor, "B *shape"]
    boxes: Float[Tensor, "B *boxes"]

    def rows(self, part: slice) -> "ConditionedDraws":
        """The numbers of some of the examples."""
        return ConditionedDraws(self.inner.rows(part), *(numbers[part] for numbers in self[1:]))


@dataclass(frozen=True)
class ImageConditionedDenoising:
    """Denoising by a network that sees an image made of x, concatenated with the noisy x.

    For super-resolution that is x at a low resolution, with Gaussian noise of a random deviation
    up to ``augment`` (2106.15282, section 4.2), so that at sampling time it may come from another
    model. For in-painting (2112.10741, section 4.3) it is x without some random boxes.

    Attributes:
        inner: the denoising objective.
        low_res: height and width of the image to enlarge, or None.
        augment: largest deviation of its noise.
        inpaint: whether the known part of x is seen.
        p_uncond_image: the rate at which the image is dropped, independently of the caption: an
            image to enlarge is then 0 everywhere, and nothing of x known.
    """

    inner: Denoising
    low_res: tuple[int, int] | None = None
    augment: float = 0.1
    inpaint: bool = False
    p_uncond_image: float = 0.1

    def draw(
        self, count: int, shape: tuple[int, ...], generator: torch.Generator
    ) -> ConditionedDraws:
        """The random numbers for ``count`` examples of a shape, on the generator's device."""
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
        """The terms of the denoising, of captions with their images.

        Args:
            denoise: the network, and what it predicts.
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
    """Images at a lower resolution: each pixel is the mean of those that it covers."""
    return interpolate(x, size, mode="area")


def known_mask(boxes: Float[Tensor, "B K 4"], height: int, width: int) -> Float[Tensor, "B 1 H W"]:
    """1 where known, 0 inside any of K boxes, of between 1/8 and 5/8 of a side each.

    Args:
        boxes: U[0, 1) numbers: of the height, the width, and the place of each box.
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
