"""A trained model: what a run folder holds, ready to be sampled."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pilotage.conditions import Labels, Space
from pilotage.diffusion import Denoiser, Schedule, SeededNoise, Timesteps, clip_x, sample
from pilotage.errors import PilotageError
from pilotage.models.build import Builder, builder_of, schedule_of
from pilotage.models.classifier import Classifier, load_classifier
from pilotage.models.conditioning import Conditioner, ConditionImages, SpaceConditioner
from pilotage.models.guidance_spec import Guidance
from pilotage.models.run_folder import Card, fill, read_card, stored_step
from pilotage.models.sampling_spec import Batch, ResolvedSpec, SampleOptions, checked_seeds
from pilotage.settings import SamplingSpec
from pilotage.utils.distributed import process_device
from pilotage.utils.memory import bounded_memory


@dataclass(frozen=True)
class Model:
    """A network with what is needed to sample from it.

    Attributes:
        card: its recipe and data facts.
        network: in eval mode, on its device.
        step: optimiser steps that it was trained for.
        space: its condition space, with the null.
    """

    card: Card
    network: nn.Module
    step: int
    space: Space

    def sample(
        self, cond: Any = None, spec: SamplingSpec | None = None, **options: Unpack[SampleOptions]
    ) -> Float[Tensor, "N *shape"]:
        """Guided images in [−1, 1], or points, one per seed (2207.12598, Algorithm 2).

        Image i has seeds[i] and, with L conditions, the condition i % L. The same seed and
        condition give the same image at any batch size, in any order and on any number of
        processes. Captions are encoded once per call, and a guided step is one network call.

        Args:
            cond: what the images are conditioned on: class names or numbers, captions, or any
                values that the space reads; one or several. By default every class once, or the
                empty caption.
            spec: how they are sampled; or, instead, its settings as keywords:
            **options: ``seeds``, one per image (0, 1, ... for one image per condition if not
                given); ``on_step``, called after every step; ``low_res``, ``known`` and
                ``known_mask``, images of a run that enlarges or completes, one or one per seed, in
                [−1, 1]; and the settings of a :class:`~pilotage.settings.SamplingSpec`:

                w: the guidance strength; 0 (the default) is the conditional model. With a
                    classifier, that classifier's strength (2105.05233).
                guidance_scale: the classifier-free strength in the other convention, 1 + w.
                rule: how conditional and unconditional predictions are combined, "cfg".
                guidance_interval: the log-SNR between which guidance acts (2404.07724): elsewhere
                    it is the conditional model, or with a classifier that at
                    ``classifier_free_w``; everywhere if not given.
                classifier: a noisy classifier, from :func:`pilotage.load_classifier`, or its
                    folder; of runs on labels.
                classifier_free_w: the classifier-free strength beside a classifier's; if not
                    given, 0, or −1 for a run that learned no labels.
                classifier_shift: what a classifier moves: "eps", in any sampler, or the "mean" of
                    the ancestral step (2105.05233, Algorithm 1).
                negative: of runs on captions: the negative prompt, in place of the empty one.
                image_w: an image guidance scale as w (2211.09800, equation 3, the image first);
                    without one the image is always seen.
                compose: captions with weights instead, such as [("a cat", 3), ("red", 2)]
                    (2206.01714); each weight is 1 + w of a guidance by that caption alone.
                steps: network levels T; for a beta schedule also a respacing such as "ddim25"; 64,
                    or a generator's own, if not given.
                sampler: a value or its text form, such as "ancestral" or "ddim(eta=0.5)"; a
                    generator's is ancestral.
                v: variance fraction of the ancestral sampler, in [0, 1]; if not given, as the
                    network learned it, or 0.3; a generator's is 0.
                eta: randomness of the DDIM sampler, in [0, 1]; 0 is deterministic.
                batch_size: images per network call.

        Raises:
            PilotageError: naming the setting that is wrong.
        """
        on_step = options.pop("on_step", None) or _nothing
        resolved = self.resolve(cond, spec, **options)
        return torch.cat([batch.images for batch in self.stream(resolved, on_step=on_step)])

    def resolve(
        self, cond: Any = None, spec: SamplingSpec | None = None, **options: Unpack[SampleOptions]
    ) -> ResolvedSpec:
        """A spec resolved for this model and its images; the arguments are those of :meth:`sample`.

        Raises:
            PilotageError: naming the setting that is wrong.
        """
        given: dict[str, Any] = dict(options)
        seeds = given.pop("seeds", None)
        images = ConditionImages(
            low_res=given.pop("low_res", None),
            known=given.pop("known", None),
            known_mask=given.pop("known_mask", None),
        )
        by_spec = None if spec is None else spec.classifier
        guide = self._classifier(given.pop("classifier", None) or by_spec)
        if spec is None:
            spec = SamplingSpec(classifier=guide and guide.folder, **given)
        elif given:
            raise PilotageError(f"{next(iter(given))} is given beside a spec: give it there.")
        conditioner = self.conditioner_with(guide)
        values = conditioner.values(cond)
        seeds = checked_seeds(range(len(values)) if seeds is None else seeds)
        if len(seeds) < len(values):
            raise PilotageError(
                f"seeds has {len(seeds)} for {len(values)} {conditioner.noun}: "
                "each image has its own seed, so at least as many are needed."
            )
        dealt = [values[i % len(values)] for i in range(len(seeds))]
        guidance = self._guidance(spec, guide)
        return ResolvedSpec(
            conditions=conditioner.check(dealt, guidance, images),
            seeds=seeds,
            guidance=guidance,
            lams=self.levels(self.default_steps if spec.steps is None else spec.steps),
            sampler=self.builder.sampler(self.card, spec.step_sampler),
            batch_size=spec.batch_size,
            classes=conditioner.classes,
        )

    def stream(
        self,
        resolved: ResolvedSpec,
        rows: Iterable[slice] | None = None,
        on_step: Callable[[], None] = lambda: None,
    ) -> Iterator[Batch]:
        """The images, batch by batch.

        Args:
            resolved: from :meth:`resolve`.
            rows: some of ``resolved.batches()``, or all if None.
            on_step: called after every sampling step.

        Raises:
            PilotageError: if a sample is not finite, or memory runs out.
        """
        guidance, sampler = resolved.guidance, resolved.sampler
        encode = self.conditioner.encode(resolved.conditions, guidance)
        for part in resolved.batches() if rows is None else rows:
            cond, null = encode(part)
            denoise = self.guided(guidance, resolved.seeds[part], null)
            denoise = self.conditioner.keep(denoise, resolved.conditions, part)
            noise = SeededNoise(resolved.seeds[part], self.shape, self.device)
            step = self.builder.step(self.card, sampler, guidance.mean_score(cond))
            draws = noise if sampler.uses_noise else None
            with bounded_memory("sampling", "a smaller batch_size needs less"):
                for state in sample(denoise, next(noise), resolved.lams, step, cond, draws):
                    final = state
                    on_step()
            _check_finite(final.z, resolved, part)
            yield Batch(part, final.z)

    def guided(
        self, guidance: Guidance | float, seeds: Iterable[int] = (), null: Any = None
    ) -> Denoiser:
        """The denoiser guided, then clipped to [−1, 1].

        Args:
            guidance: a classifier-free strength, or all about it. A classifier that moves the mean
                is left to the step.
            seeds: of the images, for the latents of a generator.
            null: the null condition; that of the space if not given.
        """
        how = guidance if isinstance(guidance, Guidance) else Guidance(guidance)
        known = (self.space.null if null is None else null) if self.conditioner.has_null else None
        denoise = how.apply(self.denoiser_for(seeds), known)
        return clip_x(denoise) if self.builder.bounded(self.card) else denoise

    def denoiser_for(self, seeds: Iterable[int]) -> Denoiser:
        """The denoiser of some images; a generator's takes its next latents at every call."""
        return self.builder.denoiser(self.card, self.network, seeds)

    @property
    def denoiser(self) -> Denoiser:
        """The network as a denoiser, (z, lam, cond) -> Prediction.

        Raises:
            PilotageError: for a generator, whose draws need seeds: see `denoiser_for`.
        """
        if self.builder.stochastic:
            raise PilotageError("the run holds a generator: denoiser_for(seeds) binds its latents.")
        return self.denoiser_for(())

    @cached_property
    def builder(self) -> Builder:
        """What its kind of model does in its own way."""
        return builder_of(self.card)

    @cached_property
    def conditioner(self) -> Conditioner:
        """From what is asked for to conditions of the network."""
        return self.builder.conditioner(self.card, self.network, self.space)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names; label k is classes[k]. Empty if the network knows no classes."""
        return self.conditioner.classes

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of an image, or (D,) of a point."""
        return self.card.data.shape

    @property
    def schedule(self) -> Schedule:
        """The noise schedule."""
        return schedule_of(self.network, self.card.recipe)

    @property
    def noise_levels(self) -> dict[str, Any]:
        """The schedule in words and numbers, with the ends that it has learned."""
        schedule, told = self.schedule, dict(self.card.recipe.noise_levels)
        if "lam_min" in told:
            told |= {"lam_min": schedule.lam_min, "lam_max": schedule.lam_max}
        return told

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @property
    def default_steps(self) -> int:
        """Network levels where none are asked for."""
        return self.builder.default_steps(self.card)

    def levels(self, steps: int | str) -> Float[Tensor, " T"]:
        """The sampler's levels: a number of steps or, of a beta schedule, a respacing.

        Raises:
            PilotageError: if the schedule has no such levels.
        """
        schedule = self.schedule
        if isinstance(steps, str) and steps.isdecimal():
            steps = int(steps)
        if isinstance(schedule, Timesteps):
            return schedule.grid(steps)
        if isinstance(steps, str):
            raise PilotageError(
                f"steps is {steps!r}: the run's levels are continuous, so a number is needed."
            )
        return schedule.grid(steps)

    def conditioner_with(self, guide: Classifier | None) -> Conditioner:
        """The labels that may be asked for; a model without classes has its classifier's."""
        own = self.conditioner
        if guide is None or own.classes:
            return own
        return SpaceConditioner(Labels(guide.classes), own.has_null, self.device)

    def _classifier(self, given: Classifier | str | Path | None) -> Classifier | None:
        if given is None:
            return None
        if not self.conditioner.classifiers:
            raise PilotageError(
                "classifier is given: a run on captions is guided by captions only."
            )
        if not isinstance(given, Classifier):
            given = load_classifier(given, device=self.device)
        given.check_fits(self.card)
        return given

    def _guidance(self, spec: SamplingSpec, guide: Classifier | None) -> Guidance:
        sampler, w, shared = spec.step_sampler, spec.strength, _shared(spec)
        if guide is None:
            self._check_free("w", w)
            return Guidance(w, **shared)
        if spec.classifier_shift == "mean" and not sampler.takes_score:
            raise PilotageError(
                f"classifier_shift is mean: it needs the ancestral sampler, not {sampler}."
            )
        free = spec.classifier_free_w
        if free is None:
            free = -1.0 if self.classes and self.card.recipe.p_uncond == 1 else 0.0
        self._check_free("classifier_free_w", free)
        return Guidance(
            w,
            classifier=guide,
            classifier_free_w=free,
            classifier_shift=spec.classifier_shift,
            **shared,
        )

    def _check_free(self, name: str, w: float) -> None:
        """Refuse a classifier-free strength that the network cannot have; warn of an untrained."""
        if not self.conditioner.has_null:
            if w != 0:
                what = "no null label" if self.classes else "no classes"
                raise PilotageError(f"{name} is {w}: the run has {what}, so it must be 0.")
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


def _shared(spec: SamplingSpec) -> dict[str, Any]:
    """What guidance of either kind has."""
    return {
        "rule": spec.rule,
        "interval": spec.guidance_interval,
        "negative": spec.negative,
        "image_w": spec.image_w,
        "compose": spec.compose,
    }


def load_run(
    path: str | Path,
    *,
    weights: Literal["ema", "model"] = "ema",
    device: Any = None,
    network: nn.Module | None = None,
) -> Model:
    """A run folder's model, ready to sample.

    Args:
        path: the run folder.
        weights: the averaged ("ema") or the latest ("model") ones.
        device: where it runs; a GPU if there is one.
        network: for a run that was trained with a network of your own, one like it, which is filled
            with the run's weights.

    Raises:
        PilotageError: if the folder, its card or either weight file is missing or damaged, if it
            holds a classifier, or if a network is missing or given in vain.
    """
    folder = Path(path)
    card = read_card(folder)
    if card.recipe.task == "classifier":
        raise PilotageError(
            f"run is {folder}: it holds a classifier, which guides a denoiser's run "
            "(--classifier) but makes no images itself."
        )
    _check_network(card, folder, network)
    builder = builder_of(card)
    network = builder.network(card) if network is None else network
    step = stored_step(folder, weights)
    fill(network, folder / f"{weights}.safetensors")
    network = network.eval().requires_grad_(False).to(device or process_device())
    return Model(card, network, step, builder.space(card, folder))


def _check_network(card: Card, folder: Path, network: nn.Module | None) -> None:
    """Refuse a run without the network that it needs, or with one that it does not."""
    if card.network is not None and network is None:
        raise PilotageError(
            f"run is {folder}: its network, {card.network}, was given in Python; give one like it, "
            "load_run(..., network=...)."
        )
    if card.network is None and network is not None:
        raise PilotageError(f"network is given: the run in {folder} has the network of its recipe.")


def _check_finite(samples: Tensor, resolved: ResolvedSpec, rows: slice) -> None:
    """Refuse samples that are no images."""
    finite = torch.isfinite(samples).flatten(1).all(dim=1).tolist()
    wrong = [seed for seed, fine in zip(resolved.seeds[rows], finite, strict=True) if not fine]
    if wrong:
        raise PilotageError(
            f"samples of seeds {', '.join(map(str, wrong[:5]))} ({len(wrong)} of the batch) are "
            f"not finite at {resolved.guidance.label()}: the network's output overflows there."
        )


def _nothing() -> None:
    """What is done after a step unless something is asked for."""
