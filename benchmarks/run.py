"""What Pilotage's loops cost on top of the network, as ratios measured in one run.

    make bench        (or: python benchmarks/run.py --out results/benchmarks.md)

Each row times A and B in turn, A B A B ..., and reports the median of the ratios A/B pair by pair,
so that a machine whose speed drifts does not matter. Rows against diffusers appear where it is
installed (the ``bench`` extra).
"""

import copy
import importlib.util
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import tyro
from baselines import (
    bare_network_calls,
    bare_training_step,
    diffusers_sampling_loop,
    diffusers_training_step,
    hand_written_loop,
)
from ours import guided_ddim, training_step
from subject import Subject

STEPS = 50


class Row(NamedTuple):
    """One comparison: the medians of both, and of their ratio with its quartiles."""

    name: str
    ours_ms: float
    other_ms: float
    ratio: float
    low: float
    high: float


def compare(name: str, ours: Callable[[], None], other: Callable[[], None], rounds: int) -> Row:
    """Time both in turn."""
    pairs = []
    for _ in range(rounds + 1):
        pairs.append((_milliseconds(ours), _milliseconds(other)))
    pairs = pairs[1:]  # the first round warms up
    low, ratio, high = statistics.quantiles([a / b for a, b in pairs], n=4)
    ours_ms, other_ms = (statistics.median(side) for side in zip(*pairs, strict=True))
    return Row(name, ours_ms, other_ms, ratio, low, high)


def _milliseconds(call: Callable[[], None]) -> float:
    _wait()
    begin = time.perf_counter()
    call()
    _wait()
    return 1000 * (time.perf_counter() - begin)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def sampling_rows(batch: int, rounds: int) -> list[Row]:
    """The guided 50-step DDIM loop against its 50 network calls, and against other loops."""
    subject = Subject(batch)
    ours, bare = guided_ddim(subject, STEPS), bare_network_calls(subject, STEPS)
    plain = hand_written_loop(subject, STEPS)
    label = f"guided DDIM, {STEPS} steps, {batch} images"
    rows = [
        compare(f"{label}: Pilotage / bare network calls", ours, bare, rounds),
        compare(f"{label}: hand-written loop / bare network calls", plain, bare, rounds),
    ]
    rows += free_network_rows(subject, bare, rounds)
    if _diffusers():
        theirs = diffusers_sampling_loop(subject, STEPS)
        rows += [
            compare(f"{label}: diffusers / bare network calls", theirs, bare, rounds),
            compare(f"{label}: Pilotage / diffusers", ours, theirs, rounds),
        ]
    return rows


def free_network_rows(subject: Subject, bare: Callable[[], None], rounds: int) -> list[Row]:
    """What the loops themselves take: with a network that costs nothing, against the real calls.

    The whole loops differ from their calls by less than the machine's noise; this does not.
    """
    free = copy.copy(subject)
    free.network = FreeNetwork()
    loops = {"Pilotage": guided_ddim, "hand-written": hand_written_loop}
    if _diffusers():
        loops["diffusers"] = diffusers_sampling_loop
    return [
        compare(f"{name} loop around a free network / bare network calls", *sides, rounds)
        for name, sides in ((name, (loop(free, STEPS), bare)) for name, loop in loops.items())
    ]


class FreeNetwork(torch.nn.Module):
    """Answers at once."""

    def forward(self, z: torch.Tensor, time: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        """Half of z."""
        return 0.5 * z


def training_rows(batch: int, rounds: int) -> list[Row]:
    """A whole training step against bare forward, backward and optimiser, and against diffusers."""
    ours, bare = training_step(Subject(batch)), bare_training_step(Subject(batch))
    label = f"training step, batch {batch}"
    rows = [compare(f"{label}: Pilotage / bare", ours, bare, rounds)]
    if _diffusers():
        theirs = diffusers_training_step(Subject(batch))
        rows += [
            compare(f"{label}: diffusers / bare", theirs, bare, rounds),
            compare(f"{label}: Pilotage / diffusers", ours, theirs, rounds),
        ]
    return rows


def _diffusers() -> bool:
    return importlib.util.find_spec("diffusers") is not None


def table(rows: list[Row]) -> str:
    """Markdown, with what it was measured on."""
    lines = [
        "| comparison A / B | A, ms | B, ms | ratio | quartiles |",
        "|---|---|---|---|---|",
        *(
            f"| {r.name} | {r.ours_ms:.1f} | {r.other_ms:.1f} | **{r.ratio:.3f}** "
            f"| {r.low:.3f} to {r.high:.3f} |"
            for r in rows
        ),
    ]
    return "\n".join(lines)


def main(out: Path | None = None, rounds: int = 7, batch: int = 64) -> None:
    """Measure, print, and write the table.

    Args:
        out: a Markdown file; only printed if not given.
        rounds: counted pairs per row.
        batch: images sampled, and training batch.
    """
    rows = sampling_rows(batch, rounds) + training_rows(batch, 4 * rounds)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    text = (
        "# Overhead, as ratios\n\n"
        f"`python benchmarks/run.py --rounds {rounds} --batch {batch}` with torch "
        f"{torch.__version__}, {torch.get_num_threads()} threads, {device}: the network of the "
        "`digits` preset in float32. Medians; the ratio is the median of pairs timed in turn.\n\n"
        f"{table(rows)}\n"
    )
    publish(text, out)


def publish(text: str, out: Path | None) -> None:
    """Print the text, and keep it in a file if there is one."""
    print(text)
    if out:
        out.write_text(text)


if __name__ == "__main__":
    tyro.cli(main)
