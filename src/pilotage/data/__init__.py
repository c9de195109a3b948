"""Images with classes and captions: digits, image folders, Parquet files and hub ids.

`load_data` turns any of them into a training and a held-out `ImageData` of uint8 images with any
number of rows and columns. Two kinds of data have known modes: `StackedData`, triples of grey
images, and `PointData`, from a mixture of Gaussians. Heavy libraries (`datasets`, scikit-learn) are
imported when used.
"""

from pilotage.data.datasets import load_data
from pilotage.data.image_data import ImageData
from pilotage.data.points import GaussianModes, PointData
from pilotage.data.prompts import read_prompts
from pilotage.data.stacked import StackedData

__all__ = ["GaussianModes", "ImageData", "PointData", "StackedData", "load_data", "read_prompts"]
