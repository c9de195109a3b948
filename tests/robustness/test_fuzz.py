"""Hundreds of damaged files for every reader: a sentence each, no traceback and no hang.

The small form is part of every test run; `make torture` does many times more.
"""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image, features

from pilotage.data import load_data, read_prompts
from pilotage.interop.foreign_weights import read_weights
from pilotage.models.run_folder import read_card
from pilotage.sweep.table import read_rows
from pilotage.tasks.inputs import read_image, read_mask
from pilotage.utils.files import read_tensors, write_tensors
from pilotage.utils.npz import read_npz
from pilotage.utils.parsing import parse_json, parse_yaml

from .mutation import mutated

FULL = 40  # times the cases, in `make torture`
EXTENT = [1, pytest.param(FULL, marks=pytest.mark.torture)]
extent = pytest.mark.parametrize("times", EXTENT, ids=["small", "full"])
silent = {"say": lambda _: None}


def picture(mode="RGB", kind="PNG", side=12, **options):
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8)).convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def images():
    """An image of every format that is read."""
    exif = Image.Exif()
    exif[0x0112] = 6
    found = {
        "a.png": picture(),
        "b.png": picture("P", transparency=0),
        "c.png": picture("I;16") if "I;16" in Image.MODES else picture("I"),
        "d.jpg": picture(kind="JPEG", exif=exif),
        "e.jpg": picture(kind="JPEG", progressive=True),
        "f.gif": picture("P", "GIF"),
        "g.bmp": picture(kind="BMP"),
        "h.tif": picture(kind="TIFF", exif=exif),
        "i.tif": picture("F", "TIFF", compression="tiff_deflate"),
        "j.ppm": picture(kind="PPM"),
        "k.tga": picture(kind="TGA", compression="tga_rle"),
        "l.pcx": picture(kind="PCX"),
        "m.ico": picture("RGBA", "ICO", side=16),
        "n.png": picture("LA"),
    }
    for kind, name in (("webp", "WEBP"), ("jpg_2000", "JPEG2000"), ("avif", "AVIF")):
        if features.check(kind):
            found[f"o{name}.{name.lower()[:4].replace('jpeg', 'jp2')}"] = picture(kind=name)
    return found


@extent
def test_images(tmp_path, survives, times):
    for name, content in images().items():
        for k in range(20 * times):
            (tmp_path / f"{k}{Path(name).stem}{Path(name).suffix}").write_bytes(mutated(content, k))
    (tmp_path / "whole.png").write_bytes(picture())
    assert survives(load_data, tmp_path, size=8, skip_bad=True, **silent) is not None
    survives(load_data, tmp_path, size=8, **silent)
    for path in sorted(tmp_path.iterdir())[:: 4 if times == 1 else 1]:
        survives(read_image, path, "image")
        survives(read_mask, path)


CSV = '\ufefffile_name,label,text\n0.png,cat,"a, b"\n1.png,dog,été\n2.png,3,\n'.encode()
ROWS = [
    {"file_name": f"{i}.png", "label": i, "text": ["a", "é"], "x": {"y": None}} for i in range(3)
]
JSONL = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


@pytest.mark.parametrize(
    ("name", "content"), [("metadata.csv", CSV), ("labels.jsonl", JSONL)], ids=["csv", "jsonl"]
)
@extent
def test_tables(tmp_path, survives, name, content, times):
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(picture(side=4))
    assert load_data(tmp_path, **silent) is not None
    for k in range(60 * times):
        (tmp_path / name).write_bytes(mutated(content, k))
        survives(load_data, (tmp_path, tmp_path / name)[k % 2], captions=k % 3 == 0, **silent)


@extent
def test_arrays(tmp_path, survives, times):
    path = tmp_path / "a.npz"
    arrays = {"images": np.zeros((4, 5, 6, 3), np.uint8), "labels": np.arange(4)}
    for save in (np.savez, np.savez_compressed):
        save(path, **arrays, captions=np.array(["a", "b", "c", "d"]))
        whole = path.read_bytes()
        assert survives(load_data, path, **silent) is not None
        for k in range(80 * times):
            path.write_bytes(mutated(whole, k))
            survives(read_npz, path, "images")
            survives(load_data, path, captions=k % 2 == 0, **silent)


def packed_zip():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("cat/a.png", "cat/b.png", "dog/c.png"):
            archive.writestr(name, picture(side=4))
        archive.writestr("labels.csv", "file_name,label\ncat/a.png,x\ndog/c.png,y\n")
    return file.getvalue()


def packed_tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for k in range(3):
            for suffix, content in (("png", picture(side=4)), ("cls", b"3"), ("txt", b"a cat")):
                info = tarfile.TarInfo(f"{k}.{suffix}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "pack"), [("a.zip", packed_zip), ("a.tar", packed_tar)], ids=["zip", "tar"]
)
@extent
def test_archives(tmp_path, survives, name, pack, times):
    (tmp_path / name).write_bytes(pack())
    assert survives(load_data, tmp_path / name, **silent) is not None
    for k in range(60 * times):
        (tmp_path / name).write_bytes(mutated(pack(), k))
        survives(load_data, tmp_path / name, skip_bad=k % 2 == 0, **silent)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@extent
def test_parquet(tmp_path, survives, times):
    from datasets import Dataset, Features, Value

    path = tmp_path / "a.parquet"
    struct = {"bytes": Value("binary"), "path": Value("string")}
    rows = [{"bytes": picture(side=4), "path": "a.png"}, {"bytes": None, "path": "../b.png"}]
    columns = {"image": rows, "label": ["a", "b"]}
    Dataset.from_dict(columns, features=Features(image=struct, label=Value("string"))).to_parquet(
        path
    )
    whole = path.read_bytes()
    for k in range(8 * times):
        path.write_bytes(mutated(whole, k))
        survives(load_data, path, skip_bad=True, **silent)


@extent
def test_weights(tmp_path, survives, times):
    tensors = {"model.a": torch.randn(3, 4), "model.b": torch.zeros(2, dtype=torch.bfloat16)}
    write_tensors(tmp_path / "a.safetensors", tensors, step="3")
    for name, new in (("a.pt", True), ("b.pt", False)):
        given = {"state_dict": tensors, "epoch": 3}
        torch.save(given, tmp_path / name, _use_new_zipfile_serialization=new)
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        assert survives(read_weights, path) is not None
        for k in range(40 * times):
            path.write_bytes(mutated(whole, k))
            survives(read_weights, path)
            if path.suffix == ".safetensors":
                survives(read_tensors, path)


def only_value_errors(reader):
    """A reader of texts, of which a ValueError is the one sentence."""

    def read(content):
        try:
            return reader(content)
        except ValueError:
            return None

    return read


@extent
def test_texts(tmp_path, survives, times):
    card = {
        "version": 2,
        "recipe": {"data": "digits", "steps": 3, "betas": [0.9, 0.99], "network": {"channels": 8}},
        "data": {
            "shape": [1, 8, 8],
            "classes": ["a"],
            "train": 9,
            "held_out": 1,
            "fingerprint": "x",
        },
    }
    whole = yaml.safe_dump(card).encode()
    (tmp_path / "recipe.yaml").write_bytes(whole)
    assert survives(read_card, tmp_path) is not None
    rows = b"".join(json.dumps({"id": str(k), "w": 0.5}).encode() + b"\n" for k in range(3))
    for k in range(50 * times):
        content = mutated(whole, k)
        (tmp_path / "recipe.yaml").write_bytes(content)
        survives(read_card, tmp_path)
        survives(only_value_errors(parse_yaml), content.decode("utf-8", "replace"))
        (tmp_path / "rows.jsonl").write_bytes(mutated(rows, k))
        survives(read_rows, tmp_path / "rows.jsonl")
        survives(only_value_errors(parse_json), mutated(rows.split(b"\n")[0], k))
        survives(read_prompts, tmp_path / "rows.jsonl")
