"""Pictures and masks of every kind of file that people have, read upright; what is no mask is refused."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from fgs_jax.picture.images import MOST_PIXELS, NotAMaskError, read_mask, read_picture

HEIGHT, WIDTH = 90, 120
Y, X = np.mgrid[:HEIGHT, :WIDTH]
MASK = ((X - 50) ** 2 + (1.4 * (Y - 40)) ** 2 < 900) | ((X > 70) & (X < 95) & (Y > 30) & (Y < 48))
WHITE = np.where(MASK, np.uint8(255), np.uint8(0))
PHOTO = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
COLOURFUL = np.asarray(Image.fromarray(PHOTO).filter(ImageFilter.GaussianBlur(2)))
EXIF = 0x0112
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
"""What makes a picture upright, by its EXIF orientation."""
STORED = TURNS | {6: TURNS[8], 8: TURNS[6]}
"""The same the other way."""


def encoded(picture: Any, kind: str = "PNG", **options: Any) -> bytes:
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(np.ascontiguousarray(picture))
    picture.save(buffer := io.BytesIO(), kind, **options)
    return buffer.getvalue()


def palette(labels: np.ndarray, *colours: tuple[int, int, int]) -> Image.Image:
    picture = Image.fromarray(labels.astype(np.uint8), "L").convert("P")
    picture.putdata(labels.ravel().tolist())
    picture.putpalette([channel for colour in colours for channel in colour])
    return picture


def with_alpha(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.dstack([colours, alpha])


def clear_index() -> Image.Image:
    picture = palette(1 * MASK, (7, 200, 80), (90, 20, 30))
    picture.info["transparency"] = 0
    return picture


DAVIS = ((0, 0, 0), (128, 0, 0), (0, 128, 0))
RED = (MASK[..., None] * [200, 0, 0]).astype(np.uint8)
VIRIDIS = np.where(MASK[..., None], np.array([253, 231, 36], np.uint8), np.array([68, 1, 84], np.uint8))
EXACT: dict[str, bytes] = {
    "eight bits": encoded(WHITE),
    "one bit": encoded(MASK),
    "0 and 200": encoded(WHITE // 255 * 200),
    "sixteen bits": encoded(MASK.astype(np.uint16) * 65535),
    "sixteen bits of 0 and 255": encoded(MASK.astype(np.uint16) * 255),
    "floats to 255": encoded(MASK.astype(np.float32) * 255, "TIFF"),
    "floats to 1": encoded(MASK.astype(np.float32), "TIFF"),
    "integers": encoded(MASK.astype(np.int32) * 255, "TIFF"),
    "RGB": encoded(np.dstack([WHITE] * 3)),
    "opaque RGBA": encoded(with_alpha(np.dstack([WHITE] * 3), np.full_like(WHITE, 255))),
    "CMYK": encoded(Image.fromarray(np.dstack([WHITE] * 3)).convert("CMYK"), "TIFF"),
    "GIF": encoded(WHITE, "GIF"),
    "lossless WebP": encoded(np.dstack([WHITE] * 3), "WEBP", lossless=True),
    "black and white palette": encoded(palette(1 * MASK, (0, 0, 0), (255, 255, 255))),
    "white and black palette": encoded(palette(1 - MASK, (255, 255, 255), (0, 0, 0))),
    "one label of a palette": encoded(palette(1 * MASK, *DAVIS)),
    "another label of a palette": encoded(palette(2 * MASK, *DAVIS)),
    "label of a grey palette": encoded(palette(1 * MASK, (0, 0, 0), (1, 1, 1))),
    "red on black": encoded(RED),
    "bright on dark": encoded(VIRIDIS),
    "cut-out": encoded(with_alpha(COLOURFUL * MASK[..., None], WHITE)),
    "cut-out with its surroundings": encoded(with_alpha(COLOURFUL, WHITE)),
    "white, mask in alpha": encoded(with_alpha(np.full_like(PHOTO, 255), WHITE)),
    "black, mask in alpha": encoded(with_alpha(np.zeros_like(PHOTO), WHITE)),
    "grey, mask in alpha": encoded(Image.fromarray(np.dstack([np.full_like(WHITE, 255), WHITE]), "LA")),
    "a colour of a palette is clear": encoded(clear_index()),
    "WebP cut-out": encoded(with_alpha(COLOURFUL, WHITE), "WEBP", lossless=True),
}
LARGE = Image.fromarray(WHITE).resize((4 * WIDTH, 4 * HEIGHT), Image.Resampling.BILINEAR)
BLURRED = Image.fromarray(WHITE).filter(ImageFilter.GaussianBlur(1))
SOFT: dict[str, bytes] = {
    "JPEG": encoded(WHITE, "JPEG", quality=60),
    "colour JPEG": encoded(np.dstack([WHITE] * 3), "JPEG", quality=75),
    "blurred": encoded(BLURRED),
    "shrunk": encoded(LARGE.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)),
    "soft alpha": encoded(with_alpha(COLOURFUL, np.asarray(BLURRED))),
    "soft greys of a palette": encoded(BLURRED.convert("P")),
    "soft floats": encoded(np.asarray(BLURRED) / np.float32(255), "TIFF"),
}


@pytest.mark.parametrize("name", EXACT)
def test_a_mask_is_read_to_the_pixel(name):
    np.testing.assert_array_equal(read_mask(EXACT[name]), MASK)


@pytest.mark.parametrize("name", SOFT)
def test_a_mask_with_soft_edges_is_cut_in_the_middle(name):
    found = read_mask(SOFT[name])
    assert (found & MASK).sum() / (found | MASK).sum() > 0.97


def test_thin_and_small_masks_may_be_soft():
    small = np.zeros((40, 40), np.uint8)
    small[20:26, 10:15] = 255
    small[19, 10:15] = small[26, 10:15] = small[20:26, 9] = small[20:26, 15] = 120  # more than half of what is inside
    assert read_mask(encoded(small)).sum() == 30


def test_masks_of_nothing_and_of_all_are_left_to_the_scene():
    assert not read_mask(encoded(0 * WHITE)).any()
    assert read_mask(encoded(0 * WHITE + 255)).all()


LABELS = MASK.astype(int) + (MASK & (X > 60))
DARK = (COLOURFUL // 4 + 20) * MASK[..., None].astype(np.uint8)
NO_MASKS: dict[str, tuple[bytes, str]] = {
    "colours on black": (encoded(COLOURFUL * MASK[..., None]), "came a picture and no mask: .*give its alpha"),
    "dark colours on black": (encoded(DARK), "came a picture and no mask"),
    "greys on black": (encoded((COLOURFUL[..., 0] // 2 + 90) * MASK), "came a picture and no mask"),
    "colours on white": (encoded(np.where(MASK[..., None], COLOURFUL, 255).astype(np.uint8)), "came a picture and no"),
    "a photo": (encoded(COLOURFUL), "came a picture and no mask"),
    "a JPEG photo": (encoded(COLOURFUL, "JPEG"), "came a picture and no mask"),
    "a photo with 256 colours": (encoded(Image.fromarray(COLOURFUL).quantize(256)), "came a picture of .* colours"),
    "a ramp": (encoded(np.tile(np.arange(WIDTH) * 2, (HEIGHT, 1)).astype(np.uint8)), "came a picture and no mask"),
    "0 and 1": (encoded(WHITE // 255), "expected 255 inside and 0 outside, came values up to 1: make them 255"),
    "labels": (encoded(LABELS.astype(np.uint8)), "came values up to 2"),
    "labels of a palette": (encoded(palette(LABELS, *DAVIS)), "came labels 0, 1, 2: write 255 where the one thing is"),
    "labels in colours": (
        encoded(np.array(DAVIS, np.uint8)[LABELS]),
        "came colours #000000, #008000, #800000: write 255",
    ),
    "two labels without 0": (encoded(palette(1 + MASK, *DAVIS)), "came labels 1, 2"),
    "three values": (encoded(np.array([0, 128, 255], np.uint8)[LABELS]), "came values 0, 128, 255: write 255 where"),
    "bright and brighter": (encoded(np.array([128, 255], np.uint8)[1 * MASK]), "came values 128, 255"),
    "one grey": (encoded(0 * WHITE + 200), "came values 200"),
    "clear everywhere": (encoded(with_alpha(COLOURFUL, 0 * WHITE)), "transparent everywhere"),
    "faint alpha": (encoded(with_alpha(COLOURFUL, WHITE // 2)), "came values up to 127"),
    "alpha of labels": (
        encoded(with_alpha(COLOURFUL, np.array([0, 128, 255], np.uint8)[LABELS])),
        "came values 0, 128, 255",
    ),
}


@pytest.mark.parametrize("name", NO_MASKS)
def test_what_is_no_mask_is_refused_in_one_line(name):
    data, message = NO_MASKS[name]
    with pytest.raises(NotAMaskError, match=message) as caught:
        read_mask(data)
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("square", [False, True])
def test_pictures_and_masks_are_turned_as_their_exif_says(orientation, square):
    size = slice(0, HEIGHT), slice(0, HEIGHT if square else WIDTH)
    stored, exif = STORED[orientation], Image.Exif()
    exif[EXIF] = orientation
    for kind in ("PNG", "TIFF", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(stored(PHOTO[size]), kind, exif=exif, **options)
        np.testing.assert_array_equal(read_picture(data), PHOTO[size])
    np.testing.assert_array_equal(read_mask(encoded(stored(WHITE[size]), exif=exif)), MASK[size])
    alpha = encoded(stored(with_alpha(PHOTO, WHITE)[size]), exif=exif)
    np.testing.assert_array_equal(read_mask(alpha), MASK[size])
    jpeg = read_picture(encoded(stored(COLOURFUL[size]), "JPEG", quality=95, exif=exif))
    assert np.abs(jpeg.astype(int) - COLOURFUL[size]).mean() < 4


def test_an_orientation_that_means_nothing_turns_nothing():
    for orientation in (0, 9, 77):
        exif = Image.Exif()
        exif[EXIF] = orientation
        np.testing.assert_array_equal(read_picture(encoded(PHOTO, exif=exif)), PHOTO)
    damaged = encoded(PHOTO, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    np.testing.assert_array_equal(read_picture(damaged), PHOTO)


def test_what_is_transparent_in_a_picture_is_white():
    expected = np.where(MASK[..., None], PHOTO, 255)
    np.testing.assert_array_equal(read_picture(encoded(with_alpha(PHOTO, WHITE))), expected)
    grey = encoded(Image.fromarray(np.dstack([PHOTO[..., 0], WHITE]), "LA"))
    np.testing.assert_array_equal(read_picture(grey), np.where(MASK, PHOTO[..., 0], 255)[..., None].repeat(3, axis=2))
    np.testing.assert_array_equal(
        read_picture(encoded(clear_index())), np.where(MASK[..., None], [90, 20, 30], [255, 255, 255])
    )
    half = read_picture(encoded(with_alpha(np.zeros_like(PHOTO), np.full_like(WHITE, 128))))
    assert (half == 127).all()


def test_greys_of_any_depth_are_eight_bits_of_rgb():
    ramp = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 256
    three = ramp[..., None].repeat(3, axis=2)
    for picture, kind in (
        (ramp.astype(np.uint8), "PNG"),
        ((ramp * 257).astype(np.uint16), "PNG"),
        (ramp.astype(np.float32), "TIFF"),
        ((ramp / 255).astype(np.float32), "TIFF"),
    ):
        np.testing.assert_array_equal(read_picture(encoded(picture, kind)), three)
    assert set(read_picture(encoded(MASK)).ravel()) == {0, 255}


def header(width: int, height: int) -> bytes:
    """A PNG that promises more than it holds."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(bytes(1000)))
    parts = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def several() -> bytes:
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (0, 100, 200)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


DAMAGED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "it is none of PNG, JPEG"),
    "text": (b"no picture", "it is none of PNG, JPEG"),
    "a script for another program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is none of PNG, JPEG"),
    "a head alone": (encoded(PHOTO)[:60], "."),
    "half of it": (encoded(PHOTO, "JPEG")[:2000], "truncated"),
    "too large": (header(8001, MOST_PIXELS // 8000), "8001 x 8000 pixels, of which 64 million are read"),
    "a bomb that warns": (header(10_000, 10_000), "10000 x 10000 pixels, of which 64 million are read"),
    "a bomb": (header(60_000, 60_000), "too many pixels, of which 64 million are read"),
    "an animation": (several(), "several pictures in one file: save one of them alone"),
    "numbers without end": (
        encoded(np.array([[0, np.inf]], np.float32), "TIFF"),
        "numbers from 0 to inf, of which 0 to 65535",
    ),
    "negative numbers": (encoded(np.array([[-1, 4]], np.float32), "TIFF"), "numbers from -1 to 4"),
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("read", [read_picture, read_mask])
def test_a_damaged_picture_is_one_line(name, read):
    data, message = DAMAGED[name]
    with pytest.raises(ValueError, match=message) as caught:
        read(data)
    assert not isinstance(caught.value, NotAMaskError)
    assert "\n" not in str(caught.value)


def test_two_pictures_of_a_phone_are_its_first():
    data = encoded(COLOURFUL, "MPO", save_all=True, append_images=[Image.fromarray(255 - COLOURFUL)], quality=95)
    assert np.abs(read_picture(data).astype(int) - COLOURFUL).mean() < 4
