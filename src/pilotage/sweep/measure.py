"""From images to numbers: features of real and of generated images, compared."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from pilotage.data import ImageData, StackedData
from pilotage.metrics import (
    Moments,
    density_coverage,
    frechet_distance,
    frechet_standard_error,
    inception_score,
    kernel_distance,
    mode_coverage,
    precision_recall,
)
from pilotage.metrics.extractors import Extractor, Features, StackedInDomain
from pilotage.metrics.extractors.stacked_in_domain import stacked_modes, stacked_pooled
from pilotage.utils.files import usual_folder, whole_file

# precision, recall, density and coverage compare every real image with every generated one
MANIFOLD_REAL = 10_000
KERNEL_SUBSET = 1000
IMAGES_PER_SPLIT = 100
BATCH = 256

Number = tuple[float, float | None]


class Sample(NamedTuple):
    """Features of some images, and what only the images tell.

    Attributes:
        features: of all images; without logits where there are modes.
        clipped: share of pixels that are exactly black or white (0 or 255), per image (N,).
        labels: the class that was asked for, (N,), or None.
        modes: of stacked images, the mode that each is counted to, (N,); else None.
        mode_shares: of real stacked images, the probability of each mode, (M,); else None.
        marks: numbers of each image (N,) by the metric that their mean is, NaN where an image has
            none; None where nothing but labels was asked for.
    """

    features: Features
    clipped: np.ndarray
    labels: np.ndarray | None = None
    modes: np.ndarray | None = None
    mode_shares: np.ndarray | None = None
    marks: dict[str, np.ndarray] | None = None


def extract(images: Tensor, extractor: Extractor) -> Sample:
    """One batch of uint8 images (B, C, H, W) to features; the images can be forgotten."""
    clipped = ((images == 0) | (images == 255)).float().mean(dim=(1, 2, 3)).cpu().numpy()
    features = extractor(images)
    if isinstance(extractor, StackedInDomain):
        # thousands of logits an image are too many to keep, and to score within a split
        modes = features.logits.argmax(axis=1)
        return Sample(features._replace(logits=None), clipped, modes=modes)
    return Sample(features, clipped)


def join(parts: Iterable[Sample]) -> Sample:
    """Batches in a row as one."""
    parts = list(parts)
    features = Features(*map(_rows, zip(*(part.features for part in parts), strict=True)))
    clipped = np.concatenate([part.clipped for part in parts])
    modes, marks = _rows([part.modes for part in parts]), [part.marks or {} for part in parts]
    names = dict.fromkeys(name for part in marks for name in part)
    joined = {name: np.concatenate([part[name] for part in marks]) for name in names}
    return Sample(features, clipped, modes=modes, marks=joined or None)


def _rows(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    return None if any(part is None for part in parts) else np.concatenate(parts)


def real_sample(data: ImageData, extractor: Extractor) -> Sample:
    """Features of a whole data set, kept on disk for the next time."""
    if isinstance(extractor, StackedInDomain):
        return _stacked_sample(data, extractor)
    path = usual_folder("features") / f"{extractor.hash[:32]}-{data.fingerprint[:32]}.npz"
    if not path.exists():
        rows = [np.arange(i, min(i + BATCH, len(data))) for i in range(0, len(data), BATCH)]
        _save(path, join(extract(data.batch(part), extractor) for part in rows))
    with np.load(path, allow_pickle=False) as file:
        features = Features(*(file.get(name) for name in Features._fields))
        return Sample(features, file["clipped"], data.labels)


def _stacked_sample(data: StackedData, extractor: StackedInDomain) -> Sample:
    """Triples, from the features of their planes, each of which is in many."""
    planes = real_sample(data.planes, extractor.planes)
    pooled = stacked_pooled(planes.features.pooled, data.triples)
    return Sample(
        Features(pooled, None, None),
        planes.clipped[data.triples].mean(axis=1),
        data.labels,
        stacked_modes(planes.features.logits, data.triples),
        data.mode_shares,
    )


def _save(path: Path, sample: Sample) -> None:
    arrays = {k: v for k, v in sample.features._asdict().items() if v is not None}
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, clipped=sample.clipped, **arrays)


def compare(real: Sample, fake: Sample, *, force: bool = False, seed: int = 0) -> dict[str, Number]:
    """Every metric that the features allow, each with its standard error.

    Precision, recall, density and coverage use at most 10,000 of the real images. The error of a
    share is that of a mean over images; of a distance, that of the samples with the real images
    held fixed; of an Inception score and a kernel distance, the spread over splits and subsets.
    Density has none. A spatial distance is left out where there are too few samples for it.

    Of stacked images there are the modes hit, without an error, and KL(samples ‖ data) over the
    modes in nats, where the data's share of a mode is the product of its classes' shares of the
    training images. There is no Inception score: a split has not enough samples for so many modes.

    Raises:
        PilotageError: if there are fewer samples than feature dimensions, unless forced.
    """
    numbers = _distances(real.features, fake.features, force, seed)
    numbers |= _manifold(real.features.pooled, fake.features.pooled, seed)
    logits = fake.features.logits
    if logits is not None:
        splits = min(10, max(2, len(logits) // IMAGES_PER_SPLIT))
        # shuffled: a data set may come class by class, and a split of one class scores 1
        score = inception_score(logits, splits=splits, shuffle_seed=seed)
        numbers["inception_score"] = (score.mean, score.std / splits**0.5)
        if fake.labels is not None and _own_classes(real):
            numbers["accuracy"] = _share(logits.argmax(axis=1) == fake.labels)
    if fake.modes is not None:
        numbers |= count_modes(fake.modes, real.mode_shares)
        if fake.labels is not None:
            numbers["accuracy"] = _share(fake.modes == fake.labels)
    numbers["clipped_fraction"] = _share(fake.clipped)
    return numbers | _marked(fake.marks or {})


def _own_classes(real: Sample) -> bool:
    """Whether the logits are of the data's classes, and not, say, of ImageNet's."""
    logits = real.features.logits
    return logits is not None and logits.shape[1] == real.labels.max() + 1


def _marked(marks: dict[str, np.ndarray]) -> dict[str, Number]:
    """The mean of each mark over the images that have it; for shares the error is binomial."""
    found = {name: values[~np.isnan(values)] for name, values in marks.items()}
    return {name: _share(values) for name, values in found.items() if len(values)}


def _distances(real: Features, fake: Features, force: bool, seed: int) -> dict[str, Number]:
    numbers = {}
    for name, a, b in (
        ("frechet", real.pooled, fake.pooled),
        ("spatial_frechet", real.spatial, fake.spatial),
    ):
        enough = force or name == "frechet" or (b is not None and len(b) > b.shape[1])
        if a is not None and b is not None and enough:
            fixed = Moments.of(a)  # the same in every row, so it adds no error between rows
            value = frechet_distance(fixed, b, force=force)
            numbers[name] = (value, frechet_standard_error(fixed, b))
    size = min(KERNEL_SUBSET, len(real.pooled), len(fake.pooled))
    kernel = kernel_distance(real.pooled, fake.pooled, subset_size=size, seed=seed)
    numbers["kernel"] = (kernel.mean, kernel.std)
    return numbers


def _manifold(real: np.ndarray, fake: np.ndarray, seed: int) -> dict[str, Number]:
    if len(real) > MANIFOLD_REAL:
        rows = np.random.default_rng(seed).choice(len(real), MANIFOLD_REAL, replace=False)
        real = real[np.sort(rows)]
    shares = precision_recall(real, fake)
    spread = density_coverage(real, fake)
    return {
        "precision": _binomial(shares.precision, len(fake)),
        "recall": _binomial(shares.recall, len(real)),
        "density": (spread.density, None),
        "coverage": _binomial(spread.coverage, len(real)),
    }


def count_modes(modes: np.ndarray, shares: np.ndarray) -> dict[str, Number]:
    """Modes hit, and KL(samples ‖ data) over them in nats.

    The error of KL is that of the mean of log(p / q) over samples (the delta method).

    Args:
        modes: of the samples (N,).
        shares: the probability of each mode in the data (M,).
    """
    found = mode_coverage(modes, len(shares), shares)
    p = np.bincount(modes, minlength=len(shares)) / len(modes)
    gains = np.log(p[modes] / shares[modes])
    return {
        "modes": (found.hit, None),
        "modes_kl": (found.kl, float(gains.std() / len(gains) ** 0.5)),
    }


def _binomial(share: float, count: int) -> Number:
    return float(share), float((share * (1 - share) / count) ** 0.5)


def _share(values: np.ndarray) -> Number:
    return float(values.mean()), float(values.std() / len(values) ** 0.5)
