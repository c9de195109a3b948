"""Text is drawn as it stands: no markup, no missing letters, no warnings."""

import warnings

import numpy as np
import pytest
from PIL import Image

from pilotage.utils.drawing import drawable
from pilotage.utils.images import save_grid, save_scatter

IMAGES = np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8, 1)


@pytest.fixture(autouse=True)
def strict():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def pixels(path, *names, title=""):
    save_grid(IMAGES, path, columns=2, column_names=names, title=title)
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


@pytest.mark.parametrize(
    "name", ["$5_$6", r"\frac{", "$x", "$\\alpha$", "a_b^c", "猫", "🐈", "\x07bell", "é", "ا"]
)
def test_any_name_is_drawn(tmp_path, name):
    with_name = pixels(tmp_path / "a.png", name, "b", title=f"w of {name}")
    assert (with_name < 128).sum() > 100
    save_scatter(np.zeros((3, 2)), tmp_path / "b.png", title=name)
    assert (tmp_path / "b.png").stat().st_size > 1000


def test_dollars_stand_as_they_are(tmp_path):
    # as a formula the two would look alike: the dollars would be gone
    formula = pixels(tmp_path / "a.png", "$x$", "b")
    letter = pixels(tmp_path / "b.png", "x", "b")
    assert formula.shape == letter.shape
    assert (formula != letter).any()


def test_what_no_font_has_is_escaped():
    assert drawable("a b_$") == "a b_$"
    assert drawable("caf\u00e9\nλ") == "caf\u00e9\nλ"
    assert drawable("x\x00\x1b") == r"x\x00\x1b"
    assert drawable("\U0010fffd") == r"\U0010fffd"
