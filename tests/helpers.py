"""What several tests use: a tiny model's flags, and the command line in and out of process."""

import os
import subprocess
import sys
from pathlib import Path

from pilotage.cli.main import main

TINY = [
    *("--network.channels", "8", "--network.channel-mult", "1", "2"),
    *("--network.num-res-blocks", "1", "--network.head-channels", "8"),
    *("--batch-size", "8", "--warmup-steps", "5", "--log-every", "1"),
]


def train(out, *flags, preset="digits", steps=12):
    """Run ``pilotage train`` in this process; its exit status."""
    return main(["train", preset, "--out", str(out), "--steps", str(steps), *TINY, *flags])


TINY_GAN = [
    *("--network.channels", "8", "--network.channel-mult", "1", "2"),
    *("--network.num-res-blocks", "1", "--network.latent-dim", "4", "--network.latent-width", "8"),
    *("--network.latent-layers", "1", "--discriminator.channels", "4"),
    *("--discriminator.time-width", "8", "--batch-size", "8", "--warmup-steps", "5"),
    *("--log-every", "1", "--decay", "none", "--r1-every", "3"),
]


def train_gan(out, *flags, preset="digits", steps=6):
    """Run ``pilotage train --objective ddgan`` in this process; its exit status."""
    how = ["--objective", "ddgan", "--out", str(out), "--steps", str(steps)]
    return main(["train", preset, *how, *TINY_GAN, *flags])


def pilotage(*arguments, launcher=(), **environment):
    """Run the command line in a process of its own, with one thread."""
    command = [sys.executable, *launcher, "-m", "pilotage", *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        timeout=300,
    )


TWO_PROCESSES = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its relative name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
