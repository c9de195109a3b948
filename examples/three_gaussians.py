"""Figure 2 of "Classifier-free diffusion guidance" (2207.12598): guided densities.

Three Gaussians in the plane, each a class. Each panel shows, for one strength w, the three guided
densities p(x | c) p(c | x)^w, normalised: as w rises, each moves away from the other classes and
narrows.

The dots are samples under classifier-free guidance of the exact denoiser. They follow the densities
at w = 0 only. At every noise level λ the guided score is that of p(z | c) p(c | z)^w at that λ, but
these densities are not the marginals of one diffused density, so no reverse process connects them.
The dots overshoot: at w = 10 the mean of a class lies 1.9 from the centre, that of its guided
density 1.4.

    python examples/three_gaussians.py --out three_gaussians.png --seed 0
"""

import math
from pathlib import Path

import torch
import tyro
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from pilotage.diffusion import (
    GaussianMixture,
    SeededNoise,
    TruncatedCosine,
    ancestral,
    classifier_free,
    sample,
)

COLOURS = ("#1f6fb4", "#d1403f", "#2f9e58")
DARK = ("#0b3c66", "#7c1d1f", "#14532c")
LEFT, BOTTOM, SIDE = -3.1, -2.65, 6.2
MASSES = (0.9, 0.5)


def triangle(radius: float = 1.0, variance: float = 0.35) -> GaussianMixture:
    """Three equal classes, on the corners of a triangle, that overlap."""
    angles = torch.tensor([90.0, 210.0, 330.0], dtype=torch.float64) * math.pi / 180
    corners = radius * torch.stack([angles.cos(), angles.sin()], dim=1)
    return GaussianMixture(corners, [variance] * 3, [1.0] * 3)


def guided_samples(
    mixture: GaussianMixture, w: float, per_class: int, steps: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Samples (N, 2) under classifier-free guidance, and their classes (N,)."""
    labels = torch.arange(mixture.null).repeat_interleave(per_class)
    seeds = range(seed * len(labels), (seed + 1) * len(labels))
    noise = SeededNoise(seeds, (2,), dtype=torch.float64)
    denoise = classifier_free(mixture, w, null=mixture.null)
    lams = TruncatedCosine().grid(steps)
    *_, last = sample(denoise, next(noise), lams, ancestral(v=0.3), labels, noise)
    return last.z, labels


def guided_maps(mixture: GaussianMixture, w: float, pixels: int) -> tuple[Tensor, Tensor]:
    """Where the pixels are (2, n, n), and the guided density of every class there (K, n, n)."""
    axis = torch.linspace(0, SIDE, pixels, dtype=torch.float64)
    where = torch.stack(torch.meshgrid(LEFT + axis, BOTTOM + axis, indexing="xy"))
    points = where.flatten(1).T
    maps = [mixture.guided_density(points, label, w) for label in range(mixture.null)]
    return where, torch.stack(maps).reshape(-1, pixels, pixels)


def mass_levels(density: Tensor) -> list[float]:
    """The heights above which the masses lie."""
    ranked = density.flatten().sort(descending=True).values
    share = ranked.cumsum(0) / ranked.sum()
    return [ranked[torch.searchsorted(share, mass)].item() for mass in MASSES]


def draw_panel(axes: Axes, mixture: GaussianMixture, w: float, pixels: int) -> None:
    """The guided densities as overlaid inks: each full at its peak, with 50% and 90% contours."""
    where, maps = guided_maps(mixture, w, pixels)
    paper = torch.ones(pixels, pixels, 3, dtype=torch.float64)
    for density, colour in zip(maps, COLOURS, strict=True):
        ink = 1 - torch.tensor(to_rgb(colour), dtype=torch.float64)
        paper *= 1 - 0.75 * (density / density.max())[..., None] * ink
    extent = (LEFT, LEFT + SIDE, BOTTOM, BOTTOM + SIDE)
    axes.imshow(paper.numpy(), origin="lower", extent=extent, interpolation="bilinear")
    for density, colour in zip(maps, DARK, strict=True):
        levels = mass_levels(density)
        style = {"colors": colour, "linewidths": (0.7, 1.1), "linestyles": ("--", "-")}
        axes.contour(*where.numpy(), density.numpy(), levels=levels, **style)
    axes.plot(*mixture.means.T.numpy(), "+", color="black", markersize=6, markeredgewidth=0.9)
    axes.set_title(f"$w = {w:g}$", fontsize=12)
    axes.set(xticks=[], yticks=[], xlim=extent[:2], ylim=extent[2:])
    for spine in axes.spines.values():
        spine.set_color("0.8")


def figure(
    seed: int = 0,
    weights: tuple[float, ...] = (0.0, 1.0, 3.0, 10.0),
    per_class: int = 150,
    steps: int = 256,
    pixels: int = 361,
) -> Figure:
    """One panel per strength, with samples laid over lightly."""
    mixture = triangle()
    page = Figure(figsize=(3 * len(weights), 3.6), layout="constrained")
    for axes, w in zip(page.subplots(1, len(weights), squeeze=False)[0], weights, strict=True):
        draw_panel(axes, mixture, w, pixels)
        x, labels = guided_samples(mixture, w, per_class, steps, seed)
        for label, colour in enumerate(DARK):
            own = x[labels == label]
            axes.plot(*own.T.numpy(), ".", color=colour, markersize=2.8, alpha=0.5, mew=0)
    page.supxlabel(
        "guided densities $p(x\\,|\\,c)\\,p(c\\,|\\,x)^w$ (shades; contours hold 50% and 90%), "
        "class means (+) and samples under classifier-free guidance (dots)",
        fontsize=9,
        color="0.3",
    )
    return page


def main(out: Path = Path("three_gaussians.png"), seed: int = 0) -> None:
    """Draw figure 2 of 2207.12598.

    Args:
        out: the PNG to write.
        seed: of the samples.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    figure(seed).savefig(out, dpi=160)
    print(f"wrote {out}")


if __name__ == "__main__":
    tyro.cli(main)
