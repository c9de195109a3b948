"""Super-resolution of held-out captioned shapes, compared with bicubic interpolation.

Prints the consistency with the low-resolution input (PSNR in dB after downsampling) and the share
of images that match their caption. The picture has the low-resolution images, bicubic, ours and
the truth, a row each.

    pilotage train shapes-up --out runs/up
    python examples/enlarge_shapes.py --run runs/up --out enlarged.png
"""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from torch import Tensor

from pilotage import load_run
from pilotage.data.shapes import check, load_shapes
from pilotage.objectives.conditioned import shrunk
from pilotage.sweep.baselines import bicubic
from pilotage.sweep.per_sample import condition_psnr
from pilotage.utils.images import from_uint8, save_grid, to_uint8

SHOWN = 8


def summary(name: str, images: Tensor, low: Tensor, captions: list[str]) -> str:
    """Measure uint8 images, and format the result as a line."""
    psnr, right = condition_psnr(images, low), check(images, captions).all
    error = psnr.std() / len(psnr) ** 0.5
    share = right.mean()
    spread = (share * (1 - share) / len(right)) ** 0.5
    return (
        f"{name:>8}: PSNR of the condition {psnr.mean():.1f} ± {error:.1f} dB, "
        f"caption right {share:.3f} ± {spread:.3f}"
    )


def main(
    run: Path,
    out: Path,
    images: int = 200,
    steps: int = 32,
    w: float = 0.0,
    sampler: Literal["ancestral", "ddim"] = "ddim",
) -> None:
    """Enlarge, measure, print, draw.

    Args:
        run: a super-resolution run on captioned shapes.
        out: the PNG to write.
        images: how many held-out images.
        steps: network levels of the sampler.
        w: guidance strength of the captions.
        sampler: the step function.
    """
    model = load_run(run)
    _, held_out = load_shapes(model.shape[1:], seed=model.card.recipe.seed)
    truth = held_out.batch(np.arange(images))
    captions = list(held_out.captions[:images])
    low = shrunk(from_uint8(truth), model.card.recipe.low_res)
    how = {"steps": steps, "w": w, "sampler": sampler}
    made = model.sample(captions, seeds=range(images), low_res=low, **how)
    plain = to_uint8(bicubic(low, model.shape[1:]))
    kinds = {"bicubic": plain, "ours": to_uint8(made.cpu()), "truth": truth}
    for name, pixels in kinds.items():
        print(summary(name, pixels, low, captions))
    small = torch.nn.functional.interpolate(low[:SHOWN], model.shape[1:], mode="nearest")
    rows = [to_uint8(small), *(pixels[:SHOWN] for pixels in kinds.values())]
    picture = torch.cat(rows).permute(0, 2, 3, 1).numpy()
    save_grid(picture, out, SHOWN, row_names=["low resolution", *kinds])


if __name__ == "__main__":
    tyro.cli(main)
