"""Images with classes and captions: digits, folders, archives, tables, arrays and hub ids.

`load_data` turns any of them, and whatever else is put among `SOURCES`, into a training and a
held-out `ImageData` of uint8 images with any number of rows and columns. Two kinds of data have
known modes: `StackedData`, triples of grey images, and `PointData`, from a mixture of Gaussians.
Heavy libraries (`datasets`, scikit-learn) are imported when used.
"""

from pilotage.data.caption_files import read_prompts
from pilotage.data.image_data import ImageData, LabelledData
from pilotage.data.points import GaussianModes, PointData
from pilotage.data.request import Request, options_of
from pilotage.data.sources import SOURCES, Source, absolute, load_data
from pilotage.data.splits import load_splits
from pilotage.data.stacked import StackedData

__all__ = [
    "SOURCES",
    "GaussianModes",
    "ImageData",
    "LabelledData",
    "PointData",
    "Request",
    "Source",
    "StackedData",
    "absolute",
    "load_data",
    "load_splits",
    "options_of",
    "read_prompts",
]
