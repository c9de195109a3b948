"""What the metrics cost against the usual ways of computing them, as ratios measured in one run.

    python benchmarks/metrics.py --large --out results/benchmarks-metrics.md

Each row times A and B in turn, as in ``run.py``, and checks that both answer the same. With
``--large`` one more call, too large for whole matrices, tells its time and memory (Linux only).
"""

import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy
import tyro
from run import Row, compare, publish, table
from scipy import linalg
from scipy.spatial.distance import cdist

from pilotage.metrics import (
    Moments,
    density_coverage,
    frechet_distance,
    precision_recall,
)
from pilotage.metrics.frechet import frechet_influence
from pilotage.metrics.manifold import BLOCK_BYTES, neighbours
from pilotage.metrics.standard_errors import groups_of, halves_of


def features(count: int, dims: int, seed: int) -> np.ndarray:
    """Correlated features whose spread falls over three decades, as of a real network."""
    random = np.random.default_rng(seed)
    mixing = random.standard_normal((dims, dims)) / np.sqrt(dims) + np.eye(dims)
    rows = random.standard_normal((count, dims)) * np.logspace(0, -3, dims)
    return (rows @ mixing + 0.1 * seed).astype(np.float32)


def by_sqrtm(real: Moments, fake: Moments) -> float:
    """The formula as it is usually written."""
    c1, c2 = real.covariance, fake.covariance
    root = np.trace(linalg.sqrtm(c1 @ c2).real)
    return float(np.sum((real.mean - fake.mean) ** 2) + np.trace(c1) + np.trace(c2) - 2 * root)


def direct(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return cdist(a, b, "sqeuclidean")


def by_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """By the norms, not exact for close rows."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * (a @ b.T)


def by_matrices(
    real: np.ndarray, fake: np.ndarray, distances: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> tuple[float, float]:
    """Precision and recall with whole matrices of distances."""
    radii = [np.partition(distances(x, x), 3, axis=1)[:, 3] for x in (real, fake)]
    between = distances(fake, real)
    precision = (between <= radii[0]).any(axis=1).mean()
    return float(precision), float((between <= radii[1][:, None]).any(axis=0).mean())


def frechet_row(dims: int, rounds: int) -> Row:
    """From the moments on, which both need."""
    real, fake = (Moments.of(features(5 * dims // 2, dims, seed)) for seed in (0, 1))
    answers = []
    row = compare(
        f"Fréchet distance, {dims} dims: Pilotage / scipy sqrtm",
        lambda: answers.append(frechet_distance(real, fake)),
        lambda: answers.append(by_sqrtm(real, fake)),
        rounds,
    )
    np.testing.assert_allclose(answers, answers[0], rtol=1e-6)
    return row


def manifold_rows(count: int, dims: int, rounds: int) -> list[Row]:
    """Precision and recall against whole distance matrices, made in two ways."""
    real, fake = features(count, dims, 0), features(count, dims, 1)
    rows = []
    for name, distances in (("cdist", direct), ("matrix product", by_product)):
        answers = []
        rows.append(
            compare(
                f"precision/recall, {count} x {count}, {dims} dims: Pilotage / full {name}",
                lambda kept=answers: kept.append(precision_recall(real, fake)),
                lambda kept=answers, how=distances: kept.append(by_matrices(real, fake, how)),
                rounds,
            )
        )
        np.testing.assert_allclose(answers, [answers[0]] * len(answers), atol=2 / count)
    return rows


def error_rows(counts: tuple[int, int], dims: int, rounds: int) -> list[Row]:
    """What standard errors add: the numbers with all that these take, against the numbers alone."""
    real, fake = (features(count, dims, seed) for seed, count in enumerate(counts))
    moments, size = Moments.of(real), f"{counts[0]} x {counts[1]}, {dims} dims"
    answers = []

    def with_parts() -> None:
        found = neighbours(real, fake, groups_of(len(fake)), halves_of(len(fake)))
        numbers = found.in_real.mean(), found.recall, found.memberships.mean(), found.coverage
        answers.append(numbers)

    def alone() -> None:
        answers.append((*precision_recall(real, fake), *density_coverage(real, fake)))

    def frechet_with_influence() -> None:
        frechet_distance(moments, fake)
        frechet_influence(moments, fake)

    rows = [
        compare(f"precision to coverage, {size}: with / without errors", with_parts, alone, rounds),
        compare(
            f"Fréchet distance, {size}: with / without error",
            frechet_with_influence,
            lambda: frechet_distance(moments, fake),
            rounds,
        ),
    ]
    np.testing.assert_allclose(answers, [answers[0]] * len(answers))
    return rows


def large_call(count: int, dims: int) -> str:
    """A sentence on precision and recall of many rows: time and memory, against what is promised.

    It runs in a process of its own, so that no memory is there that it could take unseen.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, seed in (("real", 0), ("fake", 1)):
            np.save(Path(folder, f"{name}.npy"), features(count, dims, seed))
        call = [sys.executable, __file__, "--measured", folder]
        said = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = json.loads(said)
    promised = 8 * dims * 2 * count + BLOCK_BYTES
    return (
        f"precision_recall of {count:,} x {count:,} rows, {dims} dims, took {found['seconds']:.0f} "
        f"s and {found['bytes'] / 1e6:.0f} MB beside its input. Its documentation promises "
        f"{promised / 1e6:.0f} MB (copies in float64 and 256 MiB of blocks); a whole matrix of "
        f"distances would take {8 * count**2 / 1e6:,.0f} MB."
    )


def measure_call(folder: Path) -> None:
    """In the process of its own: seconds and peak of extra memory, as JSON."""
    real, fake = (np.load(folder / f"{name}.npy") for name in ("real", "fake"))
    precision_recall(real[:1000], fake[:1000])  # what is loaded once
    reset_peak()
    before, begin = memory("VmRSS"), time.perf_counter()
    precision_recall(real, fake)
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "bytes": memory("VmHWM") - before}))


def reset_peak() -> None:
    """Let VmHWM begin anew (getrusage would go on from the peak of the process before it)."""
    Path("/proc/self/clear_refs").write_text("5")


def memory(name: str) -> int:
    """Bytes of this process: VmRSS now, or VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


def main(
    out: Path | None = None,
    rounds: int = 3,
    frechet_dims: int = 2048,
    count: int = 5000,
    dims: tuple[int, ...] = (64, 512),
    large: bool = False,
    large_count: int = 50_000,
) -> None:
    """Measure, print, and write the table.

    Args:
        out: a Markdown file; only printed if not given.
        rounds: counted pairs per row.
        frechet_dims: features of the Fréchet distance.
        count: rows of each set for precision and recall.
        dims: features for precision and recall.
        large: also one call with many rows, and its memory.
        large_count: rows of each set of that call, of 64 features.
    """
    rows = [frechet_row(frechet_dims, rounds)]
    for each in dims:
        rows += manifold_rows(count, each, rounds)
    for fakes in (1000, 5000):
        rows += error_rows((10_000, fakes), dims[0], rounds)
    text = (
        "# Metrics, as ratios\n\n"
        f"`python benchmarks/metrics.py --rounds {rounds}` with numpy {np.__version__}, scipy "
        f"{scipy.__version__}, {platform.machine()}. Medians; the ratio is the median of pairs "
        f"timed in turn.\n\n{table(rows)}\n"
    )
    if large:
        text += f"\n{large_call(large_count, 64)}\n"
    publish(text, out)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measured"]:
        measure_call(Path(sys.argv[2]))
    else:
        tyro.cli(main)
