"""``pilotage sample``: sample images from a run, or a cascade of runs, into files."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from accelerate import PartialState

from pilotage.errors import PilotageError
from pilotage.models.classifier import load_classifier
from pilotage.models.conditioning import ConditionImages
from pilotage.models.model import Model, load_run
from pilotage.models.sampling_spec import ResolvedSpec
from pilotage.settings import PromptSettings, SampleSettings
from pilotage.tasks.inputs import read_image
from pilotage.tasks.outputs import Grid, Output, check_out, deliver, prompt_grid
from pilotage.utils.distributed import process_state
from pilotage.version import __version__

IMAGES_PER_LABEL = 8
COLUMNS = 32  # of classes
FEW = 16  # classes and images where neither labels nor seeds are given


def sample_images(settings: SampleSettings) -> None:
    """Sample the images of the command; the main process writes them.

    Raises:
        PilotageError: for bad input, before anything is sampled or written.
    """
    check_out(settings.out)
    state = process_state()
    models = load_models(settings, state, captions=bool(settings.cascade))
    if models[0].conditioner.noun != "captions":
        sample_labels(settings, models[0], state)
        return
    if settings.labels:
        raise PilotageError(
            f"labels is {settings.labels}: it must be left out for a run on captions; give a "
            "prompt."
        )
    images = ConditionImages()
    if settings.low_res is not None:
        images["low_res"] = read_image(settings.low_res, "low_res", models[0].shape[0])
    sample_prompts(settings, models, images, state)


def load_models(settings: PromptSettings, state: PartialState, captions: bool) -> list[Model]:
    """Load the runs of a command, in order; with ``captions``, all must be runs on captions.

    Raises:
        PilotageError: naming the run that is not.
    """
    folders = settings.folders
    models = [load_run(folder, weights=settings.weights, device=state.device) for folder in folders]
    for folder, model in zip(folders, models, strict=True):
        if captions and model.conditioner.noun != "captions":
            raise PilotageError(
                f"run is {folder}: it must be a run on captions, and was trained on labels."
            )
    return models


def sample_labels(settings: SampleSettings, model: Model, state: PartialState) -> None:
    """Sample images, or points, of classes.

    Raises:
        PilotageError: for bad input, before anything is sampled or written.
    """
    if settings.for_captions or settings.low_res:
        raise PilotageError(
            f"run is {settings.run_folder}: it must be a run on captions for prompt, prompts, "
            "negative, compose, image_w and low_res, and was trained on labels."
        )
    points = model.card.data.points
    if points and settings.out.suffix.lower() not in (".png", ".npz"):
        raise PilotageError(
            f"out is {settings.out}: it must be a .png (a plot) or an .npz, for points."
        )
    guide = None
    if settings.classifier is not None:
        guide = load_classifier(settings.classifier, device=state.device)
    labels, seeds = _dealt(settings, model.conditioner_with(guide).values(settings.labels or "all"))
    dealt = [labels[k % len(labels)] for k in range(max(len(seeds), len(labels)))]
    resolved = model.resolve(dealt, settings.spec, seeds=seeds, classifier=guide)
    output = Output(
        path=settings.out,
        record=_record(resolved, model, settings),
        arrays={"labels": np.array(resolved.conditions), "seeds": np.array(resolved.seeds)},
        grid=_grid(resolved, len(labels), points),
        stems=[
            f"{k:06d}-seed{seed}-label{label}"
            for k, (seed, label) in enumerate(zip(resolved.seeds, resolved.conditions, strict=True))
        ],
        noun="points" if points else "images",
    )
    deliver(partial(model.stream, resolved), resolved.batches(), resolved.steps, output, state)


def _dealt(settings: SampleSettings, labels: list[Any]) -> tuple[list[Any], Sequence[int]]:
    """The labels that are shown, and the seeds of all images."""
    seeds: Sequence[int] = settings.seed_numbers
    if settings.labels:
        return labels, seeds or range(IMAGES_PER_LABEL * len(labels))
    shown = labels[: min(FEW, len(seeds) or FEW)]
    return shown, seeds or range(len(shown) * math.ceil(FEW / len(shown)))


def sample_prompts(
    settings: PromptSettings, models: list[Model], images: ConditionImages, state: PartialState
) -> None:
    """Sample the images of prompts.

    Raises:
        PilotageError: for bad input, before anything is sampled or written.
    """
    from pilotage.tasks.cascade import prompt_record, prompted

    if settings.classifier is not None:
        raise PilotageError("classifier is given: it must be left out, for a run on captions.")
    cascade = prompted(settings, models, settings.seed_numbers, images)
    resolved = cascade.check()
    captions, seeds = cascade.conditions, cascade.seeds
    output = Output(
        path=settings.out,
        record=prompt_record(cascade, settings),
        arrays={"captions": np.array(captions), "seeds": np.array(seeds)},
        grid=prompt_grid(captions),
        stems=[f"{k:06d}-seed{seed}" for k, seed in enumerate(seeds)],
    )
    stream = partial(cascade.stream, resolved)
    deliver(stream, resolved.batches(), cascade.steps, output, state)


def _grid(resolved: ResolvedSpec, labels: int, points: bool) -> Grid:
    """Columns of classes, a multiple of them that makes the grid about square.

    Where there are too many classes for columns, each image has its class below it.
    """
    count = len(resolved.seeds)
    title = f"{resolved.guidance.label()}, {resolved.steps} {resolved.sampler.name} steps"
    title = f"{count} points" if points else title
    names = [resolved.classes[k] for k in resolved.conditions] if resolved.classes else []
    if labels > COLUMNS:
        return Grid(min(count, FEW), title=title, below=names)
    columns = min(count, labels * max(1, round(math.sqrt(count) / labels)))
    return Grid(columns, names[:columns], title)


def _record(resolved: ResolvedSpec, model: Model, settings: SampleSettings) -> dict[str, Any]:
    """Return the record of the images, with the strength in both conventions."""
    return {
        "run": str(settings.run_folder),
        "weights": settings.weights,
        "training_step": model.step,
        **resolved.guidance.record(),
        "steps": resolved.steps,
        **resolved.sampler.record(),
        **model.noise_levels,
        "clip_x": 1.0,
        "labels": list(resolved.conditions),
        "classes": list(resolved.classes),
        "seeds": list(resolved.seeds),
        "batch_size": resolved.batch_size,
        "pilotage": __version__,
    }
