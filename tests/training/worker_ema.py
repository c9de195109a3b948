"""Run by ``test_processes.py`` on each of two processes: train a little, report the weights."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from pilotage.data import ImageData
from pilotage.models.build import build_labels, build_schedule
from pilotage.models.run_folder import Card, DataFacts
from pilotage.objectives import Denoising
from pilotage.settings import Recipe, UNetSettings
from pilotage.training.batches import Batches
from pilotage.training.state import start
from pilotage.training.trainer import Turn, train


def digest(network):
    state = network.state_dict()
    return hashlib.sha256(b"".join(v.numpy().tobytes() for v in state.values())).hexdigest()


accelerator = Accelerator(cpu=True)
network = UNetSettings(channels=8, channel_mult=(1, 2), num_res_blocks=1, head_channels=8)
recipe = Recipe(network=network, steps=4, batch_size=8, warmup_steps=0)
images = np.random.default_rng(0).integers(0, 255, (16, 1, 8, 8), dtype=np.uint8)
data = ImageData.from_arrays(images, np.arange(16) % 2, ("a", "b"))
card = Card(
    recipe, DataFacts(shape=data.shape, classes=data.classes, train=16, held_out=0, fingerprint="")
)
training = start(card, accelerator)
report = {"start": digest(training.ema.module)}
rank = accelerator.process_index
batches = Batches(data, 8, 0, process=rank, processes=accelerator.num_processes)
objective = Denoising(build_schedule(recipe), build_labels(card), recipe.p_uncond)
for _ in train(training, [Turn(training.main, objective)], batches):
    pass
report |= {
    "ema": digest(training.ema.module),
    "network": digest(training.network),
    "updates": int(training.ema.n_averaged),
}
Path(sys.argv[1], f"{rank}.json").write_text(json.dumps(report))
