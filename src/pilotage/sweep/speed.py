"""How long images take: several ways of sampling, timed in turns in one process."""

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pilotage.models.model import Model
from pilotage.models.sampling_spec import ResolvedSpec
from pilotage.settings import SpeedSettings
from pilotage.sweep.rows import Timing, checked, read_records
from pilotage.sweep.table import Row, row_id
from pilotage.utils.files import write_text
from pilotage.version import __version__


class Way(NamedTuple):
    """A run, and the images that are asked of it."""

    run: Model
    resolved: ResolvedSpec


class Speed(NamedTuple):
    """How long a way of sampling takes.

    Attributes:
        calls: of the network, per image, as counted.
        seconds: for 100 images, in every round.
    """

    calls: float
    seconds: tuple[float, ...]


def measure_speed(
    ways: Sequence[Way], rounds: int, on_step: Callable[[], None] = lambda: None
) -> list[Speed]:
    """Time the images of every way, in turns.

    A round samples every way once, so that a machine which becomes slower does so for all. Before
    the first, each run samples once untimed, the way of its fewest steps.

    Args:
        ways: what is timed; all runs on one device.
        rounds: how often each way is timed.
        on_step: called after every timed sampling step.

    Returns:
        A speed for each way.
    """
    for way in _shortest(ways):
        _timed(way)
    found = [[_timed(way, on_step) for way in ways] for _ in range(rounds)]
    turns = zip(*found, strict=True)  # of each way
    return [Speed(turn[0].calls, tuple(s for t in turn for s in t.seconds)) for turn in turns]


class Timed(NamedTuple):
    """The rows of sweeps, timed.

    Attributes:
        speeds: one per row.
        how: they were timed, as a sentence.
    """

    speeds: list[Speed]
    how: str


def time_rows(
    rows: Sequence[Row],
    runs: Mapping[str, Model],
    how: SpeedSettings,
    path: Path,
    on_start: Callable[[int], None] = lambda _: None,
    on_step: Callable[[], None] = lambda: None,
) -> Timed:
    """Time how the images of rows are made, or read it where all of them were timed alike before.

    Args:
        rows: of sweeps without a classifier.
        runs: by their folders, as the rows have them.
        how: images and rounds.
        path: the times, one JSON line per row, written once all are there: those of two runs of
            this function do not compare.
        on_start: is told how many sampling steps will be timed, if any.
        on_step: called after each.
    """
    ways = [_way(row, runs[row["run"]], how.images) for row in rows]
    device = device_text(ways[0].run.device)
    sentence = (
        f"Timed in one run on {device}: {how.images} images in a batch, the median of {how.rounds} "
        "rounds (fastest to slowest)."
    )
    asked = [
        {name: row[name] for name in ("run_hash", "step", "steps", "sampler", "w")}
        | {"images": how.images, "rounds": how.rounds, "device": device, "code": __version__}
        for row in rows
    ]
    ids, there = (
        [row_id(settings) for settings in asked],
        {r.id: r for r in read_records(path, Timing)},
    )
    if set(ids) == set(there):
        return Timed([Speed(there[i].calls, there[i].seconds) for i in ids], sentence)
    on_start(how.rounds * sum(way.resolved.steps for way in ways))
    found = measure_speed(ways, how.rounds, on_step)
    told = [
        checked({"id": i, "run": row["run"], **settings, **speed._asdict()}, Timing)
        for i, row, settings, speed in zip(ids, rows, asked, found, strict=True)
    ]
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in told))
    return Timed(found, sentence)


def _way(row: Row, run: Model, images: int) -> Way:
    how = {"w": row["w"], "steps": row["steps"], "sampler": row["sampler"]}
    labels = range(min(images, len(run.classes))) if run.classes else "all"
    return Way(run, run.resolve(labels, seeds=range(images), batch_size=images, **how))


def device_text(device: torch.device) -> str:
    """What the images are made on: a GPU's name, or the kind of CPU and the threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} thread(s)"


def _shortest(ways: Sequence[Way]) -> list[Way]:
    """The way of fewest steps of every run."""
    ordered = sorted(ways, key=lambda way: way.resolved.steps)
    return list({id(way.run): way for way in reversed(ordered)}.values())


def _timed(way: Way, on_step: Callable[[], None] = lambda: None) -> Speed:
    """One round of a way; copying the images from the device waits for all that it does."""
    asked = 0

    def count(_: Any, given: tuple[Any, ...]) -> None:
        nonlocal asked
        asked += len(given[0])

    images = len(way.resolved.seeds)
    counting = way.run.network.register_forward_pre_hook(count)
    try:
        begin = time.perf_counter()
        for batch in way.run.stream(way.resolved, on_step=on_step):
            batch.images.cpu()
        seconds = time.perf_counter() - begin
    finally:
        counting.remove()
    return Speed(asked / images, (100 * seconds / images,))
