"""``pilotage likelihood``: bits per dimension of held-out images under a run's model."""

import csv
import io
import json
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor

from pilotage.data import LabelledData
from pilotage.data.codecs import codec_bits
from pilotage.diffusion import Denoiser, SeededNoise, Timesteps, TruncatedCosine
from pilotage.diffusion.learned import LinearLam
from pilotage.errors import PilotageError
from pilotage.models.data import load_recipe_data
from pilotage.models.model import Model, load_run
from pilotage.objectives.variational import bound
from pilotage.objectives.vdm_terms import likelihood_terms
from pilotage.settings import LikelihoodSettings
from pilotage.sweep.eval_prompts import eval_prompts
from pilotage.sweep.rows import Bound, checked
from pilotage.sweep.table import Row
from pilotage.utils.distributed import process_state
from pilotage.utils.files import write_text
from pilotage.utils.images import from_uint8, shape_text
from pilotage.utils.memory import bounded_memory
from pilotage.version import __version__

PARTS = ("bits_per_dimension", "prior", "reconstruction", "diffusion")


class Likelihood(NamedTuple):
    """Measured likelihoods.

    Attributes:
        values: bits per dimension of every image, in total and by part (the names of ``PARTS``).
        row: mean and standard error of each, and all that determines them.
    """

    values: dict[str, np.ndarray]
    row: dict[str, Any]


def likelihood(
    settings: LikelihoodSettings, on_batch: Callable[[int], None] = lambda _: None
) -> Likelihood:
    """Compute an upper bound of −log₂ p(x | c) per dimension of held-out images.

    See 2107.00630, equation 11. c is the run's conditioning: a label, or a caption with its
    conditioning images. For a run with continuous noise levels it is the variational bound in T
    steps or continuous time, whatever its objective was; for a beta schedule that of its chain
    (2102.09672) with the learned variance. Processes get whole batches, and every image has its own
    noise: neither the number of processes nor the batch size matters.

    Args:
        settings: of the command.
        on_batch: called with the number of images after every batch of this process.

    Raises:
        PilotageError: for bad input, before anything is computed.
    """
    state = process_state()
    run = load_run(settings.run_folder, weights=settings.weights, device=str(state.device))
    if run.builder.stochastic:
        raise PilotageError(
            f"run is {settings.run_folder}: it must have a likelihood, which a GAN's generator "
            "has not."
        )
    with state.main_process_first():
        name, images = _held_out(settings, run)
    count = min(settings.images or len(images), len(images))
    measure = _measure(run, settings)
    conditions, decides = _conditions(run, settings, name, images, count)
    starts = range(0, count, settings.batch_size)[state.process_index :: state.num_processes]
    own = []
    for start in starts:
        rows = np.arange(start, min(start + settings.batch_size, count))
        own.append((start, _batch(run, measure, images, rows, conditions(rows), settings)))
        on_batch(len(rows))
    parts = sorted(gather_object(own) if state.num_processes > 1 else own, key=lambda p: p[0])
    values = {part: np.concatenate([found[part] for _, found in parts]) for part in PARTS}
    row = _row(values, run, settings, name, images, count) | decides
    if settings.codecs:
        row["codecs"] = codec_bits(images.batch(np.arange(count)).numpy())
    if state.is_main_process:
        _write(settings, values, row)
    return Likelihood(values, row)


def _held_out(settings: LikelihoodSettings, run: Model) -> tuple[str, LabelledData]:
    recipe = run.card.recipe
    if settings.data is not None:
        recipe = recipe.model_copy(update={"data": settings.data})
    own = run.card.data if settings.data is None else None
    _, held_out = load_recipe_data(recipe, trained_on=own)
    if not len(held_out):
        raise PilotageError(
            f"data is {recipe.data}: it must have held-out images, for which a likelihood is "
            "meaningful."
        )
    if held_out.shape != run.shape:
        raise PilotageError(
            f"data is {recipe.data}: its images are {shape_text(held_out.shape)}, and must be "
            f"{shape_text(run.shape)} as the run's."
        )
    if run.classes and held_out.classes != run.classes and not settings.unconditional:
        raise PilotageError(
            f"data is {recipe.data}: its classes must be the run's, unless --unconditional is "
            "given."
        )
    return recipe.data, held_out


Measure = Callable[[Tensor, SeededNoise, Any], dict[str, Tensor]]
Conditions = Callable[[np.ndarray], Any]


def _conditions(
    run: Model, settings: LikelihoodSettings, name: str, images: LabelledData, count: int
) -> tuple[Conditions, Row]:
    """Return the conditions of images by index, and what else determines the row."""
    free = settings.unconditional or run.card.recipe.p_uncond == 1
    if run.conditioner.noun == "captions":
        prompts = eval_prompts(run, range(count), name, images, images, print)
        resolved = prompts.resolve(run, range(count), steps=1)
        both = run.conditioner.encode(resolved.conditions, resolved.guidance)
        return lambda rows: both(slice(rows[0], rows[-1] + 1))[int(free)], prompts.decides
    labels = torch.from_numpy(images.labels[:count]).to(run.device)
    if free or not run.classes:
        labels = torch.full_like(labels, run.space.null)
    return lambda rows: labels[rows], {}


def _measure(run: Model, settings: LikelihoodSettings) -> Measure:
    """Return the bound for a run's noise levels, in bits per dimension."""
    schedule, denoise = run.schedule, run.denoiser
    if isinstance(schedule, Timesteps):
        if settings.steps == "inf":
            raise PilotageError(
                f"steps is inf: it must be at most {schedule.count}, the run's timesteps."
            )
        lams = run.levels(settings.steps)
        v = settings.v if settings.v is not None else _own_variance(run)
        return lambda x, noise, cond: _chain(denoise, x, noise, cond, lams, v)
    if settings.v is not None:
        raise PilotageError(
            f"v is {settings.v}: it must be left out, unless the run has a beta schedule."
        )
    steps = math.inf if settings.steps == "inf" else settings.steps
    uneven = isinstance(schedule, TruncatedCosine)
    if uneven and steps == math.inf:
        # the bound is the same for any interior; this one spaces the evaluations evenly in λ
        schedule = LinearLam(schedule.lam_min, schedule.lam_max)
    # a chain of uneven levels may have nearly all of its bound in one step: evaluate all
    whole = steps <= settings.evaluations or (uneven and steps < math.inf)
    evaluations: int | Literal["all"] = "all" if whole else settings.evaluations
    levels = getattr(run.card.recipe, "data_levels", 256)  # of a byte

    def continuous(x: Tensor, noise: SeededNoise, cond: Any) -> dict[str, Tensor]:
        found = likelihood_terms(
            _means(denoise), x, schedule, noise, steps, evaluations, levels, cond=cond
        )
        scale = 1 / (x[0].numel() * math.log(2))
        return {
            "bits_per_dimension": found["loss"],
            **{part: found[part] * scale for part in PARTS[1:]},
        }

    return continuous


def _own_variance(run: Model) -> Any:
    return "learned" if run.card.recipe.learned_variance else 0.0


def _means(denoise: Denoiser) -> Denoiser:
    """Remove the learned variance of a denoiser, which the continuous bound does not use."""
    return lambda z, lam, cond=None: denoise(z, lam, cond)._replace(v=None)


def _chain(
    denoise: Denoiser, x: Tensor, noise: SeededNoise, cond: Any, lams: Tensor, v: Any
) -> dict[str, Tensor]:
    found = bound(denoise, x, lams, noise, v=v, cond=cond)
    return {
        "bits_per_dimension": found.total,
        "prior": found.prior,
        "reconstruction": found.terms[:, -1],
        "diffusion": found.terms[:, :-1].sum(dim=1),
    }


def _batch(
    run: Model,
    measure: Measure,
    images: LabelledData,
    rows: np.ndarray,
    cond: Any,
    settings: LikelihoodSettings,
) -> dict[str, np.ndarray]:
    x = from_uint8(images.batch(rows).to(run.device))
    noise = SeededNoise([settings.seed * 2**20 + int(k) for k in rows], run.shape, run.device)
    with torch.no_grad(), bounded_memory("likelihood", "a smaller --batch-size needs less"):
        found = measure(x, noise, cond)
    for part, values in found.items():
        if not bool(torch.isfinite(values).all()):
            raise PilotageError(f"{part} of images {rows[0]} to {rows[-1]} is not finite.")
    return {part: values.double().cpu().numpy() for part, values in found.items()}


def _row(
    values: dict[str, np.ndarray],
    run: Model,
    settings: LikelihoodSettings,
    name: str,
    images: LabelledData,
    count: int,
) -> dict[str, Any]:
    numbers = {
        part: [float(v.mean()), float(v.std(ddof=1) / math.sqrt(count)) if count > 1 else None]
        for part, v in values.items()
    }
    return {
        **numbers,
        "n": count,
        "steps": settings.steps,
        "evaluations": settings.evaluations,
        "unconditional": settings.unconditional,
        "v": settings.v,
        "seed": settings.seed,
        "run": str(settings.run_folder),
        "weights": settings.weights,
        "training_step": run.step,
        **run.noise_levels,
        "data": {"data": name, "split": "held out", "hash": images.fingerprint},
        "code": __version__,
    }


def _write(
    settings: LikelihoodSettings, values: dict[str, np.ndarray], row: dict[str, Any]
) -> None:
    """Append to the run's ``likelihood.jsonl``, and write ``per_image`` if given."""
    with (settings.run_folder / "likelihood.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(checked(row, Bound)) + "\n")
    if settings.per_image is not None:
        settings.per_image.parent.mkdir(parents=True, exist_ok=True)
        write_text(settings.per_image, _table(values))


def _table(values: dict[str, np.ndarray]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *PARTS])
    for k, numbers in enumerate(zip(*(values[part] for part in PARTS), strict=True)):
        writer.writerow([k, *(f"{number:.6g}" for number in numbers)])
    return text.getvalue()


def format_row(row: dict[str, Any]) -> str:
    """Format a row in a few lines."""
    total, error = row["bits_per_dimension"]
    width = f"± {error:.2g} " if error is not None else ""
    parts = ", ".join(f"{part} {row[part][0]:.4g}" for part in PARTS[1:])
    lines = [
        f"{total:.4f} {width}bits per dimension ({parts}), T = {row['steps']}, "
        f"n = {row['n']} held-out images"
    ]
    lines += [
        f"{bits:.4f} bits per dimension: {name}" for name, bits in row.get("codecs", {}).items()
    ]
    return "\n".join(lines)
