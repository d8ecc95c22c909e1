"""Pictures of an object alone, as the image-to-3D tools want them: on one colour, in the middle of a square."""

import numpy as np

from bridges.types import Image, Mask, mask_box
from fgs_jax.errors import BridgeError, ConfigError

BACKGROUNDS = {"white": 255, "grey": 127}
"""Grey is the half that TripoSR's own pre-processing fills in."""


def matted(image: Image, mask: Mask, background: str = "white") -> Image:
    """The picture with all outside of the mask in one colour, "white" or "grey".

    Raises BridgeError where the mask is empty or of another size, ConfigError for another colour.
    """
    colour = background_colour(background)
    _check_mask(image, mask)
    return np.where(mask[..., None], image, np.uint8(colour))


def square(
    image: Image, mask: Mask | None = None, margin: float = 0.1, background: str = "white"
) -> tuple[Image, tuple[int, int, int, int]]:
    """A square cut out of the picture, and the (left, top, right, bottom) that was cut, in the picture's pixels.

    It is centred on the mask's box and as large as the box's longer side, with `margin` of that side left free on each
    of the four sides; without a mask it holds the whole picture, without a margin. What of it lies beyond the picture
    is of the background's colour. Nothing is resized.
    """
    if not 0 <= margin <= 10:
        raise ConfigError(f"margin: expected a share of the object's size from 0 to 10, got {margin:g}: 0.1 is usual")
    colour = background_colour(background)
    if mask is None:
        box, margin = np.array([0, 0, image.shape[1], image.shape[0]], float), 0.0
    else:
        _check_mask(image, mask)
        box = mask_box(mask)
    longer = (box[2:] - box[:2]).max()
    side = int(np.ceil(longer * (1 + 2 * margin)))
    left, top = (int(corner) for corner in np.floor((box[:2] + box[2:] - side) / 2))
    canvas = np.full((side, side, 3), colour, np.uint8)
    height, width = image.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    canvas[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    return canvas, (left, top, left + side, top + side)


def object_picture(
    image: Image, mask: Mask | None, margin: float, background: str
) -> tuple[Image, tuple[int, int, int, int]]:
    """The object, matted where a mask is given, in a square, and the square in the picture's pixels."""
    if mask is not None:
        image = matted(image, mask, background)
    return square(image, mask, margin, background)


def background_colour(name: str) -> int:
    """Raises ConfigError for a background that is not known."""
    if name not in BACKGROUNDS:
        raise ConfigError(f"background: expected one of {', '.join(BACKGROUNDS)}, got {name}")
    return BACKGROUNDS[name]


def _check_mask(image: Image, mask: Mask) -> None:
    if mask.dtype != bool or mask.shape != image.shape[:2]:
        came = f"{mask.dtype} {mask.shape}"
        raise BridgeError(f"object mask: expected booleans of the picture's size, {image.shape[:2]}, got {came}")
    if not mask.any():
        raise BridgeError("object mask: expected visible pixels of the object, got none: check the segmentation")
