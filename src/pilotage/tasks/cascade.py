"""Images to be made: by a model, or by several of which each enlarges what the one before made."""

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
    """Images to be made: image i has conditions[i] and seeds[i].

    Attributes:
        models: the model, or those of a cascade, in order.
        conditions: a caption per image.
        seeds: one per image.
        spec: how the first model is sampled.
        up: how those that enlarge are.
        images: images that the first sees beside x, by their names; one for all.
    """

    models: tuple[Model, ...]
    conditions: tuple[str, ...]
    seeds: tuple[int, ...]
    spec: SamplingSpec
    up: SamplingSpec | None = None
    images: ConditionImages = field(default_factory=ConditionImages)

    def check(self) -> ResolvedSpec:
        """Refuse what no image could be made of; what the first model is asked for.

        Raises:
            PilotageError: naming the setting that is wrong.
        """
        for lower, upper in zip(self.models, self.models[1:], strict=False):
            wanted = upper.card.recipe.low_res
            if lower.shape[0] != upper.shape[0]:
                raise PilotageError(
                    f"cascade has a run of {upper.shape[0]} channels after one of "
                    f"{lower.shape[0]}: they must have as many."
                )
            if wanted is None or tuple(wanted) != lower.shape[1:]:
                enlarges = "nothing" if wanted is None else shape_text(wanted)
                raise PilotageError(
                    f"cascade has a run that enlarges {enlarges} after one that makes "
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
    """The seed of an image in a run that enlarges.

    One seed would give a run that enlarges the very numbers that made what it enlarges.
    """
    return derived_seed(seed, "cascade", place) % 2**32


def prompted(
    settings: PromptSettings,
    models: Sequence[Model],
    seeds: list[int],
    images: ConditionImages,
) -> Cascade:
    """The images that prompts ask for; the captions and seeds, one each per image.

    Raises:
        PilotageError: if seeds and prompts do not go together.
    """
    if settings.prompts is not None:
        captions = read_prompts(settings.prompts)
        seeds = seeds or list(range(len(captions)))
        if len(seeds) != len(captions):
            raise PilotageError(
                f"seeds has {len(seeds)} for {len(captions)} prompts of {settings.prompts}: each "
                "prompt gives one image, so as many are needed."
            )
    else:
        asked = list(settings.prompt or ("",))
        seeds = seeds or list(range(PER_PROMPT * len(asked)))
        if len(seeds) < len(asked):
            raise PilotageError(
                f"seeds has {len(seeds)} for {len(asked)} prompts: each image has its own seed, so "
                "at least as many are needed."
            )
        captions = [asked[k % len(asked)] for k in range(len(seeds))]
    spec = settings.spec
    return Cascade(
        tuple(models), tuple(captions), tuple(seeds), spec, up=_up(settings, spec), images=images
    )


def _up(settings: PromptSettings, spec: SamplingSpec) -> SamplingSpec:
    """How the models that enlarge are sampled."""
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
    """How the images are made, for a file beside them."""
    spec, up = cascade.spec, cascade.up or cascade.spec
    short = {"v": None, "eta": 0.0}  # files have both since the first version
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
    """The files of images that are given, and their contents."""
    paths = {name: getattr(settings, name, None) for name in ("low_res", "image", "mask")}
    given: dict[str, Path] = {name: path for name, path in paths.items() if path is not None}
    hashes = {f"{name}_sha256": file_hash(path) for name, path in given.items()}
    return {name: str(path) for name, path in given.items()} | hashes
