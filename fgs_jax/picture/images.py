"""The one reader of pictures and masks: upright, eight bits, without transparency, whatever the file holds.

A picture is turned as its EXIF says, and what is transparent in it becomes white. A mask is inside where it is white,
or, in a picture with transparent parts, where that is opaque; a file that is no mask is refused and never thresholded.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy.ndimage import maximum_filter, minimum_filter

MOST_PIXELS = 64_000_000
"""Of a picture; fewer than where Pillow begins to warn of a bomb."""
FORMATS = ("PNG", "JPEG", "MPO", "TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
"""Read where Pillow has them: none that starts another program."""
DARK, BRIGHT = 16, 239
"""Below and above, a pixel of a mask is outside or inside; between them it lies on an edge."""
MOST_LABELS = 16
_SOFT = 0.5
"""As many pixels may lie on edges as this share of those inside, or of those outside where they are fewer."""


class NotAMaskError(ValueError):
    """A picture that is no mask: what was expected, what came, and what to do."""


def read_picture(data: bytes) -> UInt8[ndarray, "h w 3"]:
    """RGB of the bytes of a picture, turned as its EXIF says; what is transparent becomes white.

    Of 16 bits a channel the upper eight stay; numbers of a float picture go from 0 to 1 or from 0 to 255. Raises
    ValueError, with the reason, for what is damaged, no picture, an animation, or of more than MOST_PIXELS.
    """
    with _opened(data) as picture:
        if (numbers := _numbers(picture)) is not None:
            return np.repeat(_bytes_of(numbers)[..., None], 3, axis=2)
        if not picture.has_transparency_data:
            return np.array(picture.convert("RGB"))
        clear = picture.convert("RGBA")
        return np.array(Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB"))


def read_mask(data: bytes) -> Bool[ndarray, "h w"]:
    """The mask in the bytes of a picture, turned as its EXIF says: 255 inside, 0 outside, in between on edges only.

    Of a picture with transparent parts (a cut-out) the mask is what is opaque, whatever its colours; else what is
    white. A picture of two flat values is a mask, too: of a bright and a dark one, of black and a colour, or of labels
    0 and another one in a palette. Raises NotAMaskError for all else, ValueError as `read_picture`.
    """
    with _opened(data) as picture:
        if (numbers := _numbers(picture)) is not None:
            grey = _bytes_of(numbers)
            return _two_levels(grey, grey, grey)
        if picture.has_transparency_data:
            alpha = np.asarray(picture.convert("RGBA"))[..., 3]
            if alpha.max() < DARK:
                raise NotAMaskError("expected a mask, came a picture that is transparent everywhere: write 255 and 0")
            if alpha.min() <= BRIGHT:
                return _two_levels(alpha, alpha, alpha)
        labels = np.asarray(picture) if picture.mode == "P" else None
        rgb = np.asarray(picture.convert("RGB"))
        grey = np.asarray(picture.convert("RGB").convert("L"))
        low, high = rgb.min(axis=2), rgb.max(axis=2)
        coloured = bool((high - low > 2 * DARK).any())
        if labels is not None and (coloured or high.max() <= BRIGHT):
            return _of_labels(labels)
        if coloured and (colours := _few_colours(rgb)) is not None:
            return _of_colours(rgb, colours, grey)
        return _two_levels(grey, low, high)


def _two_levels(
    grey: UInt8[ndarray, "h w"], low: UInt8[ndarray, "h w"], high: UInt8[ndarray, "h w"]
) -> Bool[ndarray, "h w"]:
    """Where a picture is bright. `low` and `high` are its least and greatest channel: a colour is neither level."""
    values = np.unique(grey)
    if 0 < grey.max() < 128 and (high == low).all():
        raise NotAMaskError(f"expected 255 inside and 0 outside, came values up to {grey.max()}: make them 255")
    if len(values) == 2 and values[1] - values[0].astype(int) >= 64 and values[0] < 128:
        return grey > 127
    inside, outside = low > BRIGHT, high < DARK
    soft = ~(inside | outside)
    if not soft.any():
        return grey > 127
    if (high == low).all():
        flat = np.unique(grey[soft & (maximum_filter(grey, 5) == minimum_filter(grey, 5))])
        if 0 < len(flat) <= MOST_LABELS:
            raise _several("values", sorted({int(values[0]), *flat.tolist(), int(values[-1])}))
    if soft.sum() > _SOFT * min(inside.sum(), outside.sum()) and minimum_filter(soft, 3).any():
        raise NotAMaskError(
            f"expected 255 inside and 0 outside, came a picture and no mask: {soft.sum()} pixels are neither, but "
            f"{DARK} to {BRIGHT}; give its alpha, or another mask, as 255 and 0"
        )
    return grey > 127


def _of_labels(labels: UInt8[ndarray, "h w"]) -> Bool[ndarray, "h w"]:
    used = np.unique(labels)
    if len(used) == 2 and used[0] == 0:
        return labels > 0
    if len(used) > MOST_LABELS:
        raise NotAMaskError(
            f"expected a mask, 255 inside and 0 outside, came a picture of {len(used)} colours: give a mask"
        )
    raise _several("labels", used.tolist())


def _few_colours(rgb: UInt8[ndarray, "h w 3"]) -> UInt8[ndarray, "n 3"] | None:
    """The colours of a picture that has a few flat ones."""
    few = rgb[:: max(1, len(rgb) // 64), :: max(1, len(rgb[0]) // 64)].reshape(-1, 3)
    if len(np.unique(few, axis=0)) > MOST_LABELS:
        return None
    codes = np.unique((rgb[..., 0].astype(np.int32) << 16) | (rgb[..., 1].astype(np.int32) << 8) | rgb[..., 2])
    if len(codes) > MOST_LABELS:
        return None
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.uint8)


def _of_colours(
    rgb: UInt8[ndarray, "h w 3"], colours: UInt8[ndarray, "n 3"], grey: UInt8[ndarray, "h w"]
) -> Bool[ndarray, "h w"]:
    """Of two flat colours: what is not black, else the bright one of a bright and a dark one."""
    if len(colours) == 2 and not colours[0].any():
        return rgb.max(axis=2) > 0
    if len(colours) == 2 and grey.min() < 128 <= grey.max():
        return grey > 127
    raise _several("colours", [f"#{bytes(colour).hex()}" for colour in colours])


def _several(what: str, values: list[Any]) -> NotAMaskError:
    came = ", ".join(map(str, values))
    return NotAMaskError(
        f"expected 255 inside and 0 outside, came {what} {came}: write 255 where the one thing is, 0 elsewhere"
    )


def _numbers(picture: Image.Image) -> ndarray | None:
    """The values of a picture of one channel of more than eight bits; None for others."""
    return np.asarray(picture) if picture.mode[:1] in "IF" else None


def _bytes_of(numbers: ndarray) -> UInt8[ndarray, "h w"]:
    """Values from 0 to 255, of numbers up to 1 where they are floats, else up to 255 or up to 65535."""
    if not np.isfinite(numbers).all() or numbers.min() < 0 or numbers.max() > 65535:
        raise ValueError(f"numbers from {numbers.min():g} to {numbers.max():g}, of which 0 to 65535 are read")
    most = numbers.max()
    unit = 1 if numbers.dtype.kind == "f" and most <= 1 else 255 if most <= 255 else 65535
    return np.rint(numbers.astype(np.float32) * np.float32(255 / unit)).astype(np.uint8)


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """A picture, whole and upright. Raises ValueError with the reason where it is none, and passes NotAMaskError on."""
    Image.init()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # of sizes, which are checked here, and of damaged EXIF
            with Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN]) as file:
                width, height = file.size
                if width * height > MOST_PIXELS:
                    raise ValueError(f"{width} x {height} pixels, of which {MOST_PIXELS / 1e6:.0f} million are read")
                if getattr(file, "is_animated", False) and file.format != "MPO":  # of which phones write two pictures
                    raise ValueError("several pictures in one file: save one of them alone")
                file.load()
                yield _upright(file)
    except NotAMaskError:
        raise
    except UnidentifiedImageError as error:
        raise ValueError(f"it is none of {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"too many pixels, of which {MOST_PIXELS / 1e6:.0f} million are read") from error
    except Exception as error:  # every format has its own for a damaged file
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def _upright(file: Image.Image) -> Image.Image:
    orientation = 1
    with suppress(Exception):  # damaged EXIF says nothing
        orientation = file.getexif().get(0x0112, 1)
    return ImageOps.exif_transpose(file) if orientation in range(2, 9) else file
