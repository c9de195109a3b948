"""``pilotage demo``: train the digits, sample them at rising w, sweep and report."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pilotage.data import LabelledData
from pilotage.models.data import load_recipe_data
from pilotage.models.model import Model, load_run
from pilotage.models.sampling_spec import ResolvedSpec
from pilotage.recipes import PRESETS
from pilotage.report import write_report
from pilotage.settings import GridSettings
from pilotage.tasks.studies import sweep_runs, train_run
from pilotage.utils.drawing import figure
from pilotage.utils.files import write_text
from pilotage.utils.images import GAP, displayable, enlarged, save_grid, tile, to_arrays
from pilotage.utils.progress import sampling_bar

STRENGTHS = (0.0, 0.3, 1.0, 4.0)
SAMPLERS = ("ancestral", "ddim")
STEPS = 64
IMAGES_PER_CLASS = 10
BATCH_SIZE = 100
SWEEP = GridSettings(
    w=(0.0, 0.1, 0.3, 1.0, 2.0, 4.0), steps=(8, 32), samples=200, batch_size=BATCH_SIZE
)


class Row(NamedTuple):
    """Measurements of one setting of the demo.

    Attributes:
        images: (N, H, W, C) uint8, row by row of ten classes.
        accuracy: share that the classifier assigns to the conditioning class.
        diversity: see :func:`pixel_diversity`.
    """

    resolved: ResolvedSpec
    images: np.ndarray
    seconds: float
    accuracy: float
    diversity: float

    @property
    def w(self) -> float:
        """The guidance strength."""
        return self.resolved.guidance.w

    @property
    def sampler(self) -> str:
        """The sampler's name."""
        return self.resolved.sampler.name

    @property
    def steps(self) -> int:
        """Network levels."""
        return self.resolved.steps


def demo(out: Path, steps: int, seed: int) -> None:
    """Train, sample every setting, print and write the table, the pictures and a report."""
    recipe = PRESETS["digits"].recipe.replace(steps=steps, seed=seed)
    train_run(recipe, out / "run")
    run = load_run(out / "run")
    real, held_out = load_recipe_data(recipe)
    classifier = DigitClassifier(real)
    settings = [(w, sampler) for sampler in SAMPLERS for w in STRENGTHS]
    batches = math.ceil(IMAGES_PER_CLASS * len(run.classes) / BATCH_SIZE)
    with sampling_bar(len(settings) * STEPS * batches) as on_step:
        rows = [_measure(run, classifier, w, sampler, on_step) for w, sampler in settings]
    table = f"{format_table(rows)}\n\n{_real_digits(classifier, held_out)}"
    print(f"\n{table}\n")
    write_text(out / "table.md", table + "\n")
    for row in rows:
        name = f"{row.sampler}-w{row.w:g}.png"
        save_grid(row.images, out / name, 10, run.classes, title=_title(row))
    save_overview(rows, run.classes, out / "overview.png")
    sweep_runs((out / "run",), SWEEP)
    (report, *_) = write_report([out / "run"], out / "report.html")
    print(f"pictures and table in {out}; see {out / 'overview.png'} and {report} first")


class DigitClassifier:
    """A support vector classifier trained on real images, which measures class accuracy."""

    def __init__(self, real: LabelledData) -> None:
        from sklearn.svm import SVC

        self._model = SVC(gamma="scale").fit(_flat(_arrays(real)), real.labels)

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Return the share of images (N, H, W, C) that it assigns to their labels."""
        return float((self._model.predict(_flat(images)) == labels).mean())


def pixel_diversity(images: np.ndarray, labels: np.ndarray) -> float:
    """Return the standard deviation of a 0..1 pixel within a class, over pixels and classes."""
    classes = np.unique(labels)
    return float(np.mean([images[labels == k].std(axis=0).mean() / 255 for k in classes]))


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 255.0


def _arrays(data: LabelledData) -> np.ndarray:
    return data.batch(np.arange(len(data))).permute(0, 2, 3, 1).numpy()


def _measure(
    run: Model, classifier: DigitClassifier, w: float, sampler: str, on_step: Callable[[], None]
) -> Row:
    count = IMAGES_PER_CLASS * len(run.classes)
    resolved = run.resolve(
        "all", w=w, steps=STEPS, sampler=sampler, seeds=range(count), batch_size=BATCH_SIZE
    )
    begin = time.perf_counter()
    images = np.concatenate(
        [to_arrays(batch.images) for batch in run.stream(resolved, None, on_step)]
    )
    seconds = time.perf_counter() - begin
    labels = np.array(resolved.conditions)
    accuracy, diversity = classifier.accuracy(images, labels), pixel_diversity(images, labels)
    return Row(resolved, images, seconds, accuracy, diversity)


def format_table(rows: list[Row]) -> str:
    """Format the rows as a Markdown table."""
    lines = [
        "| w | sampler | steps | seconds | accuracy | diversity |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.w:g} | {row.sampler} | {row.steps} | {row.seconds:.1f} "
        f"| {row.accuracy:.3f} | {row.diversity:.3f} |"
        for row in rows
    ]
    return "\n".join(lines)


def _real_digits(classifier: DigitClassifier, held_out: LabelledData) -> str:
    images = _arrays(held_out)
    return (
        f"{len(held_out)} real held-out digits: accuracy "
        f"{classifier.accuracy(images, held_out.labels):.3f}, diversity "
        f"{pixel_diversity(images, held_out.labels):.3f}. Per row {IMAGES_PER_CLASS} images of "
        "each class. Accuracy: share that a support vector classifier, trained on the real "
        "training digits, assigns to the conditioning class. Diversity: standard deviation of a "
        "pixel (0..1) within a class, averaged."
    )


def _title(row: Row) -> str:
    return (
        f"{row.resolved.guidance.label()}, {row.steps} {row.sampler} steps: "
        f"accuracy {row.accuracy:.2f}, diversity {row.diversity:.3f}"
    )


def save_overview(rows: list[Row], classes: tuple[str, ...], path: Path) -> None:
    """Draw two images of each class at every w, one panel per sampler, with the same seeds."""
    title = "Classifier-free guidance on 8x8 digits: what the strength w does"
    with figure(path, figsize=(11, 4.7), dpi=130, layout="constrained") as drawn:
        drawn.suptitle(title, fontsize=12)
        panels = drawn.subplots(1, len(SAMPLERS), squeeze=False)[0]
        for panel, sampler in zip(panels, SAMPLERS, strict=True):
            shown = [row for row in rows if row.sampler == sampler]
            images = np.concatenate([row.images[: 2 * len(classes)] for row in shown])
            _draw_panel(panel, images, classes, shown)


def _draw_panel(panel: Any, images: np.ndarray, classes: tuple[str, ...], rows: list[Row]) -> None:
    images = enlarged(images)
    side = images.shape[1] + GAP
    panel.imshow(displayable(tile(images, len(classes))), cmap="gray", vmin=0, vmax=255)
    panel.set_title(f"{rows[0].sampler}, {rows[0].steps} steps", fontsize=10)
    panel.set_xticks([side * (k + 0.5) for k in range(len(classes))], classes)
    names = [f"w = {r.w:g}\nacc. {r.accuracy:.2f}\ndiv. {r.diversity:.3f}" for r in rows]
    panel.set_yticks([2 * side * (k + 0.5) for k in range(len(rows))], names, va="center")
    panel.tick_params(length=0, labelsize=8)
    panel.spines[:].set_visible(False)
    for k in range(1, len(rows)):
        panel.axhline(2 * side * k - GAP / 2, color="tab:blue", linewidth=1.5)
