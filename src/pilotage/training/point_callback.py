"""What a run on points shows while it trains: where samples lie, and how many modes they hit."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from pilotage.data.points import PointData
from pilotage.metrics.modes import gaussian_modes
from pilotage.models.build import build_labels
from pilotage.models.model import Model
from pilotage.models.run_folder import Card
from pilotage.training.health import judge_health, judge_warnings
from pilotage.training.trainer import Training
from pilotage.utils.images import save_scatter

COUNT = 10_000


class PointWatch:
    """A scatter plot and the modes hit, now and then, on the main process."""

    def __init__(
        self,
        training: Training,
        card: Card,
        out: Path,
        data: tuple[PointData, PointData],
        say: Callable[[str], None],
    ) -> None:
        self.training, self.card, self.out, self.say = training, card, out, say
        self.modes = data[0].modes
        self.real = data[0].batch(np.arange(min(COUNT, len(data[0]))))

    def look(self) -> None:
        """Sample the averaged weights; draw them, and count the modes that they hit."""
        if self.training.accelerator.is_main_process:
            step = self.training.step
            samples = self._samples(self.training.ema.module)
            found = gaussian_modes(samples.numpy(), self.modes.means, self.modes.std)
            numbers = found._asdict() | judge_health(self.training.told)
            said = list(judge_warnings(numbers))
            record = {"step": step, **numbers, "warnings": said}
            with (self.out / "health.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            path = self.out / "samples" / f"step-{step:09d}-ema.png"
            title = f"step {step}: {found.hit} of {len(self.modes.means)} modes"
            save_scatter(samples.numpy(), path, title, self.real.numpy())
            for sentence in said:
                self.say(f"health at step {step}: {sentence}")
            self.say(f"{title}, {found.within:.1%} of samples within 3 standard deviations")
        self.training.accelerator.wait_for_everyone()

    def _samples(self, network: nn.Module) -> Tensor:
        run = Model(self.card, network.eval(), self.training.step, build_labels(self.card))
        samples = run.sample("all", seeds=range(COUNT), batch_size=1000).cpu()
        network.train()
        return samples
