"""Encoded images: their modes and sizes, and the pixels that come out."""

import numpy as np
import pytest
from PIL import Image

from pilotage.data import load_data
from pilotage.errors import PilotageError

from .making import all_images, class_folders, encoded, noise, save

# --- modes ------------------------------------------------------------------------------------


def test_alpha_is_dropped(tmp_path, notes):
    rgba = save(tmp_path / "a" / "1.png", noise(1, 6, 5, 4))
    palette = Image.fromarray(noise(3, 6, 5, 3)).quantize(8)
    palette.save(tmp_path / "a" / "2.png", transparency=0)
    train, _ = load_data(tmp_path, held_out=0, say=notes.append)
    assert train.shape == (3, 6, 5)
    first, second = all_images(train)
    assert np.array_equal(first, rgba[..., :3].transpose(2, 0, 1))
    assert np.array_equal(second, np.asarray(palette.convert("RGB")).transpose(2, 0, 1))
    assert sum("alpha" in note for note in notes) == 1
    assert any("2 of 2" in note for note in notes)


def test_grey_with_alpha_stays_grey(tmp_path):
    grey_alpha = save(tmp_path / "a" / "1.png", noise(2, 6, 5, 2))
    bilevel = noise(4, 6, 5) > 127
    save(tmp_path / "a" / "2.png", bilevel)
    train, _ = load_data(tmp_path, held_out=0)
    assert train.shape == (1, 6, 5)
    assert np.array_equal(all_images(train)[:, 0], [grey_alpha[..., 0], 255 * bilevel])


def test_grey_among_colour_becomes_rgb(tmp_path, notes):
    grey = save(tmp_path / "a" / "1.png", noise(1, 6, 5))
    colour = save(tmp_path / "a" / "2.png", noise(2, 6, 5, 3))
    train, _ = load_data(tmp_path, held_out=0, say=notes.append)
    assert np.array_equal(all_images(train), [[grey] * 3, colour.transpose(2, 0, 1)])
    assert any("1 of 2 images are grey" in note for note in notes)


@pytest.mark.parametrize("mode", ["P", "CMYK", "YCbCr"])
def test_other_colour_becomes_rgb(tmp_path, mode):
    path = tmp_path / "a" / "1.tif"
    save(path, np.full((6, 5, 3), (200, 100, 50), np.uint8), mode)
    train, _ = load_data(tmp_path)
    assert train.shape == (3, 6, 5)
    expected = np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(all_images(train)[0], expected)
    assert np.abs(expected[:, 0, 0].astype(int) - (200, 100, 50)).max() < 26


@pytest.mark.parametrize(
    ("values", "suffix"),
    [
        (np.array([[0, 200, 32896, 65535]], np.uint16), "png"),
        (np.array([[0, 200, 32896, 65535]], np.int32), "tif"),
        (np.array([[0, 0.8 / 255, 128 / 255, 1]], np.float32), "tif"),
        (np.array([[0, 0.8, 128, 255]], np.float32), "tif"),
    ],
)
def test_deep_grey_is_scaled(tmp_path, notes, values, suffix):
    save(tmp_path / "a" / f"1.{suffix}", values)
    train, _ = load_data(tmp_path, say=notes.append)
    assert all_images(train).tolist() == [[[[0, 1, 128, 255]]]]
    assert any("more than 8 bits" in note for note in notes)


@pytest.mark.parametrize("worst", [-1.0, 300.0, np.nan])
def test_deep_grey_out_of_range_is_named(tmp_path, worst):
    save(tmp_path / "a" / "bad.tif", np.array([[0, worst]], np.float32))
    with pytest.raises(PilotageError, match=r"bad\.tif"):
        load_data(tmp_path)


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_exif_orientation_is_applied(tmp_path, notes, kind):
    upright = save(tmp_path / "a" / "1.png", noise(1, 6, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    save(tmp_path / "a" / f"2.{kind}", np.ascontiguousarray(np.rot90(upright)), exif=exif)
    train, _ = load_data(tmp_path, held_out=0, say=notes.append)
    assert train.shape == (1, 6, 4)
    assert np.array_equal(all_images(train)[:, 0], [upright, upright])
    assert not any("resized" in note for note in notes)


# --- sizes ------------------------------------------------------------------------------------


def stripes(height, width):
    """Thirds from left to right: 0, 120, 240."""
    return np.repeat(np.repeat([[0, 120, 240]], width // 3, axis=1), height, axis=0).astype("uint8")


def test_mixed_sizes_meet_at_the_smallest(tmp_path, notes):
    kept = save(tmp_path / "a" / "1.png", noise(1, 10, 12))
    save(tmp_path / "a" / "2.png", stripes(20, 72))
    save(tmp_path / "a" / "3.png", np.full((33, 12), 99, np.uint8))
    train, _ = load_data(tmp_path, held_out=0, say=notes.append)
    assert train.shape == (1, 10, 12)
    first, second, third = all_images(train)[:, 0]
    assert np.array_equal(first, kept)
    # 20x72 shrinks to 10x36, and its middle third is what the crop keeps.
    assert (second[:, 3:-3] == 120).all()
    assert (third == 99).all()
    assert notes[-1].startswith("data: 2 of 3 images are resized and centre-cropped to 10x12")
    assert "heights are 10 to 33, widths 12 to 72" in notes[-1]


@pytest.mark.parametrize("size", [8, (8, 8), [8, 8]])
def test_size_as_asked_is_antialiased(tmp_path, notes, size):
    chequered = np.indices((32, 32)).sum(0) % 2 * 200
    save(tmp_path / "a" / "1.png", chequered.astype(np.uint8))
    own = save(tmp_path / "a" / "2.png", noise(1, 8, 8))
    train, _ = load_data(tmp_path, size=size, held_out=0, say=notes.append)
    assert train.shape == (1, 8, 8)
    assert np.abs(all_images(train)[0].astype(int) - 100).max() <= 3
    assert np.array_equal(all_images(train)[1, 0], own)
    assert any("1 of 2 images are resized" in note for note in notes)


def test_size_is_height_then_width(tmp_path):
    save(tmp_path / "a" / "1.png", stripes(12, 36))
    train, _ = load_data(tmp_path, size=(6, 9))
    assert train.shape == (1, 6, 9)
    assert (all_images(train)[0, 0, :, 4] == 120).all()


@pytest.mark.parametrize("size", [0, -4, 2.5, True, (8,), (8, 0), (8, 8, 3), "big", "32"])
def test_bad_sizes(size):
    with pytest.raises(PilotageError, match=r"size=.*positive whole number"):
        load_data("digits", size=size)


# --- broken input -----------------------------------------------------------------------------


def test_unreadable_image_is_named(tmp_path):
    class_folders(tmp_path)
    (tmp_path / "dog" / "broken.png").write_bytes(b"this is no image")
    with pytest.raises(PilotageError, match=r"dog/broken\.png.*not an image"):
        load_data(tmp_path)


def test_truncated_jpeg_is_named(tmp_path):
    class_folders(tmp_path)
    whole = encoded(noise(1, 20, 28), "JPEG")
    (tmp_path / "dog" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PilotageError, match=r"dog/cut\.jpg.*truncated"):
        load_data(tmp_path)
