"""`ImageData`: in memory or decoded when asked for."""

import numpy as np
import pytest
import torch

from pilotage.data import ImageData, image_data, load_data
from pilotage.errors import PilotageError

from .making import all_images, class_folders, noise, save


def test_batch_takes_any_indices_in_their_order(tmp_path):
    expected = np.stack(class_folders(tmp_path))
    train, _ = load_data(str(tmp_path), held_out=0)
    for indices in ([7, 3, 7], np.array([7, 3, 7]), torch.tensor([7, 3, 7])):
        batch = train.batch(indices)
        assert batch.dtype == torch.uint8
        assert np.array_equal(batch[:, 0], expected[[7, 3, 7]])
    train.batch([0]).fill_(0)
    assert np.array_equal(train.batch([0])[0, 0], expected[0])
    with pytest.raises(IndexError):
        train.batch([30])


def test_lazy_is_as_in_memory(tmp_path, monkeypatch):
    class_folders(tmp_path, count=5)
    save(tmp_path / "cat" / "wide.png", noise(9, 20, 50))
    ready = load_data(tmp_path, held_out=0.2)
    monkeypatch.setattr(image_data, "MAX_BYTES_IN_MEMORY", 100)
    monkeypatch.setattr(image_data, "ROWS_PER_TASK", 3)
    lazy = load_data(tmp_path, held_out=0.2)
    for memory, later in zip(ready, lazy, strict=True):
        assert memory.in_memory
        assert not later.in_memory
        assert memory.shape == later.shape
        assert np.array_equal(memory.labels, later.labels)
        assert np.array_equal(all_images(memory), all_images(later))
        order = [len(memory) - 1, 0, 0, -1]
        assert torch.equal(memory.batch(order), later.batch(order))
        assert later.batch([]).shape == (0, *memory.shape)
        with pytest.raises(IndexError):
            later.batch([len(later)])


def test_lazy_fingerprint_sees_the_pixels(tmp_path, monkeypatch):
    class_folders(tmp_path, count=2)
    monkeypatch.setattr(image_data, "MAX_BYTES_IN_MEMORY", 0)
    first, again = (load_data(tmp_path, held_out=0)[0].fingerprint for _ in range(2))
    save(tmp_path / "cat" / "00.png", noise(55, 20, 28))
    assert first == again != load_data(tmp_path, held_out=0)[0].fingerprint


def test_lazy_failure_is_named(tmp_path, monkeypatch):
    class_folders(tmp_path, count=2)
    monkeypatch.setattr(image_data, "MAX_BYTES_IN_MEMORY", 0)
    train, _ = load_data(tmp_path, held_out=0)
    (tmp_path / "dog" / "01.png").unlink()
    with pytest.raises(PilotageError, match=r"dog/01\.png"):
        train.batch([3])


def test_fingerprint_sees_everything():
    pixels = noise(0, 4, 1, 2, 3)
    other = pixels.copy()
    other[3, 0, 1, 2] ^= 1
    prints = [
        ImageData.from_arrays(pixels, [0, 1, 0, 1], ("a", "b")).fingerprint,
        ImageData.from_arrays(other, [0, 1, 0, 1], ("a", "b")).fingerprint,
        ImageData.from_arrays(pixels, [0, 1, 1, 1], ("a", "b")).fingerprint,
        ImageData.from_arrays(pixels, [0, 1, 0, 1], ("a", "c")).fingerprint,
        ImageData.from_arrays(pixels.reshape(4, 1, 3, 2), [0, 1, 0, 1], ("a", "b")).fingerprint,
    ]
    assert len(set(prints)) == 5
    assert len(prints[0]) == 64
    assert ImageData.from_arrays(pixels, [0, 1, 0, 1], ("a", "b")).fingerprint == prints[0]


def test_arrays_must_fit():
    pixels = noise(0, 4, 1, 2, 3)
    for bad, labels in ((pixels, [0, 1]), (pixels[0], [0]), (pixels / 255.0, [0] * 4)):
        with pytest.raises(PilotageError, match="give uint8"):
            ImageData.from_arrays(bad, labels, ("a", "b"))
    with pytest.raises(PilotageError, match="labels from 0 to 2"):
        ImageData.from_arrays(pixels, [0, 1, 2, 0], ("a", "b"))


def test_data_cannot_be_changed():
    data = ImageData.from_arrays(noise(0, 2, 1, 2, 3), [0, 1], ("a", "b"))
    with pytest.raises(AttributeError):
        data.shape = (1, 1, 1)
    with pytest.raises(ValueError, match="read-only"):
        data.labels[0] = 1
