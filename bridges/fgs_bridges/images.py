"""Pictures of an object alone, as the image-to-3D tools want them: on one colour, in the middle of a square."""

import numpy as np
from scipy.ndimage import label

from fgs_bridges.geometry import mask_box
from fgs_bridges.types import Image, Mask
from fgs_jax.errors import BridgeError, ConfigError

BACKGROUNDS = {"white": 255, "grey": 127}
"""Grey is the half that TripoSR's own pre-processing fills in."""
LEAST_PLAIN = 0.1
"""Share of a plain border that may be of other colours."""


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


def on_plain_background(image: Image, tolerance: int = 24) -> Mask | None:
    """The mask of a thing in front of one colour, white as a rule: all but specks and the pixels of that colour that
    are joined to the picture's border. None where the border is not of one colour, or nothing is in front of it.
    """
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]).astype(int)
    colour = np.median(border, axis=0)
    if (np.abs(border - colour).max(axis=1) > tolerance).mean() > LEAST_PLAIN:
        return None
    alike = np.pad(np.abs(image - colour).max(axis=2) <= tolerance, 1, constant_values=True)
    parts = np.asarray(label(alike)[0])  # pyright: ignore[reportIndexIssue]
    mask = large_parts((parts != parts[0, 0])[1:-1, 1:-1])
    return mask if mask.any() else None


def large_parts(mask: Mask, least: float = 0.05) -> Mask:
    """The connected parts that have at least `least` of the largest one's pixels."""
    parts = np.asarray(label(mask, np.ones((3, 3)))[0])  # pyright: ignore[reportIndexIssue]
    areas = np.bincount(parts.ravel())[1:]
    return np.isin(parts, 1 + np.flatnonzero(areas >= least * areas.max(initial=0)))


def background_colour(name: str) -> int:
    """Raises ConfigError for a background that is not known."""
    if name not in BACKGROUNDS:
        raise ConfigError(f"background: expected one of {', '.join(BACKGROUNDS)}, got {name}")
    return BACKGROUNDS[name]


def check_mask(name: str, mask: Mask, image: Image) -> None:
    """Raises BridgeError for what is not booleans of the picture's size."""
    if mask.dtype != bool or mask.shape != image.shape[:2]:
        came = f"{mask.dtype} {mask.shape}"
        raise BridgeError(f"{name} mask: expected booleans of the picture's size, {image.shape[:2]}, got {came}")


def _check_mask(image: Image, mask: Mask) -> None:
    check_mask("object", mask, image)
    if not mask.any():
        raise BridgeError("object mask: expected visible pixels of the object, got none: check the segmentation")
