"""Image folders, Parquet files and captions, as the tests of data make them."""

import csv
import io
import json

import numpy as np
from PIL import Image

from pilotage.data import load_data

HELD_OUT = "data: split 'test' is the held-out set; held_out=0.1 is not used"


# --- images -----------------------------------------------------------------------------------


def noise(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def picture(shade, height=6, width=8):
    """An image all of one shade, by which it is recognised."""
    return np.full((height, width), shade, np.uint8)


def draw(path, shade, height=6, width=8):
    """A picture as an image file."""
    save(path, picture(shade, height, width))


def encoded(values, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


def save(path, values, mode=None, **options):
    """Write an array as an image file and return the array."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.asarray(values)
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path, **options)
    return values


def class_folders(root, classes=("cat", "dog", "owl"), count=10, shape=(20, 28)):
    """Class folders of grey noise; returns the images in order of class and file."""
    return [
        save(root / name / f"{i:02}.png", noise(100 * c + i, *shape))
        for c, name in enumerate(classes)
        for i in range(count)
    ]


def all_images(data):
    return data.batch(range(len(data))).numpy()


# --- tables -----------------------------------------------------------------------------------


def write_parquet(path, columns, **features):
    from datasets import Dataset, Features

    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_dict(columns, features=Features(features) if features else None).to_parquet(path)
    return path


def captioned_parquet(path, shades, **columns):
    """Pictures of these shades, and columns; one of nothing but None is of strings."""
    from datasets import Dataset

    features = dict(Dataset.from_dict(columns).features)
    empty = {name: string() for name, values in columns.items() if not any(values)}
    rows = [{"bytes": encoded(picture(shade)), "path": None} for shade in shades]
    features = {"image": image_feature(), **features, **empty}
    return write_parquet(path, {"image": rows, **columns}, **features)


def png_rows(count, start=0):
    return [{"bytes": encoded(image), "path": None} for image in pixel_rows(count, start)]


def pixel_rows(count, start=0):
    return [noise(start + i, 4, 6) for i in range(count)]


def image_feature():
    from datasets import Image as ImageFeature

    return ImageFeature()


def value(dtype):
    from datasets import Value

    return Value(dtype)


def string():
    return value("string")


# --- captions ---------------------------------------------------------------------------------


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


def captioned(root, captions, start=0):
    """Images with a text file each, but for None; image i has shade start + i."""
    for i, caption in enumerate(captions):
        draw(root / f"{i:02}.png", start + i)
        if caption is not None:
            write(root / f"{i:02}.txt", caption)


def write_csv(path, *rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def write_jsonl(path, *rows):
    write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def by_shade(data):
    """The caption of every image, by its shade."""
    shades = data.batch(range(len(data)))[:, 0, 0, 0].tolist()
    assert len(data.captions) == len(data)
    return dict(zip(shades, data.captions, strict=True))


def load_captioned(source, notes=None, held_out=0.0, **settings):
    say = (lambda line: None) if notes is None else notes.append
    return load_data(source, held_out=held_out, captions=True, say=say, **settings)
