"""What a training step of a denoising diffusion GAN costs beside the same step written plainly.

python benchmarks/adversarial.py --out results/benchmarks-adversarial.md
"""

import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import tyro
from accelerate import Accelerator
from run import compare, publish, table
from torch import Tensor
from torch.nn.functional import softplus

from pilotage.data import load_data
from pilotage.diffusion.ddgan_levels import ddgan_betas
from pilotage.models.build import (
    build_discriminator,
    build_labels,
    builder_of,
    few_steps,
)
from pilotage.models.run_folder import Card, DataFacts
from pilotage.recipes import ADVERSARIAL_PRESETS
from pilotage.settings import AdversarialRecipe
from pilotage.training.batches import Batches
from pilotage.training.state import start
from pilotage.training.tasks import task_of
from pilotage.training.trainer import train


def recipe_of(batch: int, r1_every: int) -> AdversarialRecipe:
    """The digits preset without labels, for any number of steps."""
    preset = ADVERSARIAL_PRESETS["digits"].recipe
    changes = {"p_uncond": 1.0, "steps": 10**9, "decay": "none", "warmup_steps": 0}
    return preset.replace(batch_size=batch, r1_every=r1_every, **changes)


def card_of(recipe: AdversarialRecipe) -> Card:
    """A card of 8x8 grey images."""
    return Card(recipe, DataFacts(shape=(1, 8, 8), classes=(), train=1, held_out=0, fingerprint=""))


def ours(recipe: AdversarialRecipe) -> Callable[[], None]:
    """One step of the library's trainer, batches included."""
    card, data = card_of(recipe), load_data("digits", say=lambda _: None)[0]
    training = start(card, Accelerator())
    batches = Batches(data, recipe.batch_size, 0, device=training.accelerator.device)
    turns = task_of(card).turns(card, training, build_labels(card))
    steps: Iterator = train(training, turns, batches)
    return lambda: next(steps)


class Plain:
    """The same networks, losses and optimisers, as a script for one machine would have them."""

    def __init__(self, recipe: AdversarialRecipe) -> None:
        card = card_of(recipe)
        self.recipe, self.step = recipe, 0
        self.generator = builder_of(card).network(card).train()
        self.judge = build_discriminator(card).train()
        self.average = [p.detach().clone() for p in self.generator.parameters()]
        self.optimizers = [
            torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.9), fused=True)
            for network in (self.judge, self.generator)
        ]
        images = load_data("digits", say=lambda _: None)[0]
        self.data = images.batch(range(len(images))).float() / 127.5 - 1
        betas = ddgan_betas(recipe.steps_T)
        self.bar = torch.cat([torch.ones(1), (1 - betas).cumprod(0)])
        self.betas, self.T = betas, few_steps(recipe).count

    def __call__(self) -> None:
        """One step: the discriminator's update, then the generator's."""
        x = self.data[torch.randint(len(self.data), (self.recipe.batch_size,))]
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        t, z_s, z_t = self.pair(x)
        lazy = self.step % self.recipe.r1_every == 0
        real = self.judge(z_s.requires_grad_(lazy), t, z_t)
        loss = softplus(-real).mean()
        if lazy:
            (slope,) = torch.autograd.grad(real.sum(), z_s, create_graph=True)
            loss = loss + self.recipe.r1_gamma / 2 * slope.square().flatten(1).sum(1).mean()
        with torch.no_grad():
            made = self.made(t, z_t)
        (loss + softplus(self.judge(made, t, z_t)).mean()).backward()
        self.optimizers[0].step()
        self.judge.requires_grad_(False)
        t, _, z_t = self.pair(x)
        softplus(-self.judge(self.made(t, z_t), t, z_t)).mean().backward()
        self.judge.requires_grad_(True)
        self.optimizers[1].step()
        torch._foreach_lerp_(self.average, [p.detach() for p in self.generator.parameters()], 1e-3)
        self.step += 1

    def pair(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Times t, and neighbours z_s and z_t."""
        t = torch.randint(self.T, (len(x),))
        bar, beta = (v[t][:, None, None, None] for v in (self.bar, self.betas))
        z_s = bar.sqrt() * x + (1 - bar).sqrt() * torch.randn_like(x)
        return t.float(), z_s, (1 - beta).sqrt() * z_s + beta.sqrt() * torch.randn_like(x)

    def made(self, t: Tensor, z_t: Tensor) -> Tensor:
        """A generated z_s: x of the generator, then the posterior."""
        x = self.generator(z_t, t, torch.randn(len(z_t), self.recipe.network.latent_dim))
        index = t.long()
        bar, before, beta = (
            v[:, None, None, None]
            for v in (self.bar[index + 1], self.bar[index], self.betas[index])
        )
        mean = beta * before.sqrt() / (1 - bar) * x
        mean = mean + (1 - before) * (1 - beta).sqrt() / (1 - bar) * z_t
        spread = (beta * (1 - before) / (1 - bar)).sqrt()
        return mean + spread * torch.randn_like(x)


def main(out: Path | None = None, rounds: int = 15, batch: int = 64) -> None:
    """Measure, print, and write the table.

    Args:
        out: a Markdown file; only printed if not given.
        rounds: counted pairs per row.
        batch: images per training step.
    """
    lazy, always = recipe_of(batch, r1_every=15), recipe_of(batch, r1_every=1)
    rows = [
        compare(
            "step with lazy R1 / the same written plainly",
            _many(ours(lazy)),
            _many(Plain(lazy)),
            rounds,
        ),
        compare(
            "step with lazy R1 / with R1 every time", _many(ours(lazy)), _many(ours(always)), rounds
        ),
    ]
    text = (
        "# Denoising diffusion GANs, as ratios\n\n"
        f"`python benchmarks/adversarial.py --rounds {rounds} --batch {batch}` with torch "
        f"{torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}: 15 "
        "training steps of the digits preset (both networks, one R1 in 15 steps, EMA) on 8x8 "
        f"images. Medians; the ratio is the median of pairs timed in turn.\n\n{table(rows)}\n"
    )
    publish(text, out)


def _many(step: Callable[[], None]) -> Callable[[], None]:
    """15 steps, so that each measurement holds one lazy penalty."""

    def run() -> None:
        for _ in range(15):
            step()

    return run


if __name__ == "__main__":
    tyro.cli(main)
