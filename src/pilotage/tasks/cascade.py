"""Sampling by one model, or by a cascade of a base and super-resolution models."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pilotage.data import read_prompts
from pilotage.errors import PilotageError
from pilotage.models.conditioning import ConditionImages
from pilotage.models.guidance_spec import CONVENTION
from pilotage.models.model import Model
from pilotage.models.run_folder import weights_hash
from pilotage.models.sampling_spec import Batch, ResolvedSpec
from pilotage.settings import PromptSettings, SamplingSpec
from pilotage.utils.files import file_hash
from pilotage.utils.images import shape_text
from pilotage.utils.seeding import derived_seed
from pilotage.version import __version__

PER_PROMPT = 8


@dataclass(frozen=True)
class Cascade:
    """A sampling job: image i has conditions[i] and seeds[i].

    Attributes:
        models: the model, or those of a cascade, in order.
        conditions: a caption per image.
        seeds: one per image.
        spec: the sampling request of the first model.
        up: that of the super-resolution models.
        images: conditioning images of the first model by name, the same for all.
    """

    models: tuple[Model, ...]
    conditions: tuple[str, ...]
    seeds: tuple[int, ...]
    spec: SamplingSpec
    up: SamplingSpec | None = None
    images: ConditionImages = field(default_factory=ConditionImages)

    def check(self) -> ResolvedSpec:
        """Validate the job; return the validated sampling request of the first model.

        Raises:
            PilotageError: naming the invalid setting.
        """
        for lower, upper in zip(self.models, self.models[1:], strict=False):
            low_res = upper.card.recipe.low_res
            if lower.shape[0] != upper.shape[0]:
                raise PilotageError(
                    f"cascade has a run of {upper.shape[0]} channels after one of "
                    f"{lower.shape[0]}: all must have the same number."
                )
            if low_res is None or tuple(low_res) != lower.shape[1:]:
                takes = "no images" if low_res is None else shape_text(low_res)
                raise PilotageError(
                    f"cascade has a run that takes {takes} after one that samples "
                    f"{shape_text(lower.shape[1:])}: they must be the same size."
                )
            upper.levels(self._steps(upper))
        return self.models[0].resolve(self.conditions, self.spec, seeds=self.seeds, **self.images)

    @property
    def steps(self) -> int:
        """Sampling steps of a batch, over all models."""
        return sum(len(model.levels(self._steps(model))) for model in self.models)

    def stream(
        self, resolved: ResolvedSpec, rows: Iterable[slice], on_step: Callable[[], None]
    ) -> Iterator[Batch]:
        """The images, at the size of the last model, batch by batch.

        Args:
            resolved: from :meth:`check`.
            rows: some of ``resolved.batches()``.
            on_step: called after every sampling step.
        """
        for part, images in self.models[0].stream(resolved, rows, on_step):
            for place, model in enumerate(self.models[1:], 1):
                images = model.sample(
                    self.conditions[part],
                    self._spec(model),
                    seeds=[_seed_of(seed, place) for seed in self.seeds[part]],
                    on_step=on_step,
                    low_res=images,
                )
            yield Batch(part, images)

    def _spec(self, model: Model) -> SamplingSpec:
        return self.spec if self.up is None or model is self.models[0] else self.up

    def _steps(self, model: Model) -> int | str:
        return self._spec(model).steps or model.default_steps


def _seed_of(seed: int, place: int) -> int:
    """Return the seed of an image in a super-resolution run.

    With the same seed, a super-resolution run would start from the noise that made its input.
    """
    return derived_seed(seed, "cascade", place) % 2**32


def prompted(
    settings: PromptSettings,
    models: Sequence[Model],
    seeds: list[int],
    images: ConditionImages,
) -> Cascade:
    """Make the sampling job of prompts, with a caption and a seed per image.

    Raises:
        PilotageError: if the numbers of seeds and prompts do not fit.
    """
    if settings.prompts is not None:
        captions = read_prompts(settings.prompts)
        seeds = seeds or list(range(len(captions)))
        if len(seeds) != len(captions):
            raise PilotageError(
                f"seeds has {len(seeds)} for {len(captions)} prompts of {settings.prompts}: it "
                "must have one per prompt."
            )
    else:
        prompts = list(settings.prompt or ("",))
        seeds = seeds or list(range(PER_PROMPT * len(prompts)))
        if len(seeds) < len(prompts):
            raise PilotageError(
                f"seeds has {len(seeds)} for {len(prompts)} prompts: it must have at least one per "
                "prompt."
            )
        captions = [prompts[k % len(prompts)] for k in range(len(seeds))]
    spec = settings.spec
    return Cascade(
        tuple(models), tuple(captions), tuple(seeds), spec, up=_up(settings, spec), images=images
    )


def _up(settings: PromptSettings, spec: SamplingSpec) -> SamplingSpec:
    """Return the sampling request of the super-resolution models."""
    sampler = settings.up_sampler or spec.sampler
    own = {} if sampler == spec.sampler else {"v": None, "eta": None}
    return spec.replace(
        w=settings.up_w,
        guidance_scale=None,
        negative=spec.negative if settings.up_w else None,  # without effect at w = 0
        image_w=None,
        compose=(),
        steps=settings.up_steps or spec.steps,
        sampler=sampler,
        **own,
    )


def prompt_record(cascade: Cascade, settings: PromptSettings) -> dict[str, Any]:
    """Return the record that is saved next to the images."""
    spec, up = cascade.spec, cascade.up or cascade.spec
    short = {"v": None, "eta": 0.0}  # always recorded, since the first version
    return {
        "runs": [str(folder) for folder in settings.folders],
        "run_hashes": [weights_hash(folder, settings.weights) for folder in settings.folders],
        "weights": settings.weights,
        "training_steps": [model.step for model in cascade.models],
        "guidance_interval": spec.guidance_interval,
        "w": spec.w,
        "guidance_scale": spec.guidance_scale,
        "steps": spec.steps,
        **short,
        **spec.step_sampler.record(),
        "convention": CONVENTION,
        "up_w": up.w,
        "up_steps": up.steps,
        "up_sampler": str(up.step_sampler),
        "negative": spec.negative,
        "compose": [list(part) for part in spec.compose],
        "image_w": spec.image_w,
        **_files_of(settings),
        "prompts": list(cascade.conditions),
        "seeds": list(cascade.seeds),
        "pilotage": __version__,
    }


def _files_of(settings: PromptSettings) -> dict[str, Any]:
    """Return the paths and hashes of the given image files."""
    paths = {name: getattr(settings, name, None) for name in ("low_res", "image", "mask")}
    given: dict[str, Path] = {name: path for name, path in paths.items() if path is not None}
    hashes = {f"{name}_sha256": file_hash(path) for name, path in given.items()}
    return {name: str(path) for name, path in given.items()} | hashes
