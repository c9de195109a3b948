"""`pilotage.utils.images`: bytes in and out, and pictures of many images."""

import numpy as np
import torch
from PIL import Image

from pilotage.utils.images import displayable, enlarged, from_uint8, save_png, tile, to_arrays


def test_images_are_rounded_to_the_nearest_byte():
    images = torch.tensor([-1.0, -0.999, 0.0, 0.999, 1.0, 1.5]).reshape(6, 1, 1, 1)
    assert to_arrays(images).ravel().tolist() == [0, 0, 128, 255, 255, 255]


def test_every_byte_comes_back():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert np.array_equal(to_arrays(from_uint8(pixels))[..., 0], pixels[0])


def test_tiles_go_row_by_row_with_white_between():
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 1), np.uint8)
    picture = tile(images, columns=2, gap=1)[..., 0]
    white = np.full((2, 1), 255)
    above = np.hstack([images[0, ..., 0], white, images[1, ..., 0]])
    below = np.hstack([images[2, ..., 0], np.full((2, 4), 255)])
    assert np.array_equal(picture, np.vstack([above, np.full((1, 7), 255), below]))


def test_small_images_grow_by_a_whole_number_and_large_ones_stay():
    flat = np.full((2, 8, 6, 3), 77, np.uint8)
    assert enlarged(flat, least=20).shape == (2, 32, 24, 3)
    assert (enlarged(flat, least=20) == 77).all()
    assert enlarged(flat, least=6) is flat


def test_any_number_of_channels_can_be_shown(tmp_path):
    shown = {channels: displayable(np.ones((4, 5, channels), np.uint8)) for channels in range(1, 6)}
    assert [image.shape for image in shown.values()] == [(4, 5), *[(4, 5, 3)] * 4]
    assert shown[2][0, 0].tolist() == [1, 1, 0]
    save_png(np.full((4, 5, 1), 9, np.uint8), tmp_path / "grey.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "grey.png")), np.full((4, 5), 9))
