"""Files of features and moments that are damaged."""

import numpy as np
import pytest
import torch

from pilotage.data import ImageData
from pilotage.metrics.extractors import Extractor
from pilotage.metrics.features import Features


class Means(Extractor):
    """The mean of each channel, and how often it was asked for."""

    name, hash, dimensions, accuracy = "means", "0" * 64, 3, None
    calls = 0

    def __call__(self, images):
        self.calls += 1
        return Features(images.float().mean(dim=(2, 3)).numpy(), None, None)


def cut(path):
    path.write_bytes(path.read_bytes()[:-50])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def other(path):
    np.savez(path, pooled=np.zeros((3, 3)), clipped=np.zeros(3))


def lacking(path):
    np.savez(path, clipped=np.zeros(20))


def bare(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


@pytest.mark.parametrize("damage", [cut, flip, other, lacking, bare])
@pytest.mark.filterwarnings("ignore:.*It is made anew")
def test_a_damaged_cache_of_features_heals(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    images = torch.randint(256, (20, 3, 4, 4), dtype=torch.uint8).numpy()
    data = ImageData.from_arrays(images, [0] * 20, ("all",))
    extractor = Means()
    before = extractor.real_sample(data)
    (path,) = (tmp_path / "pilotage" / "features").glob("*.npz")
    assert np.array_equal(extractor.real_sample(data).features.pooled, before.features.pooled)
    assert extractor.calls == 1
    damage(path)
    assert np.array_equal(extractor.real_sample(data).features.pooled, before.features.pooled)
    assert extractor.calls == 2
    extractor.real_sample(data)
    assert extractor.calls == 2
