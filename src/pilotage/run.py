"""A trained run: load it, and sample from it."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pilotage.checkpoint import read_metadata, read_tensors
from pilotage.conditions import Labels
from pilotage.diffusion import (
    Denoiser,
    NetworkDenoiser,
    SeededNoise,
    Step,
    TruncatedCosine,
    ancestral,
    classifier_free,
    clip_x,
    ddim,
    sample,
)
from pilotage.errors import PilotageError
from pilotage.folder import Card, read_card
from pilotage.model import build_denoiser, build_labels, build_network, build_schedule
from pilotage.processes import process_device
from pilotage.settings import SamplerSettings

Sampler = Literal["ancestral", "ddim"]

# written beside every result
CONVENTION = "(1 + w) * conditional - w * unconditional; guidance_scale = 1 + w"


class Batch(NamedTuple):
    """Some of the images of a request.

    Attributes:
        rows: their places in the request.
        images: (B, C, H, W) in [−1, 1].
    """

    rows: slice
    images: Float[Tensor, "B C H W"]


@dataclass(frozen=True)
class Request:
    """A checked wish for images: image i has seeds[i] and labels[i].

    Attributes:
        labels: one class index per image.
        seeds: one seed per image.
        w: the guidance strength.
        steps: network levels T.
        sampler: "ancestral" or "ddim".
        v: the ancestral sampler's variance fraction.
        eta: the DDIM sampler's randomness.
        batch_size: images per network call (twice that where guided).
    """

    labels: tuple[int, ...]
    seeds: tuple[int, ...]
    w: float
    steps: int
    sampler: Sampler
    v: float
    eta: float
    batch_size: int

    @property
    def step(self) -> Step:
        """The sampler's step function."""
        return ancestral(self.v) if self.sampler == "ancestral" else ddim(self.eta)

    @property
    def random(self) -> bool:
        """Whether the steps use noise."""
        return self.sampler == "ancestral" or self.eta > 0

    def batches(self) -> list[slice]:
        """The rows of each batch."""
        count = len(self.seeds)
        return [slice(i, min(i + self.batch_size, count)) for i in range(0, count, self.batch_size)]


@dataclass(frozen=True)
class Run:
    """A model with what is needed to use it.

    Attributes:
        card: its recipe and data facts.
        network: in eval mode, on its device.
        step: optimiser steps that it was trained for.
    """

    card: Card
    network: nn.Module
    step: int

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names; label k is classes[k]."""
        return self.card.data.classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return self.card.data.shape

    @property
    def labels(self) -> Labels:
        """The condition space, with its null."""
        return build_labels(self.card)

    @property
    def schedule(self) -> TruncatedCosine:
        """The noise schedule."""
        return build_schedule(self.card.recipe)

    @property
    def denoiser(self) -> NetworkDenoiser:
        """The network as a denoiser, (z, lam, labels) -> Prediction."""
        return build_denoiser(self.network, self.card.recipe)

    def guided(self, w: float) -> Denoiser:
        """The denoiser guided with strength w, then clipped to [−1, 1]."""
        return clip_x(classifier_free(self.denoiser, w, self.labels.null))

    def request(
        self,
        labels: str | int | Iterable[str | int] = "all",
        seeds: int | Iterable[int] | None = None,
        **settings: Any,
    ) -> Request:
        """A checked request; the arguments are those of :meth:`sample`, which says what they mean.

        Raises:
            PilotageError: naming the setting that is wrong.
        """
        how = SamplerSettings(**settings)
        indices = self.labels.indices(labels.tolist() if isinstance(labels, Tensor) else labels)
        seeds = _seeds(range(len(indices)) if seeds is None else seeds)
        if len(seeds) < len(indices):
            raise PilotageError(
                f"seeds has {len(seeds)} for {len(indices)} labels: "
                "each image has its own seed, so at least as many are needed."
            )
        dealt = tuple(indices[i % len(indices)] for i in range(len(seeds)))
        strength = guidance_strength(how.w, how.guidance_scale)
        request = Request(
            dealt, seeds, strength, how.steps, how.sampler, how.v, how.eta, how.batch_size
        )
        self._warn_if_untrained(strength)
        return request

    def _warn_if_untrained(self, w: float) -> None:
        p_uncond = self.card.recipe.p_uncond
        if p_uncond == 0 and w != 0:
            warnings.warn(
                f"w is {w}, but the run was trained with p_uncond 0: "
                "its null condition was never trained, so guidance means nothing.",
                stacklevel=4,
            )
        if p_uncond == 1 and w != -1:
            warnings.warn(
                f"w is {w}, but the run was trained with p_uncond 1: "
                "no label was ever seen, so only w = -1 means something.",
                stacklevel=4,
            )

    def stream(
        self,
        request: Request,
        rows: Iterable[slice] | None = None,
        on_step: Callable[[], None] = lambda: None,
    ) -> Iterator[Batch]:
        """The images of a request, batch by batch.

        Args:
            request: from :meth:`request`.
            rows: some of ``request.batches()``, or all if None.
            on_step: called after every sampling step.
        """
        device = next(self.network.parameters()).device
        denoise, lams = self.guided(request.w), self.schedule.grid(request.steps)
        for part in request.batches() if rows is None else rows:
            noise = SeededNoise(request.seeds[part], self.shape, device)
            cond = torch.tensor(request.labels[part], device=device)
            draws = noise if request.random else None
            for state in sample(denoise, next(noise), lams, request.step, cond, draws):
                final = state
                on_step()
            yield Batch(part, final.z)

    def sample(
        self,
        labels: str | int | Iterable[str | int] = "all",
        *,
        seeds: int | Iterable[int] | None = None,
        w: float | None = None,
        guidance_scale: float | None = None,
        steps: int = 64,
        sampler: Sampler = "ancestral",
        batch_size: int = 64,
        v: float = 0.3,
        eta: float = 0.0,
    ) -> Float[Tensor, "N C H W"]:
        """Guided images in [−1, 1], one per seed (2207.12598, Algorithm 2).

        Image i has seeds[i] and, with L labels, labels[i % L]. The same seed and label give the
        same image at any batch size and in any order.

        Args:
            labels: "all", one, or several class names or numbers.
            w: the guidance strength; 0 (the default) is the conditional model.
            guidance_scale: the same in the other convention, 1 + w; never both.
            steps: network levels T.
            sampler: "ancestral" (with ``v``) or "ddim" (with ``eta``).
            seeds: one per image; 0, 1, ... for one image per label if not given.
            batch_size: images per network call.
            v: variance fraction of the ancestral sampler, in [0, 1].
            eta: randomness of the DDIM sampler, in [0, 1]; 0 is deterministic.

        Raises:
            PilotageError: naming the setting that is wrong.
        """
        request = self.request(
            labels,
            seeds,
            w=w,
            guidance_scale=guidance_scale,
            steps=steps,
            sampler=sampler,
            batch_size=batch_size,
            v=v,
            eta=eta,
        )
        return torch.cat([batch.images for batch in self.stream(request)])


def _seeds(seeds: int | Iterable[int]) -> tuple[int, ...]:
    try:
        found = tuple(index(s) for s in (seeds if isinstance(seeds, Iterable) else [seeds]))
    except TypeError:
        raise PilotageError(f"seeds is {seeds!r}: whole numbers are needed.") from None
    SeededNoise(found, ())  # refuses what is out of range, now rather than in the first batch
    return found


def guidance_strength(w: float | None, guidance_scale: float | None) -> float:
    """w from either convention: w itself, or guidance_scale − 1; 0 if neither is given.

    Raises:
        PilotageError: if both are given, or the value is NaN or infinite.
    """
    if w is not None and guidance_scale is not None:
        raise PilotageError(
            f"w is {w} and guidance_scale is {guidance_scale}: give one, guidance_scale is 1 + w."
        )
    if guidance_scale is not None:
        name, value, strength = "guidance_scale", guidance_scale, guidance_scale - 1
    else:
        name, value, strength = "w", w, w or 0.0
    if not math.isfinite(strength):
        raise PilotageError(f"{name} is {value}: it must be a finite number.")
    return float(strength)


def load_run(
    path: str | Path, *, weights: Literal["ema", "model"] = "ema", device: str | None = None
) -> Run:
    """A run folder's model, ready to sample.

    Args:
        path: the run folder.
        weights: the averaged ("ema") or the latest ("model") ones.
        device: where it runs; a GPU if there is one.

    Raises:
        PilotageError: if the folder, its card or either weight file is missing or damaged.
    """
    folder = Path(path)
    card = read_card(folder)
    # a damaged run is refused whichever weights are wanted
    steps = {name: _step(folder / f"{name}.safetensors") for name in ("model", "ema")}
    network = build_network(card)
    fill(network, folder / f"{weights}.safetensors")
    network = network.eval().requires_grad_(False).to(device or process_device())
    return Run(card, network, steps[weights])


def _step(path: Path) -> int:
    return int(read_metadata(path).get("step", 0))


def fill(network: nn.Module, path: Path) -> None:
    """Put a file's tensors into a network.

    Raises:
        PilotageError: if they are not exactly the network's.
    """
    tensors, own = read_tensors(path), network.state_dict()
    wrong = [n for n in own.keys() | tensors.keys() if _shape(own, n) != _shape(tensors, n)]
    if wrong:
        raise PilotageError(
            f"{path} does not hold this run's weights: {', '.join(sorted(wrong)[:3])} "
            f"({len(wrong)} in all) are missing, unknown or of another shape."
        )
    network.load_state_dict(tensors)


def _shape(tensors: dict[str, Tensor], name: str) -> torch.Size | None:
    return tensors[name].shape if name in tensors else None
