"""What metrics compare: features of images, and what only the images themselves tell."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pilotage.errors import PilotageError

Array = NDArray[Any]

# numbers of N images (N,), by the metric that their mean is; NaN where an image has none
PerSample = dict[str, Array]


class Features(NamedTuple):
    """What an extractor sees in N images; all float32, finite, on the CPU.

    Attributes:
        pooled: (N, D), for Fréchet and kernel distances, precision and recall.
        spatial: (N, Ds), where the image's layout still shows, for sFID; None if there are none.
        logits: (N, K), unnormalised log-probabilities of the classes; None without any.
    """

    pooled: Array
    spatial: Array | None
    logits: Array | None


class Sample(NamedTuple):
    """Features of some images, and what only the images tell.

    Attributes:
        features: of all images; without logits where there are modes.
        clipped: share of pixels that are exactly black or white (0 or 255), per image (N,).
        labels: the class that each should show, (N,), or None.
        modes: of stacked images, the mode that each is counted to, (N,); else None.
        mode_shares: of real stacked images, the probability of each mode, (M,); else None.
        per_sample: see `PerSample`; None where there are but labels.
    """

    features: Features
    clipped: Array
    labels: Array | None = None
    modes: Array | None = None
    mode_shares: Array | None = None
    per_sample: PerSample | None = None


def join(parts: Iterable[Sample]) -> Sample:
    """Batches in a row as one."""
    parts = list(parts)
    features = [part.features for part in parts]
    scores = [part.per_sample or {} for part in parts]
    names = dict.fromkeys(name for part in scores for name in part)
    return Sample(
        Features(
            np.concatenate([part.pooled for part in features]),
            _joined([part.spatial for part in features]),
            _joined([part.logits for part in features]),
        ),
        np.concatenate([part.clipped for part in parts]),
        modes=_joined([part.modes for part in parts]),
        per_sample={name: np.concatenate([part[name] for part in scores]) for name in names}
        or None,
    )


def _joined(parts: Sequence[Array | None]) -> Array | None:
    found = [part for part in parts if part is not None]
    return np.concatenate(found) if len(found) == len(parts) else None


def present(array: Array | None, name: str) -> Array:
    """An optional part of a sample that a metric cannot do without.

    Raises:
        PilotageError: if it is not there.
    """
    if array is None:
        raise PilotageError(f"the sample has no {name}, which this metric needs.")
    return array
