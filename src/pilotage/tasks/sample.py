"""``pilotage sample``: sample images from a run, or a cascade of runs, into files."""

import math
from typing import Any

import numpy as np
from accelerate import PartialState

from pilotage.errors import PilotageError
from pilotage.models.classifier import load_classifier
from pilotage.models.conditioning import ConditionImages
from pilotage.models.model import Model, load_run
from pilotage.models.sampling_spec import ResolvedSpec
from pilotage.settings import PromptSettings, SampleSettings
from pilotage.tasks.cascade import (
    Cascade,
    as_arrays,
    gathered,
    own_batches,
    prompt_record,
    prompted,
)
from pilotage.tasks.inputs import read_image
from pilotage.tasks.outputs import (
    Grid,
    check_out,
    open_folder,
    prompt_grid,
    write_all,
    write_record,
)
from pilotage.utils.distributed import process_state
from pilotage.utils.images import save_png
from pilotage.utils.progress import sampling_bar
from pilotage.version import __version__

IMAGES_PER_LABEL = 8


def sample_images(settings: SampleSettings) -> None:
    """Sample the images of the command; the main process writes them.

    Raises:
        PilotageError: for bad input, before anything is sampled or written.
    """
    check_out(settings.out, resumable=True)
    state = process_state()
    models = load_models(settings, state, captions=bool(settings.cascade))
    if models[0].conditioner.noun != "captions":
        _sample_labels(settings, models[0], state)
        return
    if settings.labels != ("all",):
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


def _sample_labels(settings: SampleSettings, model: Model, state: PartialState) -> None:
    if settings.for_captions or settings.low_res:
        raise PilotageError(
            f"run is {settings.run_folder}: it must be a run on captions for prompt, prompts, "
            "negative, compose, image_w and low_res, and was trained on labels."
        )
    check_out(settings.out)
    points = model.card.data.points
    if points and settings.out.suffix.lower() not in (".png", ".npz"):
        raise PilotageError(
            f"out is {settings.out}: it must be a .png (a plot) or an .npz, for points."
        )
    guide = None
    if settings.classifier is not None:
        guide = load_classifier(settings.classifier, device=state.device)
    labels = model.conditioner_with(guide).values(settings.labels)
    seeds = settings.seed_numbers or list(range(IMAGES_PER_LABEL * len(labels)))
    dealt = [labels[k % len(labels)] for k in range(max(len(seeds), len(labels)))]
    cascade = Cascade((model,), tuple(dealt), tuple(seeds), settings.spec, classifier=guide)
    resolved = cascade.check()
    images = _make(cascade, range(len(seeds)), state)
    if state.is_main_process:
        columns = min(len(images), _columns(len(images), len(labels)))
        names = (
            [resolved.classes[k] for k in resolved.conditions[:columns]] if resolved.classes else ()
        )
        title = f"{resolved.guidance.label()}, {resolved.steps} {resolved.sampler.name} steps"
        arrays = {"labels": np.array(resolved.conditions), "seeds": np.array(resolved.seeds)}
        record = _record(resolved, model, settings)
        what = f"{len(images)} {'points' if points else 'images'}"
        stems = [
            f"{k:06d}-seed{seed}-label{label}"
            for k, (seed, label) in enumerate(zip(resolved.seeds, resolved.conditions, strict=True))
        ]
        grid = Grid(columns, names, f"{len(images)} points" if points else title)
        path = write_all(images, settings.out, arrays, grid, stems)
        write_record(path, record)
        print(f"{what} in {settings.out}, their settings in {path}")
    state.wait_for_everyone()


def sample_prompts(
    settings: PromptSettings, models: list[Model], images: ConditionImages, state: PartialState
) -> None:
    """Sample the images of prompts.

    In a folder, every image is written as soon as it is sampled: rerun to resume.

    Raises:
        PilotageError: for bad input, before anything is sampled or written.
    """
    if settings.classifier is not None:
        raise PilotageError("classifier is given: it must be left out, for a run on captions.")
    cascade = prompted(settings, models, settings.seed_numbers, images)
    cascade.check()
    record, out = prompt_record(cascade, settings), settings.out
    if out.suffix.lower() in (".png", ".npz"):
        made = _make(cascade, range(len(cascade.seeds)), state)
        missing = len(made)
        if state.is_main_process:
            arrays = {"captions": np.array(cascade.conditions), "seeds": np.array(cascade.seeds)}
            path = write_all(made, out, arrays, prompt_grid(cascade.conditions), ())
            write_record(path, record)
    else:
        missing = _into_folder(cascade, settings, record, state)
    state.wait_for_everyone()
    if state.is_main_process:
        print(f"{len(cascade.seeds)} images in {out} ({missing} sampled now)")


def _into_folder(
    cascade: Cascade, settings: PromptSettings, record: dict[str, Any], state: PartialState
) -> int:
    """Sample and write the missing images one by one; return their number."""
    names = [f"{k:06d}-seed{seed}.png" for k, seed in enumerate(cascade.seeds)]
    missing = open_folder(settings.out, names, record, state)
    batches = own_batches(missing, settings.batch_size, state)
    with sampling_bar(len(batches) * cascade.steps, state.is_main_process) as on_step:
        for rows in batches:
            images = as_arrays(cascade.make(rows, on_step))
            for row, image in zip(rows, images, strict=True):
                save_png(image, settings.out / names[row])
    return len(missing)


def _make(cascade: Cascade, rows: range, state: PartialState) -> np.ndarray:
    """Sample all images, in batches over all processes."""
    batches = own_batches(rows, cascade.spec.batch_size, state)
    with sampling_bar(len(batches) * cascade.steps, state.is_main_process) as on_step:
        own = [(part[0], as_arrays(cascade.make(part, on_step))) for part in batches]
    return gathered(own, state)


def _columns(count: int, labels: int) -> int:
    """Return the columns of a nearly square grid: a multiple of the labels."""
    return labels * max(1, round(math.sqrt(count) / labels))


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
