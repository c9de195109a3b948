"""Whether standard errors are true, for every metric of the registry, by simulation.

    python benchmarks/standard_errors.py --out results/standard_errors.md

Samples are drawn anew many times against one real set. The standard deviation of a metric over the
draws is its true standard error; beside it stands what a single draw reports.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import tyro
from run import publish

from pilotage.metrics import Features, Sample, compare, inception_score, paired_error, registry
from pilotage.metrics.manifold import _Set

CLASSES, SPATIAL = 10, 12


class World:
    """Classes with a Gaussian each, and a model that is a little off: more so the larger its w."""

    def __init__(self, real: int, dims: int, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.means = 1.2 * self.random.standard_normal((CLASSES, dims))
        self.off = 0.5 * self.random.standard_normal((CLASSES, dims))
        self.spread = self.random.uniform(0.8, 1.1, (CLASSES, 1))
        self.to_spatial = self.random.standard_normal((dims, SPATIAL)) / dims**0.5
        labels = self.random.integers(CLASSES, size=real)
        rows = self.means[labels] + self.random.standard_normal((real, dims))
        shares = np.arange(1, CLASSES + 1) / np.arange(1, CLASSES + 1).sum()
        self.real = self._sample(rows, labels)._replace(mode_shares=shares)

    def draw(self, count: int, ws: Sequence[float], in_turn: bool) -> list[Sample]:
        """Samples at every w, from the same noise; labels in turn, or drawn and then not known."""
        turn = np.arange(count) % CLASSES
        labels = turn if in_turn else self.random.integers(CLASSES, size=count)
        noise = self.random.standard_normal((count, self.means.shape[1]))
        found = []
        for w in ws:
            at = self.means[labels] + (1 + w) * self.off[labels]
            sample = self._sample(at + self.spread[labels] * (1 - w / 5) * noise, labels)
            found.append(sample if in_turn else sample._replace(labels=None))
        return found

    def _sample(self, rows: np.ndarray, labels: np.ndarray) -> Sample:
        apart = ((rows[:, None] - self.means) ** 2).sum(axis=-1)
        logits, edge = -apart / 8, np.tanh(rows @ self.to_spatial)
        modes = logits.argmax(axis=1)
        scores = {
            "attribute_all": 1.0 * (np.abs(rows[:, 0]) < 1.5),
            "condition_psnr": np.where(rows[:, 1] > 0, 30 - rows[:, 1] ** 2, np.nan),
        }
        return Sample(
            Features(*(x.astype(np.float32) for x in (rows, edge, logits))),
            (np.abs(rows) > 2).mean(axis=1),
            labels,
            modes,
            per_sample=scores,
        )


class Found(NamedTuple):
    """A metric over many draws.

    Attributes:
        value: its mean.
        true: its standard deviation.
        ratio: the reported standard error over the true one.
        paired: the same of the difference of two w at the same seeds; NaN of a single w.
        unpaired: the same, from the errors of the two.
    """

    value: float
    true: float
    ratio: float
    paired: float
    unpaired: float


@contextmanager
def faster(kernel_subset: int) -> Iterator[None]:
    """Find the balls of the real set once, and compare smaller subsets by the kernel distance."""
    found, compute = {}, _Set.squared_radii

    def once(own: _Set, ks: Sequence[int], name: str) -> list[np.ndarray]:
        if name == "real" and name not in found:
            found[name] = compute(own, ks, name)
        return found[name] if name == "real" else compute(own, ks, name)

    with (
        mock.patch.object(_Set, "squared_radii", once),
        mock.patch.object(registry, "KERNEL_SUBSET", kernel_subset),
    ):
        yield


def simulate(
    world: World, count: int, draws: int, *, ws: Sequence[float] = (0.0,), in_turn: bool = True
) -> dict[str, Found]:
    """Every metric that has an error, over ``draws`` samples of ``count`` images."""
    with faster(min(count, 100)):
        rows = [
            [compare(world.real, sample) for sample in world.draw(count, ws, in_turn)]
            for _ in range(draws)
        ]
    return {name: _found(name, rows) for name, found in rows[0][0].items() if found.replicates}


def earlier(world: World, count: int, draws: int, found: dict[str, Found], in_turn: bool) -> str:
    """A sentence on the errors of rows without replicates, over the true ones."""
    real = len(world.real.clipped)
    binomial = {
        name: np.sqrt(found[name].value * (1 - found[name].value) / real) / found[name].true
        for name in ("recall", "coverage")
    }
    splits = min(10, max(2, count // registry.IMAGES_PER_SPLIT))
    samples = (world.draw(count, (0.0,), in_turn)[0] for _ in range(draws))
    scores = [inception_score(x.features.logits, splits, shuffle_seed=0).std for x in samples]
    split = size(scores) / splits**0.5 / found["inception_score"].true
    return (
        "Rows without replicates have binomial errors over the real images for recall and "
        f"coverage, {binomial['recall']:.2f} and {binomial['coverage']:.2f} of the true ones here, "
        f"and the spread over {splits} splits for the Inception score, {split:.2f} of it.\n"
    )


def _found(name: str, rows: list) -> Found:
    values, errors = (np.array([[w[name][k] for w in row] for row in rows]) for k in (0, 1))
    true, ratio = spread(values[:, 0]), size(errors[:, 0]) / spread(values[:, 0])
    if values.shape[1] == 1:
        return Found(float(values.mean()), true, ratio, np.nan, np.nan)
    paired = [paired_error(one[name].replicates, other[name].replicates) for one, other in rows]
    apart = spread(values[:, 1] - values[:, 0])
    unpaired = size(np.hypot(*errors.T))
    return Found(float(values[:, 0].mean()), true, ratio, size(paired) / apart, unpaired / apart)


def spread(values: np.ndarray) -> float:
    """The standard deviation."""
    return float(np.std(values, ddof=1))


def size(values: Sequence[float] | np.ndarray) -> float:
    """The root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def main(
    out: Path | None = None,
    draws: int = 100,
    counts: tuple[int, ...] = (200, 1000),
    real: int = 5000,
    dims: int = 16,
) -> None:
    """Simulate, print, and write the tables.

    Args:
        out: a Markdown file; only printed if not given.
        draws: samples of each size.
        counts: their sizes.
        real: images of the real set.
        dims: features.
    """
    text = (
        "# Standard errors, by simulation\n\n"
        f"`python benchmarks/standard_errors.py --draws {draws} --counts "
        f"{' '.join(map(str, counts))} --real {real} --dims {dims}`: {draws} samples of each size "
        f"against one set of {real} real images, of {CLASSES} Gaussian classes in {dims} "
        "dimensions. *True* is the standard deviation of a metric over the samples, *ratio* the "
        "reported standard error (root mean square) over it, which the number of samples leaves "
        f"uncertain by {1 / np.sqrt(2 * draws):.0%}. *Paired* and *unpaired* are that ratio for "
        "the difference of two w at the same seeds, from the replicates and from the two errors.\n"
    )
    for in_turn in (True, False):
        for count in counts:
            world = World(real, dims)
            found = simulate(world, count, draws, ws=(0.0, 0.3), in_turn=in_turn)
            labels = "in turn, as in a sweep" if in_turn else "drawn, and not known"
            text += f"\n## {count} samples, labels {labels}\n\n"
            text += (
                "| metric | value | true | ratio | paired | unpaired |\n|---|---|---|---|---|---|\n"
            )
            for name, row in found.items():
                ratios = " | ".join(f"{x:.2f}" for x in row[2:])
                text += f"| {name} | {row.value:.4g} | {row.true:.2g} | {ratios} |\n"
            text += "\n" + earlier(world, count, draws, found, in_turn)
    publish(text, out)


if __name__ == "__main__":
    tyro.cli(main)
