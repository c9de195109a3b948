"""Images and masks that commands are given: bombs, pipes and what is no image."""

import os

import numpy as np
import pytest
from PIL import Image

from data.test_bad_images import png
from pilotage.errors import PilotageError
from pilotage.tasks.inputs import read_image, read_mask


def odd(path, kind):
    """A file that is no image to be taken."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "large":
        Image.new("L", (2100, 2100)).save(path)
    else:
        content = {
            "bomb": png(9000, 9000),
            "text": b"no image",
            "empty": b"",
            "cut": png(8, 8)[:50],
        }
        path.write_bytes(content[kind])
    return path


@pytest.mark.parametrize("kind", ["pipe", "bomb", "large", "text", "empty", "cut"])
@pytest.mark.parametrize(("reader", "name"), [(read_image, "image"), (read_mask, "mask")])
def test_what_is_no_image_is_named_by_its_setting(tmp_path, survives, reader, name, kind):
    path = odd(tmp_path / "a.png", kind)
    settings = {"name": name} if reader is read_image else {}

    def call():
        with pytest.raises(
            PilotageError, match=rf"{name} is .*a\.png: it must be a readable image"
        ):
            reader(path, **settings)
        return True

    assert survives(call)


def test_deep_images_have_the_range_of_their_depth(tmp_path):
    Image.fromarray(np.array([[0, 1365, 4095]], np.uint16)).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png", "image", 1)
    assert ((image[0, 0, 0] + 1) * 127.5).round().tolist() == [0, 85, 255]


def test_what_is_transparent_in_a_mask_is_black(tmp_path):
    pixels = np.full((1, 3, 2), 255, np.uint8)
    pixels[0, 1, 1] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png")[0, 0, 0].tolist() == [1, -1, 1]
