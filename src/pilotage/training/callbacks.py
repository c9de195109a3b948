"""What a denoiser's run shows while it trains: samples, and their health."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pilotage.data import ImageData
from pilotage.models.build import build_labels
from pilotage.models.model import Model
from pilotage.models.run_folder import Card
from pilotage.settings import AdversarialRecipe
from pilotage.training.health import (
    RealImages,
    health,
    judge_health,
    judge_warnings,
    warnings,
    write_health,
)
from pilotage.training.trainer import Training
from pilotage.utils.images import save_grid, to_arrays


class SampleWatch:
    """Grids and health of the samples, now and then, on the main process."""

    def __init__(
        self,
        training: Training,
        card: Card,
        out: Path,
        data: tuple[ImageData, ImageData],
        say: Callable[[str], None],
    ) -> None:
        self.training, self.card, self.out, self.say = training, card, out, say
        self._data = data
        self._real: RealImages | None = None  # decoded when it is first needed

    def look(self) -> None:
        """Sample the latest and the averaged weights with the same seeds; draw and measure both."""
        if self.training.accelerator.is_main_process:
            raw = self._grid("raw", self.training.network)
            averaged = self._grid("ema", self.training.ema.module)
            self._real = self._real or RealImages(*self._data)
            numbers = health(averaged, raw, self._real) | judge_health(self.training.told)
            said = [*warnings(numbers), *judge_warnings(numbers)]
            write_health(self.out, self.training.step, numbers, said)
            for sentence in said:
                self.say(f"health at step {self.training.step}: {sentence}")
        self.training.accelerator.wait_for_everyone()

    def _grid(self, name: str, network: nn.Module) -> Tensor:
        step, classes = self.training.step, self.card.data.classes
        count, w = min(10, len(classes)), shown_w(self.card)
        run = Model(self.card, network.eval(), step, build_labels(self.card))
        labels = range(count) if run.classes else "all"
        images = run.sample(labels, seeds=range(4 * count), w=w, **_shown_how(run))
        network.train()
        save_grid(
            to_arrays(images),
            self.out / "samples" / f"step-{step:09d}-{name}.png",
            columns=count,
            column_names=run.classes[:count],
            title=f"step {step}, {name} weights, w = {w:g}",
        )
        return images


def _shown_how(run: Model) -> dict[str, Any]:
    """How the grids are sampled."""
    return {} if run.builder.stochastic else {"steps": 32, "sampler": "ddim"}


def shown_w(card: Card) -> float:
    """The strength of the grids: 1, or what the run's dropping rate has trained."""
    if isinstance(card.recipe, AdversarialRecipe):
        return 0.0
    return {0.0: 0.0, 1.0: -1.0}.get(card.recipe.p_uncond, 1.0)
