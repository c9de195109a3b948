"""A trained run, and how to sample from it."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pilotage.conditions import Labels
from pilotage.diffusion import (
    Denoiser,
    NetworkDenoiser,
    Schedule,
    SeededNoise,
    Step,
    Timesteps,
    ancestral,
    between,
    classifier,
    classifier_free,
    clip_x,
    ddim,
    sample,
)
from pilotage.diffusion.guidance import score
from pilotage.diffusion.latent import direct, latent, no_latents
from pilotage.errors import PilotageError
from pilotage.models.build import build_denoiser, build_generator, build_labels, schedule_of
from pilotage.models.classifier import NoisyRun, load_classifier
from pilotage.models.run_folder import Card
from pilotage.models.sampling_spec import (
    Batch,
    Guidance,
    Request,
    Sampler,
    checked_seeds,
    guidance_strength,
)
from pilotage.settings import AdversarialRecipe, SamplerSettings
from pilotage.utils.seeding import derived_seed

DEFAULT_STEPS = 64
SMALL_V = 0.3  # the variance fraction where none is learned (2207.12598, section 4)


# the rows of a batch to its conditions and their null
Conditioning = Callable[[slice], tuple[Any, Any]]
Steered = tuple[Denoiser, Any]


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
        """The class names; label k is classes[k]. Empty if the network knows no classes."""
        return self.labels.classes

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image, or (D,) of a point."""
        return self.card.data.shape

    @property
    def labels(self) -> Labels:
        """The condition space, with its null."""
        return build_labels(self.card)

    @property
    def is_generator(self) -> bool:
        """Whether the network draws x, with a latent, instead of its mean."""
        return isinstance(self.card.recipe, AdversarialRecipe)

    @property
    def schedule(self) -> Schedule:
        """The noise schedule."""
        return schedule_of(self.network, self.card.recipe)

    @property
    def noise_levels(self) -> dict[str, Any]:
        """The schedule in words and numbers, with the ends that it has learned."""
        schedule, told = self.schedule, self.card.recipe.noise_levels
        if "lam_min" in told:
            told |= {"lam_min": schedule.lam_min, "lam_max": schedule.lam_max}
        return told

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @property
    def denoiser(self) -> NetworkDenoiser:
        """The network as a denoiser, (z, lam, labels) -> Prediction.

        Raises:
            PilotageError: for a generator, whose draws need seeds: see `denoiser_for`.
        """
        if self.is_generator:
            raise PilotageError("the run holds a generator: denoiser_for(seeds) binds its latents.")
        denoise = build_denoiser(self.network, self.card.recipe)
        return denoise if self.reads else denoise.around(_ignoring_labels(self.network))

    @property
    def reads(self) -> bool:
        """Whether the network is told a condition."""
        return bool(self.classes)

    def denoiser_for(self, seeds: Iterable[int]) -> Denoiser:
        """The denoiser of some images; a generator's takes its next latents at every call."""
        if not self.is_generator:
            return self.denoiser
        generator = build_generator(self.network, self.card.recipe)
        latents = self._latents(tuple(seeds))
        if self.classes:
            return latent(generator, latents)
        return latent(lambda z, lam, cond, n: generator(z, lam, None, n), latents)

    def _latents(self, seeds: tuple[int, ...]) -> Iterator[Tensor]:
        """Draws (B, N), each row of its image's seed, but not the numbers of its noise."""
        dim, device = self.card.recipe.network.latent_dim, self.device
        if not self.card.recipe.with_latent:
            return no_latents(len(seeds), dim, torch.zeros(1, device=device))
        own = [derived_seed(seed, "latent") % 2**32 for seed in seeds]
        return SeededNoise(own, (dim,), device)

    def guided(
        self, guidance: float | Guidance, seeds: Iterable[int] = (), null: Any = None
    ) -> Denoiser:
        """The denoiser guided, then clipped to [−1, 1].

        Args:
            guidance: a classifier-free strength, or all about it. A classifier that moves the mean
                is left to the step.
            seeds: of the images, for the latents of a generator.
            null: the null condition; the null label if not given.
        """
        how = guidance if isinstance(guidance, Guidance) else Guidance(guidance)
        free_w = how.w if how.classifier is None else how.classifier_free_w
        denoise = plain = self.denoiser_for(seeds)
        if self._knows_null:
            denoise = classifier_free(denoise, free_w, self.labels.null if null is None else null)
        if how.classifier is not None and how.classifier_shift == "eps":
            plain = denoise
            denoise = classifier(denoise, how.classifier.classifier.log_prob, how.w)
        if how.interval is not None:
            denoise = between(denoise, plain, *how.interval)
        draws_z = self.is_generator and self.card.recipe.direct  # z has no bounds
        return denoise if draws_z else clip_x(denoise)

    @property
    def _knows_null(self) -> bool:
        return bool(self.classes) and (self.is_generator or self.card.recipe.network.null_class)

    def request(
        self,
        labels: str | int | Iterable[str | int] = "all",
        seeds: int | Iterable[int] | None = None,
        classifier: NoisyRun | str | Path | None = None,
        **settings: Any,
    ) -> Request:
        """A checked request; the arguments are those of :meth:`sample`, which says what they mean.

        Raises:
            PilotageError: naming the setting that is wrong.
        """
        guide = self._classifier(classifier)
        how = SamplerSettings(classifier=guide and guide.folder, **settings)
        space = self.labels_with(guide)
        indices = space.indices(labels.tolist() if isinstance(labels, Tensor) else labels)
        seeds = checked_seeds(range(len(indices)) if seeds is None else seeds)
        if len(seeds) < len(indices):
            raise PilotageError(
                f"seeds has {len(seeds)} for {len(indices)} labels: "
                "each image has its own seed, so at least as many are needed."
            )
        return Request(
            labels=tuple(indices[i % len(indices)] for i in range(len(seeds))),
            seeds=seeds,
            guidance=self._guidance(how, guide),
            lams=self.levels(self.default_steps if how.steps is None else how.steps),
            sampler=self._sampler(how.sampler),
            v=self._v(how.v),
            eta=how.eta,
            batch_size=how.batch_size,
            classes=space.classes,
        )

    def labels_with(self, guide: NoisyRun | None) -> Labels:
        """The labels that may be asked for; a run without classes has its classifier's."""
        return self.labels if self.classes or guide is None else Labels(guide.classes)

    def _classifier(self, given: NoisyRun | str | Path | None) -> NoisyRun | None:
        if given is None:
            return None
        guide = given if isinstance(given, NoisyRun) else load_classifier(given, device=self.device)
        guide.check_fits(self.card)
        return guide

    def _guidance(self, how: SamplerSettings, guide: NoisyRun | None) -> Guidance:
        strength = guidance_strength(how.w, how.guidance_scale)
        if guide is None:
            self._check_free("w", strength)
            return Guidance(strength, None, strength, interval=how.guidance_interval)
        if how.classifier_shift == "mean" and how.sampler != "ancestral":
            raise PilotageError(
                f"classifier_shift is mean: it needs the ancestral sampler, not {how.sampler}."
            )
        free = how.classifier_free_w
        if free is None:
            free = -1.0 if self.classes and self.card.recipe.p_uncond == 1 else 0.0
        self._check_free("classifier_free_w", free)
        return Guidance(strength, guide, free, how.classifier_shift, how.guidance_interval)

    def _check_free(self, name: str, w: float) -> None:
        """Refuse a classifier-free strength that the network cannot have; warn of an untrained."""
        if w != 0 and not self._knows_null:
            what = "no null label" if self.classes else "no classes"
            raise PilotageError(f"{name} is {w}: the run has {what}, so it must be 0.")
        if not self.classes and self.is_generator:
            return
        p_uncond = self.card.recipe.p_uncond
        if p_uncond == 0 and w != 0:
            warnings.warn(
                f"{name} is {w}, but the run was trained with p_uncond 0: "
                "its null condition was never trained, so guidance means nothing.",
                stacklevel=5,
            )
        if p_uncond == 1 and w != -1:
            warnings.warn(
                f"{name} is {w}, but the run was trained with p_uncond 1: "
                f"no label was ever seen, so only {name} = -1 means something.",
                stacklevel=5,
            )

    def levels(self, steps: int | str) -> Float[Tensor, " T"]:
        """The sampler's levels: a number of steps or, of a beta schedule, a respacing.

        Raises:
            PilotageError: if the schedule has no such levels.
        """
        schedule = self.schedule
        if isinstance(steps, str) and steps.isdecimal():
            steps = int(steps)
        if isinstance(steps, str) and not isinstance(schedule, Timesteps):
            raise PilotageError(
                f"steps is {steps!r}: the run's levels are continuous, so a number is needed."
            )
        return schedule.grid(steps)

    @property
    def default_steps(self) -> int:
        """Network levels where none are asked for."""
        return self.card.recipe.steps_T if self.is_generator else DEFAULT_STEPS

    def _sampler(self, sampler: Sampler) -> Sampler:
        if self.is_generator and sampler != "ancestral":
            raise PilotageError(
                f"sampler is {sampler}: a generator draws x for the ancestral step, so it must be "
                "ancestral."
            )
        return sampler

    def _v(self, v: float | None) -> float | Literal["learned"]:
        if self.is_generator and v not in (None, 0):
            raise PilotageError(f"v is {v}: a generator draws x for v = 0, so it must be 0.")
        if v is not None or self.is_generator:
            return v or 0.0
        return "learned" if self.card.recipe.learned_variance else SMALL_V

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
        conditions = self.conditioning(request)
        for part in request.batches() if rows is None else rows:
            cond, null = conditions(part)
            denoise, cond = self.steered(request, part, cond, null)
            noise = SeededNoise(request.seeds[part], self.shape, self.device)
            draws, step = noise if request.random else None, self._step(request, cond)
            for state in sample(denoise, next(noise), request.lams, step, cond, draws):
                final = state
                on_step()
            yield Batch(part, final.z)

    def steered(self, request: Request, part: slice, cond: Any, null: Any) -> Steered:
        """The guided denoiser of a batch, and the conditions that it is called with."""
        return self.guided(request.guidance, request.seeds[part], null), cond

    def conditioning(self, request: Request) -> Conditioning:
        """What tells the conditions of a request's batches, and the null beside each."""
        labels = torch.tensor(request.labels, device=self.device)
        return lambda part: (labels[part], self.labels.null)

    def _step(self, request: Request, cond: Tensor) -> Step:
        """The sampler's step, with the classifier's shift of the mean if that is asked for."""
        if self.is_generator and self.card.recipe.direct:
            return direct()
        if request.sampler == "ddim":
            return ddim(request.eta)
        how = request.guidance
        if how.classifier is None or how.classifier_shift == "eps":
            return ancestral(request.v)
        push = score(how.classifier.classifier.log_prob, how.w)
        return ancestral(request.v, score=lambda z, lam: push(z, lam, cond))

    def sample(
        self,
        labels: str | int | Iterable[str | int] = "all",
        *,
        seeds: int | Iterable[int] | None = None,
        w: float | None = None,
        guidance_scale: float | None = None,
        classifier: NoisyRun | str | Path | None = None,
        classifier_free_w: float | None = None,
        classifier_shift: Literal["eps", "mean"] = "eps",
        steps: int | str | None = None,
        sampler: Sampler = "ancestral",
        batch_size: int = 64,
        v: float | None = None,
        eta: float = 0.0,
        guidance_interval: tuple[float, float] | None = None,
    ) -> Float[Tensor, "N C H W"]:
        """Guided images in [−1, 1], one per seed (2207.12598, Algorithm 2).

        Image i has seeds[i] and, with L labels, labels[i % L]. The same seed and label give the
        same image at any batch size and in any order.

        Args:
            labels: "all", one, or several class names or numbers.
            w: the guidance strength; 0 (the default) is the conditional model. With a classifier,
                that classifier's strength (2105.05233).
            guidance_scale: the classifier-free strength in the other convention, 1 + w; never both.
            classifier: a noisy classifier, from :func:`pilotage.load_classifier`, or its folder.
            classifier_free_w: the classifier-free strength beside a classifier's; if not given, 0,
                or −1 for a run that learned no labels.
            classifier_shift: what a classifier moves: "eps", in any sampler, or the "mean" of the
                ancestral step (2105.05233, Algorithm 1).
            steps: network levels T; for a beta schedule also a respacing such as "ddim25"; 64, or a
                generator's own, if not given.
            sampler: "ancestral" (with ``v``) or "ddim" (with ``eta``); a generator's is ancestral.
            seeds: one per image; 0, 1, ... for one image per label if not given.
            batch_size: images per network call.
            v: variance fraction of the ancestral sampler, in [0, 1]; if not given, as the network
                learned it, or 0.3; a generator's is 0.
            eta: randomness of the DDIM sampler, in [0, 1]; 0 is deterministic.
            guidance_interval: the log-SNR between which guidance acts (2404.07724): elsewhere it is
                the conditional model, or with a classifier that at ``classifier_free_w``;
                everywhere if not given.

        Raises:
            PilotageError: naming the setting that is wrong.
        """
        request = self.request(
            labels,
            seeds,
            classifier,
            w=w,
            guidance_scale=guidance_scale,
            classifier_free_w=classifier_free_w,
            classifier_shift=classifier_shift,
            steps=steps,
            sampler=sampler,
            batch_size=batch_size,
            v=v,
            eta=eta,
            guidance_interval=guidance_interval,
        )
        return torch.cat([batch.images for batch in self.stream(request)])


def _ignoring_labels(network: nn.Module) -> Callable[..., Tensor]:
    """A network without classes, called like one with classes."""
    return lambda z, time, cond=None: network(z, time)
