"""The registry of metrics: what each is called, which way is better, what it needs, its function.

Sweeps and ``evaluate`` compute every metric whose needs are met (`compare`), reports read labels,
directions and columns. So a new metric is one entry and one function:

    def median_clipped(real: Sample, fake: Sample, options: Options) -> Measured:
        value, halves = np.median(fake.clipped), halves_of(len(fake.clipped), fake.labels)
        return from_halves(value, [np.median(fake.clipped[half]) for half in halves])


    register(Metric("median_clipped", -1, median_clipped))

Errors are those of other samples against the same real images (`standard_errors` says how). A
metric without one returns ``Measured(value)``, as the count of modes does: how many of them a part
of the samples hits does not tell how much the whole varies.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pilotage.errors import PilotageError
from pilotage.metrics.features import Array, Sample, present
from pilotage.metrics.frechet import frechet_distance, frechet_influence
from pilotage.metrics.inception_score import inception_score, score_influence
from pilotage.metrics.kernel import random_subsets, subset_distances
from pilotage.metrics.manifold import neighbours
from pilotage.metrics.modes import mode_coverage, mode_kl_influence
from pilotage.metrics.moments import Moments
from pilotage.metrics.standard_errors import (
    Measured,
    from_groups,
    from_halves,
    from_influence,
    groups_of,
    halves_of,
)

# precision, recall, density and coverage compare every real image with every generated one
MANIFOLD_REAL = 10_000
KERNEL_SUBSET = 1000
IMAGES_PER_SPLIT = 100


@dataclass(frozen=True)
class Options:
    """How two samples are compared, and what metrics share while they are; made for one comparison.

    Attributes:
        force: accept fewer samples than feature dimensions.
        seed: of random subsets and splits.
        shared: what functions of several numbers gave, see `part_of`.
    """

    force: bool = False
    seed: int = 0
    shared: dict["Several", dict[str, Measured]] = field(default_factory=dict, repr=False)


Measure = Callable[[Sample, Sample, Options], Measured]
Several = Callable[[Sample, Sample, Options], dict[str, Measured]]
Need = Callable[[Sample, Sample, Options], bool]
Table = Literal["main", "captions", "further"]


@dataclass(frozen=True)
class Metric:
    """An entry of the registry.

    Attributes:
        name: its key in rows.
        direction: 1 where higher is better, −1 where lower is, 0 where neither.
        measure: from real and fake samples to the number and its standard error; called only if
            all needs are met.
        needs: what both samples have to be like for the metric to be computed.
        label: what it is called in reports; its name in words if not given.
        inception_label: what it is called in the features of the standard Inception network, where
            published numbers are. In all others the label is followed by the features' name.
        table: of the papers' main numbers, of how far captions are met, or of further numbers.
        column: its place in that table; metrics without one follow in the order of the registry.
    """

    name: str
    direction: Literal[-1, 0, 1]
    measure: Measure
    needs: tuple[Need, ...] = ()
    label: str = ""
    inception_label: str = ""
    table: Table = "further"
    column: float = float("inf")

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.name.replace("_", " "))


def part_of(compute: Several, name: str) -> Measure:
    """One of several numbers, by its name, of a function that is called once for all of them."""

    def measure(real: Sample, fake: Sample, options: Options) -> Measured:
        if compute not in options.shared:
            options.shared[compute] = compute(real, fake, options)
        return options.shared[compute][name]

    return measure


def per_sample_metric(name: str, label: str, table: Table) -> Metric:
    """The entry of a number that each image has, of which more is better.

    It is the mean over the images that have it.
    """

    def measure(real: Sample, fake: Sample, options: Options) -> Measured:
        values = (fake.per_sample or {})[name]
        return from_influence(values, fake.labels)

    def is_there(real: Sample, fake: Sample, options: Options) -> bool:
        values = (fake.per_sample or {}).get(name)
        return values is not None and not np.isnan(values).all()

    return Metric(name, 1, measure, (is_there,), label, table=table)


METRICS: dict[str, Metric] = {}  # by name, in the order of the numbers in a row


def register(metric: Metric) -> None:
    """Add a metric, after all others.

    Raises:
        PilotageError: if another one has its name.
    """
    if metric.name in METRICS:
        raise PilotageError(f"metric {metric.name!r} is registered already: give it another name.")
    METRICS[metric.name] = metric


def columns_of(table: Table) -> list[str]:
    """The names of a table's metrics, in the order of its columns."""
    found = [metric for metric in METRICS.values() if metric.table == table]
    return [metric.name for metric in sorted(found, key=lambda metric: metric.column)]


def compare(
    real: Sample, fake: Sample, *, force: bool = False, seed: int = 0
) -> dict[str, Measured]:
    """Every metric of the registry whose needs are met, each with its standard error.

    Args:
        real: of the reference images, which are held fixed: they add nothing to the errors.
        fake: of the images that are measured.
        force: accept fewer samples than feature dimensions.
        seed: of random subsets and splits.

    Raises:
        PilotageError: if there are fewer samples than feature dimensions, unless forced, if images
            have numbers of no registered metric, or a metric is not finite.
    """
    unknown = sorted(set(fake.per_sample or ()) - METRICS.keys())
    if unknown:
        raise PilotageError(
            f"images have numbers of {unknown[0]!r}: no metric of that name is registered."
        )
    options = Options(force, seed)
    labels, count = fake.labels, len(fake.features.pooled)
    if labels is not None and len(labels) != count:
        raise PilotageError(f"labels has {len(labels)} for {count} samples: it must have as many.")
    try:
        found = {
            metric.name: metric.measure(real, fake, options)
            for metric in METRICS.values()
            if all(need(real, fake, options) for need in metric.needs)
        }
    except np.linalg.LinAlgError as error:
        raise PilotageError(f"features have no usable covariance: {error}.") from None
    for name, measured in found.items():
        if not np.isfinite(measured.value):
            raise PilotageError(f"{name} is {measured.value}: it must be finite to be stored.")
    return found


def row_parts(metrics: Mapping[str, Measured]) -> dict[str, dict[str, list[float | None]]]:
    """What a row holds of metrics: ``[value, error]`` of each, and replicates where there are."""
    return {
        "metrics": {name: [found.value, found.error] for name, found in metrics.items()},
        "replicates": {
            n: list(found.replicates) for n, found in metrics.items() if found.error is not None
        },
    }


def _frechet(real: Sample, fake: Sample, options: Options) -> Measured:
    return _distance(real.features.pooled, fake.features.pooled, fake, options)


def _spatial_frechet(real: Sample, fake: Sample, options: Options) -> Measured:
    a, b = (present(side.features.spatial, "spatial features") for side in (real, fake))
    return _distance(a, b, fake, options)


def _distance(real: Array, fake: Array, sample: Sample, options: Options) -> Measured:
    fixed = Moments.of(real)  # the same in every row, so it adds no error between rows
    value = frechet_distance(fixed, fake, force=options.force)
    return from_influence(frechet_influence(fixed, fake), sample.labels, value)


def _has_spatial(real: Sample, fake: Sample, options: Options) -> bool:
    """Both sides, and more samples than dimensions: this distance is left out, never refused."""
    a, b = real.features.spatial, fake.features.spatial
    if a is None or b is None:
        return False
    return options.force or min(len(a), len(b)) > b.shape[1]


def _kernel(real: Sample, fake: Sample, options: Options) -> Measured:
    a, b = real.features.pooled, fake.features.pooled
    size = min(KERNEL_SUBSET, len(a), len(b))
    values, influence = subset_distances(
        a, b, random_subsets(len(a), len(b), 100, size, options.seed)
    )
    return from_influence(influence, fake.labels, values.mean())


def _neighbours(real: Sample, fake: Sample, options: Options) -> dict[str, Measured]:
    """Shares of nearest-neighbour balls, against at most 10,000 of the real images."""
    a, b = real.features.pooled, fake.features.pooled
    if len(a) > MANIFOLD_REAL:
        rows = np.random.default_rng(options.seed).choice(len(a), MANIFOLD_REAL, replace=False)
        a = a[np.sort(rows)]
    how = len(b), fake.labels
    found = neighbours(a, b, groups_of(*how), halves_of(*how))
    return {
        "precision": from_influence(found.in_real, fake.labels),
        "recall": from_halves(found.recall, found.recall_of_halves),
        "density": from_influence(found.memberships, fake.labels),
        "coverage": from_groups(found.coverage, found.coverage_without),
    }


def _inception_score(real: Sample, fake: Sample, options: Options) -> Measured:
    logits = present(fake.features.logits, "logits")
    splits = min(10, max(2, len(logits) // IMAGES_PER_SPLIT))
    # shuffled: a data set may come class by class, and a split of one class scores 1
    score = inception_score(logits, splits=splits, shuffle_seed=options.seed)
    return from_influence(score_influence(logits), fake.labels, score.mean)


def _has_logits(real: Sample, fake: Sample, options: Options) -> bool:
    """There are none of modes: a split has not enough samples for so many."""
    return fake.features.logits is not None


def _mode_coverage(real: Sample, fake: Sample, options: Options) -> dict[str, Measured]:
    modes = present(fake.modes, "modes")
    shares = present(real.mode_shares, "shares of modes")
    found = mode_coverage(modes, len(shares), shares)
    influence = mode_kl_influence(modes, shares)
    return {
        "modes": Measured(found.hit),
        "modes_kl": from_influence(influence, fake.labels, found.kl),
    }


def _has_modes(real: Sample, fake: Sample, options: Options) -> bool:
    return fake.modes is not None and real.mode_shares is not None


def _accuracy(real: Sample, fake: Sample, options: Options) -> Measured:
    found = fake.modes
    if found is None:
        found = present(fake.features.logits, "logits").argmax(axis=1)
    labels = present(fake.labels, "labels")
    return from_influence(found == labels, labels)


def _has_own_classes(real: Sample, fake: Sample, options: Options) -> bool:
    """Labels, and modes or logits of the data's own classes, not, say, of ImageNet's."""
    if fake.labels is None or fake.modes is not None:
        return fake.labels is not None
    logits, labels = real.features.logits, real.labels
    if fake.features.logits is None or logits is None or labels is None:
        return False
    return bool(logits.shape[1] == labels.max() + 1)


def _clipped_fraction(real: Sample, fake: Sample, options: Options) -> Measured:
    return from_influence(fake.clipped, fake.labels)


# the registry is in the order of a row's numbers
for entry in (
    Metric("frechet", -1, _frechet, label="FD", inception_label="FID", table="main", column=1),
    Metric(
        "spatial_frechet",
        -1,
        _spatial_frechet,
        needs=(_has_spatial,),
        label="sFD",
        inception_label="sFID",
        table="main",
        column=2,
    ),
    Metric("kernel", -1, _kernel, label="KD", inception_label="KID", column=3),
    Metric("precision", 1, part_of(_neighbours, "precision"), table="main", column=4),
    Metric("recall", 1, part_of(_neighbours, "recall"), table="main", column=5),
    Metric("density", 1, part_of(_neighbours, "density"), column=1),
    Metric("coverage", 1, part_of(_neighbours, "coverage"), column=2),
    Metric(
        "inception_score",
        1,
        _inception_score,
        needs=(_has_logits,),
        label="IS",
        inception_label="IS",
        table="main",
        column=3,
    ),
    Metric("modes", 1, part_of(_mode_coverage, "modes"), needs=(_has_modes,), label="modes hit"),
    Metric(
        "modes_kl",
        -1,
        part_of(_mode_coverage, "modes_kl"),
        needs=(_has_modes,),
        label="KL over modes",
    ),
    Metric("accuracy", 1, _accuracy, needs=(_has_own_classes,), column=4),
    Metric("clipped_fraction", 0, _clipped_fraction, column=5),
    per_sample_metric("attribute_all", "caption accuracy", "captions"),
    per_sample_metric("attribute_size", "size accuracy", "captions"),
    per_sample_metric("attribute_colour", "colour accuracy", "captions"),
    per_sample_metric("attribute_shape", "shape accuracy", "captions"),
    per_sample_metric("attribute_count", "count accuracy", "captions"),
    per_sample_metric("attribute_relation", "relation accuracy", "captions"),
    per_sample_metric("condition_psnr", "PSNR of the condition (dB)", "main"),
    per_sample_metric("known_psnr", "PSNR of the known part (dB)", "main"),
    per_sample_metric("caption_diversity", "diversity of a caption", "further"),
):
    register(entry)
