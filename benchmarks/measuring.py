"""What one more row of ``pilotage sweep`` costs on top of its network calls.

    python benchmarks/measuring.py --out results/benchmarks-sweep.md

The extractor and the features of the real images are there before; every timed sweep measures a row
that the table does not have yet. The network calls of one sweep are recorded, and B repeats them.
"""

import contextlib
import io
import itertools
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import torch
import tyro
from run import compare, publish, table
from torch import Tensor, nn

from pilotage.cli.main import main as pilotage
from pilotage.metrics import Measured
from pilotage.networks import UNet
from pilotage.sweep.table import read_rows, table_path

Call = tuple[Tensor, ...]


def command(*arguments: object) -> None:
    """A ``pilotage`` command in this process, in silence."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as said,
    ):
        status = pilotage([str(word) for word in arguments])
    if status:
        raise SystemExit(said.getvalue())


class Sweeps:
    """Sweeps of one setting over a fresh run, each over the seeds after those of the one before."""

    def __init__(self, folder: Path, samples: int, steps: int, w: float) -> None:
        self.run = folder / "run"
        self.flags = ["--samples", samples, "--steps", steps, "--w", w]
        self._seeds = itertools.count(samples, samples)
        command("train", "digits", "--out", self.run, "--steps", 20)
        command("sweep", self.run, *self.flags)  # trains the extractor

    def whole(self) -> None:
        """All of the command but the start of Python."""
        command(*self.arguments())

    def without_numbers(self) -> None:
        """The same, but nothing is computed from the features."""
        with mock.patch(
            "pilotage.sweep.grid.compare", return_value={"frechet": Measured(0.0, 0.0)}
        ):
            self.whole()

    def process(self) -> None:
        """In a process of its own."""
        words = [str(word) for word in self.arguments()]
        subprocess.run([sys.executable, "-m", "pilotage", *words], check=True, capture_output=True)

    def arguments(self) -> list[object]:
        """The command for one more row."""
        return ["sweep", self.run, *self.flags, "--first-seed", next(self._seeds)]

    def row(self) -> dict:
        """The newest row."""
        return read_rows(table_path(self.run))[-1]


@contextlib.contextmanager
def recorded() -> Iterator[list[tuple[nn.Module, Call, Tensor]]]:
    """The network, inputs and output of every call of a U-Net."""
    calls = []

    def note(module: nn.Module, inputs: Call, output: Tensor) -> None:
        if isinstance(module, UNet):
            calls.append((module, tuple(x.clone() for x in inputs), output.clone()))

    handle = nn.modules.module.register_module_forward_hook(note)
    try:
        yield calls
    finally:
        handle.remove()


def bare_calls(sweeps: Sweeps) -> tuple[Callable[[], None], int]:
    """The network calls of one sweep and nothing else; how many they are."""
    with recorded() as calls:
        sweeps.whole()
    assert len(calls) == sweeps.row()["network_calls"]
    network = calls[0][0]

    @torch.no_grad()
    def run() -> None:
        for _, inputs, _ in calls:
            network(*inputs)

    with torch.no_grad():
        for _, inputs, output in calls:
            torch.testing.assert_close(network(*inputs), output)
    return run, len(calls)


def main(
    out: Path | None = None, rounds: int = 3, samples: int = 1000, steps: int = 32, w: float = 1.0
) -> None:
    """Measure, print, and write the table.

    Args:
        out: a Markdown file; only printed if not given.
        rounds: counted pairs per row.
        samples: images of the setting.
        steps: its network levels.
        w: its guidance strength.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder  # for the extractor and the features
        sweeps = Sweeps(Path(folder), samples, steps, w)
        bare, count = bare_calls(sweeps)
        sides = {
            "one more row without its numbers": sweeps.without_numbers,
            "one more row": sweeps.whole,
            "one more row in a process of its own": sweeps.process,
        }
        rows = [compare(f"{n} / bare network calls", s, bare, rounds) for n, s in sides.items()]
        measured = sweeps.row()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    text = (
        "# Sweeping, as ratios\n\n"
        f"`python benchmarks/measuring.py --rounds {rounds} --samples {samples} --steps {steps} "
        f"--w {w:g}` with torch {torch.__version__}, {torch.get_num_threads()} threads, {device}: "
        f"`pilotage sweep` of one setting of a run of the `digits` preset, in the "
        f"{measured['extractor']['dimensions']} features of its in-domain extractor, which is "
        f"there before, against its {count} network calls on the same inputs. The numbers are "
        f"{', '.join(measured['metrics'])}. Medians; the ratio is the median of pairs timed in "
        f"turn.\n\n{table(rows)}\n"
    )
    publish(text, out)


if __name__ == "__main__":
    tyro.cli(main)
