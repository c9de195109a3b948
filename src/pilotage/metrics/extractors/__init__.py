"""Images to features: extractors, each with a name and a content hash.

`in_domain` trains a small classifier on the dataset, of its classes or else of its rotations, and
needs nothing else, and `stacked_in_domain` applies it to each channel of stacked images;
`inception` is the standard network of FID and the Inception score; `dinov2` needs the extra of that
name. Numbers in features of different hashes do not compare.
"""

from pilotage.metrics.extractors.by_name import load_extractor
from pilotage.metrics.extractors.dinov2 import dinov2
from pilotage.metrics.extractors.extractor import Extractor
from pilotage.metrics.extractors.in_domain import in_domain
from pilotage.metrics.extractors.inception import inception, resize_tf1_bilinear
from pilotage.metrics.extractors.stacked_in_domain import stacked_in_domain

__all__ = [
    "Extractor",
    "dinov2",
    "in_domain",
    "inception",
    "load_extractor",
    "resize_tf1_bilinear",
    "stacked_in_domain",
]
