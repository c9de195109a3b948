"""``pilotage sample`` with prompts: images that captions ask for, from one run or a cascade."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import Tensor

from pilotage.data import read_prompts
from pilotage.errors import PilotageError
from pilotage.models.load import load_run
from pilotage.models.sampling_spec import CONVENTION
from pilotage.models.text_run import TextRun
from pilotage.models.weights import weights_hash
from pilotage.settings import PromptSettings, SamplerSettings
from pilotage.tasks.prompted_files import open_folder, write_images
from pilotage.utils.files import file_hash
from pilotage.utils.images import save_png, shape_text, to_arrays
from pilotage.utils.progress import sampling_bar
from pilotage.utils.seeding import derived_seed
from pilotage.version import __version__

PER_PROMPT = 8
OF_CLASSIFIERS = {"classifier", "classifier_free_w", "classifier_shift"}


@dataclass(frozen=True)
class Prompted:
    """Images to be made: image i has captions[i] and seeds[i].

    Attributes:
        runs: the run, or those of a cascade, each enlarging what the one before it made.
        captions: one per image.
        seeds: one per image.
        how: sampler settings of the first run.
        up: what is other for the runs that enlarge: their w, and steps and sampler if given.
        negative: the caption to lead away from, or None.
        compose: captions with weights for the first run, in place of a caption and w.
        image_w: the first run's strength for the image beside x, or None.
        beside: images that the first run sees beside x, by their names; one for all.
    """

    runs: tuple[TextRun, ...]
    captions: tuple[str, ...]
    seeds: tuple[int, ...]
    how: dict[str, Any]
    up: dict[str, Any] = field(default_factory=dict)
    negative: str | None = None
    compose: tuple[tuple[str, float], ...] = ()
    image_w: float | None = None
    beside: dict[str, Tensor] | None = None

    def check(self) -> None:
        """Refuse what no image could be made of.

        Raises:
            PilotageError: naming the setting that is wrong.
        """
        for lower, upper in zip(self.runs, self.runs[1:], strict=False):
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
            upper.levels(self._of(upper)["steps"] or upper.default_steps)
        first = self.runs[0]
        first.request(self.captions, self.seeds, **self._of(first), **(self.beside or {}))

    def images(self, rows: Sequence[int]) -> Tensor:
        """Some of the images in [−1, 1], at the size of the last run."""
        captions, beside = [self.captions[k] for k in rows], self.beside or {}
        for place, run in enumerate(self.runs):
            seeds = [_seed_of(self.seeds[k], place) for k in rows]
            made = run.sample(captions, seeds=seeds, **self._of(run), **beside)
            beside = {"low_res": made}
        return made

    def _of(self, run: TextRun) -> dict[str, Any]:
        """The settings of a run: those asked for, or of one that enlarges."""
        shared = {**self.how, "negative": self.negative}
        if run is self.runs[0]:
            return {**shared, "compose": self.compose, "image_w": self.image_w}
        negative = self.negative if self.up.get("w") else None  # without a strength it says nothing
        return {**shared, "negative": negative, "guidance_scale": None, **self.up}

    def record(self, wish: PromptSettings) -> dict[str, Any]:
        """How the images are made, for a file beside them."""
        return {
            "runs": [str(folder) for folder in wish.folders],
            "run_hashes": [weights_hash(folder, wish.weights) for folder in wish.folders],
            "weights": wish.weights,
            "training_steps": [run.step for run in self.runs],
            **{name: value for name, value in self.how.items() if name != "batch_size"},
            "convention": CONVENTION,
            **{f"up_{name}": value for name, value in self.up.items()},
            "negative": self.negative,
            "compose": [list(part) for part in self.compose],
            "image_w": self.image_w,
            **_images_of(wish),
            "prompts": list(self.captions),
            "seeds": list(self.seeds),
            "pilotage": __version__,
        }


def _seed_of(seed: int, place: int) -> int:
    """The seed of an image in one of a cascade's runs.

    One seed would give a run that enlarges the very numbers that made what it enlarges.
    """
    return derived_seed(seed, "cascade", place) % 2**32 if place else seed


def _images_of(wish: PromptSettings) -> dict[str, Any]:
    """The files of images that are asked with, and their contents."""
    paths = {name: getattr(wish, name, None) for name in ("low_res", "image", "mask")}
    given = {name: path for name, path in paths.items() if path is not None}
    hashes = {f"{name}_sha256": file_hash(path) for name, path in given.items()}
    return {name: str(path) for name, path in given.items()} | hashes


def generate_prompted(
    wish: PromptSettings,
    runs: Sequence[TextRun],
    seeds: list[int],
    beside: dict[str, Tensor],
    state: PartialState,
) -> None:
    """Make what the command asks for; whole batches are dealt to the processes.

    Into a folder, every image is written as soon as it is made, and the same command goes on.

    Raises:
        PilotageError: for bad input, before anything is sampled or written.
    """
    if wish.classifier is not None:
        raise PilotageError("classifier is given: a run on captions is guided by captions only.")
    wanted = _prompted(wish, runs, seeds, beside)
    wanted.check()
    record = wanted.record(wish)
    folder = wish.out if wish.out.suffix.lower() not in (".png", ".npz") else None
    names = [f"{k:06d}-seed{seed}.png" for k, seed in enumerate(wanted.seeds)]
    missing = list(range(len(names)))
    if folder is not None:
        missing = open_folder(folder, names, record, state)
    size = wish.batch_size
    batches = [missing[k : k + size] for k in range(0, len(missing), size)]
    own = []
    mine = batches[state.process_index :: state.num_processes]
    with sampling_bar(len(mine), state.is_main_process) as on_batch:
        for rows, images in _made(wanted, mine, on_batch):
            if folder is None:
                own.append((rows[0], images))
            for row, image in zip(rows, images, strict=True):
                if folder is not None:
                    save_png(image, folder / names[row])
    state.wait_for_everyone()
    parts = gather_object(own) if state.num_processes > 1 else own
    if state.is_main_process:
        if folder is None:
            images = np.concatenate([part for _, part in sorted(parts, key=lambda p: p[0])])
            write_images(images, wanted.captions, wanted.seeds, wish.out, record)
        print(f"{len(names)} images in {wish.out} ({len(missing)} made now)")


def _prompted(
    wish: PromptSettings, runs: Sequence[TextRun], seeds: list[int], beside: dict[str, Tensor]
) -> Prompted:
    """The captions and seeds, one each per image."""
    if wish.prompts is not None:
        captions = read_prompts(wish.prompts)
        seeds = seeds or list(range(len(captions)))
        if len(seeds) != len(captions):
            raise PilotageError(
                f"seeds has {len(seeds)} for {len(captions)} prompts of {wish.prompts}: each "
                "prompt gives one image, so as many are needed."
            )
    else:
        asked = list(wish.prompt or ("",))
        seeds = seeds or list(range(PER_PROMPT * len(asked)))
        if len(seeds) < len(asked):
            raise PilotageError(
                f"seeds has {len(seeds)} for {len(asked)} prompts: each image has its own seed, so "
                "at least as many are needed."
            )
        captions = [asked[k % len(asked)] for k in range(len(seeds))]
    how = wish.model_dump(include=set(SamplerSettings.model_fields) - OF_CLASSIFIERS)
    return Prompted(
        tuple(runs),
        tuple(captions),
        tuple(seeds),
        how,
        up=_up(wish),
        negative=wish.negative,
        compose=wish.compose,
        image_w=wish.image_w,
        beside=beside,
    )


def _up(wish: PromptSettings) -> dict[str, Any]:
    """What is other for the runs that enlarge."""
    sampler = wish.up_sampler or wish.sampler
    up = {"w": wish.up_w, "steps": wish.up_steps or wish.steps, "sampler": sampler}
    return up if sampler == wish.sampler else {**up, "v": None, "eta": 0.0}


def _made(
    wanted: Prompted, batches: Sequence[list[int]], on_batch: Callable[[], None]
) -> Iterator[tuple[list[int], np.ndarray]]:
    for rows in batches:
        yield rows, to_arrays(wanted.images(rows))
        on_batch()


def load_runs(folders: Sequence[Path], weights: Any, state: PartialState) -> list[TextRun]:
    """Runs that must all read captions.

    Raises:
        PilotageError: naming the one that does not.
    """
    runs = [load_run(folder, weights=weights, device=str(state.device)) for folder in folders]
    for folder, run in zip(folders, runs, strict=True):
        if not isinstance(run, TextRun):
            raise PilotageError(f"run is {folder}: it was trained on labels, not on captions.")
    return runs
