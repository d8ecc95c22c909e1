"""An object alone on one colour, in the middle of a square."""

import numpy as np
import pytest

from fgs_bridges.images import large_parts, matted, object_picture, on_plain_background, square
from fgs_jax.errors import BridgeError, ConfigError

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(1, 120, (30, 50, 3), np.uint8)
MASK = np.zeros((30, 50), bool)
MASK[8:13, 20:30] = True
MASK[8, 20] = False


@pytest.mark.parametrize(("background", "value"), [("white", 255), ("grey", 127)])
def test_matted(background, value):
    picture = matted(IMAGE, MASK, background)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[MASK], IMAGE[MASK])
    assert (picture[~MASK] == value).all()


def test_square_about_the_mask():
    picture, (left, top, right, bottom) = square(IMAGE, MASK, margin=0.2)
    assert (left, top, right, bottom) == (18, 3, 32, 17)  # 10 wide + 2 on each side, about (25, 10.5)
    np.testing.assert_array_equal(picture, IMAGE[3:17, 18:32])


def test_square_beyond_the_picture():
    mask = np.zeros((30, 50), bool)
    mask[0:20, 46:50] = True
    picture, (left, top, right, bottom) = square(IMAGE, mask, margin=0.1, background="grey")
    assert (right - left, bottom - top) == picture.shape[1::-1] == (24, 24)
    assert (left, top) == (36, -2)
    np.testing.assert_array_equal(picture[2:, :14], IMAGE[:22, 36:])
    assert (picture[:2] == 127).all() and (picture[:, 14:] == 127).all()


def test_a_margin_of_none_touches_the_sides():
    picture, crop = square(IMAGE, MASK, margin=0.0)
    assert crop == (20, 5, 30, 15)
    np.testing.assert_array_equal(picture, IMAGE[5:15, 20:30])


@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (30, 30), (31, 50)])
def test_without_a_mask_the_whole_picture_is_padded(shape):
    image = RNG.integers(0, 200, (*shape, 3), np.uint8)
    picture, (left, top, right, bottom) = square(image, margin=0.5)
    side = max(shape)
    assert picture.shape == (side, side, 3)
    assert (right - left, bottom - top) == (side, side)
    np.testing.assert_array_equal(picture[-top : shape[0] - top, -left : shape[1] - left], image)
    assert (picture == 255).all(axis=2).sum() == side**2 - shape[0] * shape[1]


def test_object_picture_is_matted_only_where_there_is_a_mask():
    picture, crop = object_picture(IMAGE, MASK, 0.2, "white")
    assert crop == (18, 3, 32, 17)
    assert (picture != 255).any(axis=2).sum() == MASK.sum() == 49
    whole, _ = object_picture(IMAGE, None, 0.2, "white")
    np.testing.assert_array_equal(whole[10:40], IMAGE)


def test_the_picture_given_is_left_as_it_is():
    before = IMAGE.copy()
    picture, _ = object_picture(IMAGE, MASK, 0.1, "white")
    picture[:] = 0
    np.testing.assert_array_equal(IMAGE, before)


def test_a_plain_background():
    image = np.full((40, 60, 3), 245, np.uint8)
    image[:, :, 0] -= np.arange(20, dtype=np.uint8).repeat(3)  # a soft shade
    thing = np.zeros((40, 60), bool)
    thing[10:30, 20:40] = True
    image[thing] = (10, 80, 200)
    image[15:20, 25:30] = 245  # a hole in it, which is not joined to the border
    np.testing.assert_array_equal(on_plain_background(image), thing)
    image[0, :3] = 0  # a speck on the border, which would put the thing beside the middle
    np.testing.assert_array_equal(on_plain_background(image), thing)
    image[:, :20] = (90, 60, 30)
    assert on_plain_background(image) is None
    assert on_plain_background(np.full((4, 4, 3), 250, np.uint8)) is None


def test_errors():
    with pytest.raises(ConfigError, match="background: expected one of white, grey, got blue"):
        matted(IMAGE, MASK, "blue")
    with pytest.raises(BridgeError, match="got none: check the segmentation"):
        matted(IMAGE, ~np.ones_like(MASK))
    with pytest.raises(BridgeError, match=r"picture's size, \(30, 50\), got bool \(30, 49\)"):
        square(IMAGE, MASK[:, :-1])
    with pytest.raises(BridgeError, match="got uint8"):
        matted(IMAGE, MASK.astype(np.uint8))
    for margin in (-0.1, float("nan"), 100):
        with pytest.raises(ConfigError, match="margin: expected"):
            square(IMAGE, MASK, margin=margin)


def test_large_parts_stay():
    mask = np.zeros((40, 40), bool)
    mask[0:20, 0:20] = mask[30:36, 0:6] = mask[30:33, 30:33] = True
    kept = large_parts(mask, 0.05)
    assert kept[31, 1] and not kept[31, 31] and kept.sum() == 436
