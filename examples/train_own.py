"""Train diffusers' UNet2DModel on a data set of your own: discs, on the left or on the right."""

import torch
from diffusers import UNet2DModel

from pilotage import load_run
from pilotage.settings import Recipe
from pilotage.training import fit


class Discs(torch.utils.data.Dataset):
    def __len__(self):
        return 1000

    def __getitem__(self, k):
        places, (y, x) = torch.linspace(0, 1, 16), torch.tensor([k % 37 / 37, k % 101 / 101])
        disc = (places[:, None] - y) ** 2 + (places - x) ** 2 < 0.03
        return 2.0 * disc[None] - 1, int(x > 0.5)  # (1, 16, 16) in [-1, 1], and a label


class Network(UNet2DModel):
    def forward(self, z, time, cond):
        return super().forward(z, time, class_labels=cond).sample


net = Network(None, 1, 1, block_out_channels=(32, 32, 64, 64), num_class_embeds=3)  # 2 is no label
for record in fit(Recipe(steps=200, batch_size=32), "runs/discs", data=Discs(), network=net):
    print(record.step, record.loss)
print(load_run("runs/discs", network=net).sample([0, 1], w=1.0).shape)
