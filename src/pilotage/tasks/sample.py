"""``pilotage sample``: images from a run into files, on any number of processes."""

import json
import math
from pathlib import Path

import numpy as np
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import Tensor

from pilotage.errors import PilotageError
from pilotage.models.classifier import load_classifier
from pilotage.models.load import load_run
from pilotage.models.model import Run
from pilotage.models.sampling_spec import Request
from pilotage.models.text_run import TextRun
from pilotage.settings import SamplerSettings, SampleSettings
from pilotage.tasks.cascade import generate_prompted, load_runs
from pilotage.tasks.inpaint import read_image
from pilotage.tasks.outputs import check_out, parse_seeds
from pilotage.utils.distributed import process_state
from pilotage.utils.files import write_text
from pilotage.utils.images import save_grid, save_npz, save_png, save_scatter, to_arrays
from pilotage.utils.progress import sampling_bar
from pilotage.version import __version__

IMAGES_PER_LABEL = 8


def generate(wish: SampleSettings) -> None:
    """Sample what the command asks for; the main process writes it.

    Whole batches are dealt to the processes, so that the images are those of one process.

    Raises:
        PilotageError: for bad input, before anything is sampled or written.
    """
    asks = wish.for_captions or wish.low_res
    check_out(wish.out, goes_on=True)
    state = process_state()
    if wish.cascade:
        _generate_prompted(wish, load_runs(wish.folders, wish.weights, state), state)
        return
    run = load_run(wish.run_folder, weights=wish.weights, device=str(state.device))
    if isinstance(run, TextRun):
        _generate_prompted(wish, [run], state)
        return
    if asks:
        raise PilotageError(
            f"run is {wish.run_folder}: it has labels, so prompt, prompts, negative and low_res "
            "mean nothing to it; give labels."
        )
    check_out(wish.out)
    if len(run.shape) == 1 and wish.out.suffix.lower() not in (".png", ".npz"):
        raise PilotageError(f"out is {wish.out}: points go to a .png (a plot) or an .npz.")
    guide = wish.classifier and load_classifier(wish.classifier, device=str(state.device))
    labels = run.labels_with(guide).indices(wish.labels)
    seeds = parse_seeds(wish.seeds) or range(IMAGES_PER_LABEL * len(labels))
    how = wish.model_dump(include=set(SamplerSettings.model_fields) - {"classifier"})
    request = run.request(labels, seeds, guide, **how)
    images = _sample_own_share(run, request, state)
    if state.is_main_process:
        write(images, request, run, wish, columns=_columns(len(images), len(labels)))
    state.wait_for_everyone()


def _generate_prompted(wish: SampleSettings, runs: list[TextRun], state: PartialState) -> None:
    if wish.labels != ("all",):
        raise PilotageError(f"labels is {wish.labels}: the run reads captions; give a prompt.")
    beside = {}
    if wish.low_res is not None:
        beside["low_res"] = read_image(wish.low_res, "low_res", runs[0].shape[0])
    generate_prompted(wish, runs, parse_seeds(wish.seeds), beside, state)


def _columns(count: int, labels: int) -> int:
    """Columns of a grid: a multiple of the labels that makes it about square, one row at least."""
    return min(count, labels * max(1, round(math.sqrt(count) / labels)))


def _sample_own_share(run: Run, request: Request, state: PartialState) -> np.ndarray:
    """All images (N, H, W, C) on the main process, of which each process made some batches."""
    rows = request.batches()[state.process_index :: state.num_processes]
    with sampling_bar(len(rows) * request.steps, state.is_main_process) as on_step:
        own = [(b.rows.start, _arrays(b.images)) for b in run.stream(request, rows, on_step)]
    parts = gather_object(own) if state.num_processes > 1 else own
    return np.concatenate([part for _, part in sorted(parts, key=lambda part: part[0])])


def _arrays(batch: Tensor) -> np.ndarray:
    """Images as uint8 (N, H, W, C), points (N, D) as they are."""
    return batch.cpu().numpy() if batch.ndim == 2 else to_arrays(batch)


def write(
    images: np.ndarray, request: Request, run: Run, wish: SampleSettings, columns: int
) -> None:
    """The images by the name given, and beside them a JSON file that says how they were made."""
    out = wish.out
    labels, seeds = np.array(request.labels), np.array(request.seeds)
    record = _record(request, run, wish)
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f"{out.name}.json")
    if len(run.shape) == 1:
        _write_points(images, labels, seeds, out)
    elif out.suffix.lower() == ".png":
        names = [request.classes[k] for k in request.labels[:columns]] if request.classes else ()
        title = f"w = {request.w:g}, {request.steps} {request.sampler} steps"
        save_grid(images, out, columns, column_names=names, title=title)
    elif out.suffix.lower() == ".npz":
        save_npz(out, images=images, labels=labels, seeds=seeds)
    else:
        out.mkdir(exist_ok=True)
        for k, (image, label, seed) in enumerate(zip(images, labels, seeds, strict=True)):
            save_png(image, out / f"{k:06d}-seed{seed}-label{label}.png")
        beside = out / "samples.json"
    write_text(beside, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    what = "points" if len(run.shape) == 1 else "images"
    print(f"{len(images)} {what} in {out}, their settings in {beside}")


def _write_points(points: np.ndarray, labels: np.ndarray, seeds: np.ndarray, out: Path) -> None:
    if out.suffix.lower() == ".npz":
        save_npz(out, points=points, labels=labels, seeds=seeds)
    else:
        save_scatter(points, out, f"{len(points)} points")


def _record(request: Request, run: Run, wish: SampleSettings) -> dict:
    """How the images were made, with the strength in both conventions."""
    sampler = {"v": request.v} if request.sampler == "ancestral" else {"eta": request.eta}
    return {
        "run": str(wish.run_folder),
        "weights": wish.weights,
        "training_step": run.step,
        **request.guidance.record(),
        "steps": request.steps,
        "sampler": request.sampler,
        **sampler,
        **run.noise_levels,
        "clip_x": 1.0,
        "labels": list(request.labels),
        "classes": list(request.classes),
        "seeds": list(request.seeds),
        "batch_size": request.batch_size,
        "pilotage": __version__,
    }
