"""Pilotage's side of the comparisons: the loops that its commands run."""

from collections.abc import Callable

from accelerate import Accelerator
from subject import Subject, W

from pilotage.diffusion import classifier_free, clip_x, ddim, sample
from pilotage.models.build import build_labels, build_schedule, builder_of
from pilotage.training.batches import Batches
from pilotage.training.state import start
from pilotage.training.tasks import task_of
from pilotage.training.trainer import train


def guided_ddim(subject: Subject, steps: int) -> Callable[[], None]:
    """Guide, clip, step, repeat: what ``Run.sample`` does."""
    network = subject.network.eval()
    lams = build_schedule(subject.recipe).grid(steps)
    denoise = builder_of(subject.card).around(subject.card, network)
    denoise = clip_x(classifier_free(denoise, W, subject.null))

    def run() -> None:
        for _ in sample(denoise, subject.z, lams, ddim(), subject.labels):
            pass

    return run


def training_step(subject: Subject) -> Callable[[], None]:
    """One step of the training loop: data, noise, dropping, clipping, AdamW, average, record."""
    training = start(subject.card, Accelerator())
    recipe = subject.recipe
    batches = Batches(subject.data, recipe.batch_size, recipe.seed, device=subject.device)
    space = build_labels(subject.card)
    records = train(training, task_of(subject.card).turns(subject.card, training, space), batches)

    def run() -> None:
        next(records)

    return run
