"""Images with classes: digits, image folders, Parquet files and Hugging Face hub ids.

`load_data` turns any of them into a training and a held-out `ImageData` of uint8 images with any
number of rows and columns. Heavy libraries (`datasets`, scikit-learn) are imported when used.
"""

from pilotage.data.images import ImageData
from pilotage.data.load import load_data

__all__ = ["ImageData", "load_data"]
