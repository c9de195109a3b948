"""What is held out."""

import numpy as np
import pytest

from pilotage.data import load_data
from pilotage.data.splits import hold_out
from pilotage.errors import PilotageError

from .making import class_folders


def test_split_is_stratified_and_repeatable():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 3], [100, 40, 3, 1]))
    np.random.seed(1)
    state = np.random.get_state()[1].copy()
    train, held = hold_out(labels, 0.1, seed=5)
    assert np.array_equal(np.random.get_state()[1], state)
    assert np.array_equal(np.sort(np.concatenate([train, held])), np.arange(144))
    assert np.bincount(labels[held], minlength=4).tolist() == [10, 4, 0, 0]
    again = hold_out(labels, 0.1, seed=5)
    assert np.array_equal(train, again[0])
    assert np.array_equal(held, again[1])
    assert not np.array_equal(held, hold_out(labels, 0.1, seed=6)[1])


def test_a_training_image_stays_in_every_class():
    labels = np.repeat([0, 1, 2], [10, 2, 1])
    train, held = hold_out(labels, 0.99, seed=0)
    assert np.bincount(labels[train]).tolist() == [1, 1, 1]
    assert len(held) == 10


def test_small_classes_keep_their_images(tmp_path, notes):
    class_folders(tmp_path, count=3)
    train, held = load_data(tmp_path, held_out=0.1, say=notes.append)
    assert (len(train), len(held)) == (9, 0)
    assert notes == ["data: 3 classes are too small to hold out 0.1 of their images"]


def test_seed_chooses_the_held_out_images(tmp_path):
    class_folders(tmp_path)
    held = [load_data(tmp_path, held_out=0.3, seed=seed)[1].fingerprint for seed in (1, 1, 2)]
    assert held[0] == held[1] != held[2]


@pytest.mark.parametrize("held_out", [-0.1, 1, 1.5, float("nan"), "0.1", True])
def test_bad_fractions(held_out):
    with pytest.raises(PilotageError, match="held_out="):
        load_data("digits", held_out=held_out)


@pytest.mark.parametrize("seed", [-1, 0.5, None])
def test_bad_seeds(seed):
    with pytest.raises(PilotageError, match="seed="):
        load_data("digits", seed=seed)
