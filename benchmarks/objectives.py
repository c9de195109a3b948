"""What other objectives cost in training beside the plain one, with the same network.

python benchmarks/objectives.py --out results/benchmarks-objectives.md
"""

import platform
from pathlib import Path

import torch
import tyro
from ours import training_step
from run import compare, publish, table
from subject import Subject

from pilotage.settings import UNetSettings

OBJECTIVES = {
    "the bound, fixed schedule": {"objective": "vdm", "schedule": "linear_lam"},
    "the bound, learned schedule": {"objective": "vdm", "schedule": "learned"},
    "hybrid with learned variance": {"objective": "hybrid", "schedule": "linear"},
}


NETWORKS = {
    "the digits preset's network": {},
    "a network at full resolution": {
        "network": UNetSettings(
            channels=64, channel_mult=(1,), num_res_blocks=3, attention_resolutions=(2,)
        )
    },
}


def main(out: Path | None = None, rounds: int = 15, batch: int = 64) -> None:
    """Measure, print, and write the table.

    Args:
        out: a Markdown file; only printed if not given.
        rounds: counted pairs per row.
        batch: images per training step.
    """
    rows = []
    for title, network in NETWORKS.items():
        plain = training_step(Subject(batch, **network))
        rows += [
            compare(
                f"{title}: {name} / squared error",
                training_step(Subject(batch, **network, **changes)),
                plain,
                rounds,
            )
            for name, changes in OBJECTIVES.items()
        ]
    text = (
        "# Objectives, as ratios\n\n"
        f"`python benchmarks/objectives.py --rounds {rounds} --batch {batch}` with torch "
        f"{torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}: a "
        "training step on 8x8 images. Medians; the ratio is the median of pairs timed in turn.\n\n"
        f"{table(rows)}\n"
    )
    publish(text, out)


if __name__ == "__main__":
    tyro.cli(main)
