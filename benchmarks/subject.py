"""What every benchmark runs on: the network of the digits preset and a batch of its data."""

import numpy as np
import torch

from pilotage.data import load_data
from pilotage.diffusion import SeededNoise
from pilotage.models.build import builder_of
from pilotage.models.run_folder import Card, DataFacts
from pilotage.recipes import PRESETS

W = 1.0


class Subject:
    """A network with its own weights, and inputs of one batch size; recipe changes by name."""

    def __init__(self, batch: int, **changes: object) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.batch = batch
        self.data, _ = load_data("digits", say=lambda _: None)
        self.recipe = PRESETS["digits"].recipe.model_copy(
            update={"batch_size": batch, "steps": 10**9, **changes}
        )
        self.card = Card(
            self.recipe,
            DataFacts(
                shape=self.data.shape,
                classes=self.data.classes,
                train=len(self.data),
                held_out=0,
                fingerprint="",
            ),
        )
        self.network = builder_of(self.card).network(self.card).to(self.device)
        self.null = len(self.data.classes)
        self.labels = torch.arange(batch, device=self.device) % self.null
        self.z = next(SeededNoise(range(batch), self.data.shape, self.device))

    def images(self) -> tuple[torch.Tensor, torch.Tensor]:
        """One fixed batch in [−1, 1] with its labels."""
        rows = np.arange(self.batch) % len(self.data)
        x = self.data.batch(rows).float().to(self.device) / 127.5 - 1
        return x, torch.from_numpy(self.data.labels[rows]).to(self.device)
