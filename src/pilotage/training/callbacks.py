"""Training callbacks: the protocol, and the sample grids and health of each kind of run."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from pilotage.conditions import Labels, Space
from pilotage.data import LabelledData, PointData
from pilotage.metrics.modes import gaussian_modes
from pilotage.models.build import ClassifierBuilder, build_schedule
from pilotage.models.data import OwnData
from pilotage.models.model import Model
from pilotage.models.run_folder import Card
from pilotage.objectives.conditioned import known_mask, shrunk
from pilotage.settings import SamplingSpec
from pilotage.training.batches import reader, scaled
from pilotage.training.health import (
    Level,
    RealImages,
    discriminator_health,
    discriminator_warnings,
    health,
    measure_levels,
    plot_levels,
    warnings,
)
from pilotage.training.log import append_line, logged_steps
from pilotage.training.trainer import StepRecord, Training
from pilotage.utils.files import write_text
from pilotage.utils.images import save_grid, save_scatter, to_arrays
from pilotage.utils.seeding import derived_generator

COLUMNS, ROWS = 8, 5  # of a grid of captions
POINTS = 10_000
LEVEL_IMAGES = 1000


class Callback(Protocol):
    """A training callback, called by every process.

    Attributes:
        name: of the file NAME.jsonl that it may write in the run folder; lines of steps that a
            resumed run repeats are removed.
        every: steps between calls; the last step is always included.
    """

    name: str
    every: int

    def __call__(self, training: Training, record: StepRecord) -> None:
        """Inspect, but do not change, a training after a step with its record."""
        ...


class Run(NamedTuple):
    """A run, for its callbacks.

    Attributes:
        card: the recipe and the facts of the data.
        out: the run folder.
        data: training and held-out data.
        space: the condition space.
        say: receives one-line notes.
    """

    card: Card
    out: Path
    data: tuple[LabelledData, LabelledData]
    space: Space
    say: Callable[[str], None]

    @property
    def shown(self) -> LabelledData:
        """The held-out data, or the training data if there are none."""
        return self.data[1] if len(self.data[1]) else self.data[0]


@contextmanager
def evaluated(network: nn.Module) -> Iterator[nn.Module]:
    """Put the network in evaluation mode, and back in training mode afterwards."""
    try:
        yield network.eval()
    finally:
        network.train()


class Shown:
    """A callback of the main process, for which the others wait.

    Attributes:
        run: the run.
        spec: its sampling request.
    """

    name = "health"

    def __init__(self, run: Run, spec: SamplingSpec | None = None) -> None:
        self.run, self.spec = run, spec or SamplingSpec()
        self.every: int = run.card.recipe.sample_every

    def __call__(self, training: Training, record: StepRecord | None = None) -> None:
        """Measure on the main process; a failure is reported, and training continues."""
        if training.accelerator.is_main_process:
            try:
                self.measure(training)
            except Exception as error:  # whatever fails to draw: the training must not be lost
                self.run.say(f"step {training.step} could not be shown: {error}")
        training.accelerator.wait_for_everyone()

    def missed(self, training: Training) -> bool:
        """Return whether the step of a resumed training was due, but not measured."""
        step, last = training.step, training.recipe.steps
        due = step > 0 and (step == last or step % self.every == 0)
        return due and step not in logged_steps(self.run.out / f"{self.name}.jsonl")

    def measure(self, training: Training) -> None:
        """Measure and plot."""
        raise NotImplementedError

    def sampled(self, training: Training, network: nn.Module, cond: Any, **how: Any) -> Tensor:
        """Sample from a network in evaluation mode."""
        with evaluated(network):
            model = Model(self.run.card, network, training.step, self.run.space)
            return model.sample(cond, self.spec, **how)

    def picture(self, training: Training, name: str) -> Path:
        """Return the path of a picture of this step."""
        return self.run.out / "samples" / f"step-{training.step:09d}-{name}.png"

    def report(self, training: Training, numbers: dict[str, float], found: Sequence[str]) -> None:
        """Append the numbers to the file, and print every warning."""
        content = {"step": training.step, **numbers, "warnings": list(found)}
        append_line(self.run.out / f"{self.name}.jsonl", content)
        for sentence in found:
            self.run.say(f"health at step {training.step}: {sentence}")


class GridSpec(NamedTuple):
    """The layout and conditions of a sample grid.

    Attributes:
        cond: the conditions, one per column.
        columns: number of columns.
        names: column headings.
        rows: number of rows.
        images: concatenated conditioning images, for runs that have any.
    """

    cond: Any
    columns: int
    names: Sequence[str]
    rows: int = 4
    images: dict[str, Tensor] = {}  # noqa: RUF012 (never changed)


class SampleGrids(Shown):
    """Sample grids and health of both the latest and the averaged weights."""

    real: RealImages | None = None  # decoded on first use

    def measure(self, training: Training) -> None:
        """Sample both weights with the same seeds; plot and measure both."""
        spec = self.grid_spec()
        raw = self._grid(training, "raw", training.network, spec)
        averaged = self._grid(training, "ema", training.ema.module, spec)
        self.real = self.real or RealImages(*self.run.data)
        numbers = health(averaged, raw, self.real) | discriminator_health(training.terms)
        self.report(training, numbers, [*warnings(numbers), *discriminator_warnings(numbers)])

    def grid_spec(self) -> GridSpec:
        """Show the first ten classes, or the first conditions of the data."""
        space, data = self.run.space, self.run.shown
        if isinstance(data, OwnData) and not isinstance(space, Labels):
            conditions = data.pairs(range(min(COLUMNS, len(data))))[1]
            return GridSpec(conditions, len(conditions), _numbers(conditions))
        count = min(10, len(data.classes))
        names = data.classes if self.run.card.recipe.knows_labels else ()
        return GridSpec(range(count) if names else "all", count, names[:count])

    def _grid(self, training: Training, name: str, network: nn.Module, spec: GridSpec) -> Tensor:
        seeds = range(spec.rows * spec.columns)
        images = self.sampled(training, network, spec.cond, seeds=seeds, **spec.images)
        save_grid(
            to_arrays(images),
            self.picture(training, name),
            columns=spec.columns,
            column_names=spec.names,
            title=f"step {training.step}, {name} weights, w = {self.spec.strength:g}",
        )
        return images


class CaptionGrids(SampleGrids):
    """Sample grids of a few held-out captions, which are listed in a text file."""

    def grid_spec(self) -> GridSpec:
        """Show the first distinct captions, with their conditioning images."""
        data = self.run.shown
        every = data.captions or ()
        first = {caption: k for k, caption in reversed(list(enumerate(every)))}
        places = sorted(first.values())[:COLUMNS]
        captions = [every[k] for k in places]
        text = "".join(f"{k + 1}: {caption}\n" for k, caption in enumerate(captions))
        write_text(self.run.out / "samples" / "captions.txt", text)
        images = self._conditioning(scaled(data.batch(np.array(places))).repeat(ROWS, 1, 1, 1))
        return GridSpec(captions, len(captions), _numbers(captions), ROWS, images)

    def _conditioning(self, real: Tensor) -> dict[str, Tensor]:
        """Make low-resolution or masked images of real ones."""
        recipe = self.run.card.recipe
        found: dict[str, Tensor] = {}
        if recipe.low_res:
            found["low_res"] = shrunk(real, recipe.low_res)
        if recipe.inpaint:
            generator = derived_generator(recipe.seed, "shown masks")
            mask = known_mask(torch.rand(len(real), 1, 4, generator=generator), *real.shape[2:])
            found |= {"known": real * mask, "known_mask": mask}
        return found


def _numbers(values: Sequence[Any]) -> list[str]:
    return [str(k + 1) for k in range(len(values))]


class PointPlots(Shown):
    """Scatter plots of samples of the averaged weights, and the number of modes they hit.

    Attributes:
        points: the data, with their modes.
    """

    def __init__(self, run: Run, spec: SamplingSpec, points: PointData) -> None:
        super().__init__(run, spec)
        self.points = points

    def measure(self, training: Training) -> None:
        """Sample, plot, and count modes."""
        network, seeds, modes = training.ema.module, range(POINTS), self.points.modes
        samples = self.sampled(training, network, "all", seeds=seeds).cpu().numpy()
        found = gaussian_modes(samples, modes.means, modes.std)
        numbers = found._asdict() | discriminator_health(training.terms)
        title = f"step {training.step}: {found.hit} of {len(modes.means)} modes"
        real = self.points.batch(np.arange(min(POINTS, len(self.points)))).numpy()
        save_scatter(samples, self.picture(training, "ema"), title, real)
        self.report(training, numbers, list(discriminator_warnings(numbers)))
        self.run.say(f"{title}, {found.within:.1%} of samples within 3 standard deviations")


class NoiseLevels(Shown):
    """A classifier's accuracy and calibration by noise level, with the averaged weights."""

    name = "noise_levels"

    def measure(self, training: Training) -> None:
        """Append a line, and plot."""
        levels, step = self._measured(training), training.step
        split = "held out" if len(self.run.data[1]) else "train"
        content = {"step": step, "images": split, "levels": [x._asdict() for x in levels]}
        append_line(self.run.out / f"{self.name}.jsonl", content)
        plot_levels(
            levels,
            len(self.run.card.data.classes),
            self.picture(training, "noise-levels"),
            title=f"step {step}, {split} images",
        )
        clean, middle = levels[0], levels[len(levels) // 2]
        self.run.say(
            f"step {step}: accuracy {clean.accuracy:.2f} at lam {clean.lam:.1f}, "
            f"{middle.accuracy:.2f} at {middle.lam:.1f} ({split} images)"
        )

    def _measured(self, training: Training) -> list[Level]:
        data, recipe, device = self.run.shown, self.run.card.recipe, training.accelerator.device
        x, labels = reader(data, self.run.space)(np.arange(min(LEVEL_IMAGES, len(data))))
        with evaluated(training.ema.module) as network:
            classifier = ClassifierBuilder().around(self.run.card, network)
            schedule = build_schedule(recipe)
            return measure_levels(
                classifier, schedule, scaled(x.to(device)), labels.to(device), recipe.seed
            )
