"""What a run on captions shows while it trains."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pilotage.conditions import CaptionSpace
from pilotage.models.model import Model
from pilotage.objectives.conditioned import known_mask, shrunk
from pilotage.training.callbacks import SampleWatch, shown_w
from pilotage.utils.files import write_text
from pilotage.utils.images import from_uint8, save_grid, to_arrays
from pilotage.utils.seeding import derived_generator

COLUMNS, ROWS = 8, 5


class CaptionWatch(SampleWatch):
    """Grids and health of samples for a few held-out captions, which a text file names."""

    def __init__(self, *how: Any, space: CaptionSpace) -> None:
        super().__init__(*how)
        self._space = space

    def _grid(self, name: str, network: nn.Module) -> Tensor:
        captions, real = self._shown()
        step, w = self.training.step, shown_w(self.card)
        run = Model(self.card, network.eval(), step, self._space)
        images = run.sample(
            captions,
            seeds=range(ROWS * len(captions)),
            w=w,
            steps=32,
            sampler="ddim",
            **self._beside(real),
        )
        network.train()
        save_grid(
            to_arrays(images),
            self.out / "samples" / f"step-{step:09d}-{name}.png",
            columns=len(captions),
            column_names=[str(k + 1) for k in range(len(captions))],
            title=f"step {step}, {name} weights, w = {w:g}",
        )
        return images

    def _shown(self) -> tuple[list[str], Tensor]:
        """The first captions that differ, and their images; those held out, if there are any."""
        train, held_out = self._data
        data = held_out if len(held_out) else train
        first = {caption: k for k, caption in reversed(list(enumerate(data.captions)))}
        places = sorted(first.values())[:COLUMNS]
        captions = [data.captions[k] for k in places]
        text = "".join(f"{k + 1}: {caption}\n" for k, caption in enumerate(captions))
        write_text(self.out / "samples" / "captions.txt", text)
        return captions, from_uint8(data.batch(np.array(places)))

    def _beside(self, real: Tensor) -> dict[str, Any]:
        """The images to enlarge, or to complete, made of real ones."""
        recipe, every = self.card.recipe, real.repeat(ROWS, 1, 1, 1)
        found: dict[str, Any] = {}
        if recipe.low_res:
            found["low_res"] = shrunk(every, recipe.low_res)
        if recipe.inpaint:
            generator = derived_generator(recipe.seed, "shown masks")
            boxes = torch.rand(len(every), 1, 4, generator=generator)
            mask = known_mask(boxes, *every.shape[2:])
            found |= {"known": every * mask, "known_mask": mask}
        return found
