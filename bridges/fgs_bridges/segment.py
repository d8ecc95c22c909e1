"""Masks of the visible parts of a hand and of an object: what all segmenters share, from a file, from a posed hand."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from fgs_bridges.geometry import is_box
from fgs_bridges.pretrained import (
    check_picture,
    first_line,
    options_of,
)
from fgs_bridges.provenance import versions, weight_hashes
from fgs_bridges.types import Box, Image, Mask, Provenance
from fgs_jax.errors import BridgeError, ConfigError
from fgs_jax.files import read_input, read_npy
from fgs_jax.picture import images as pictures

NEAR = 0.01
"""Metres: a triangle of the hand nearer to the camera than this is not drawn."""


@dataclass
class MaskFile:
    """A mask that is a file: a picture of the photo's size, 255 inside and 0 outside, a cut-out with its alpha, or
    booleans as .npy."""

    path: str = ""

    BACKEND: ClassVar[str] = "file"

    def __post_init__(self) -> None:
        if not self.path:
            raise ConfigError("file: path: expected a mask file, got none: give the option path")

    def __call__(
        self,
        image: Image,
        *,
        box: Box,
        points: Float[ndarray, "n 2"] | None = None,
        point_labels: Int[ndarray, "n"] | None = None,
    ) -> Mask:
        where = f"file: {self.path}"
        box, _, _ = checked_prompt(image, box, points, point_labels, self.BACKEND)
        mask = read_mask(self.path)
        if mask.shape != image.shape[:2]:
            raise BridgeError(f"{where}: expected the picture's size, {image.shape[:2]}, got {mask.shape}: rescale it")
        left, top = np.floor(box[:2]).astype(int).clip(0)
        right, bottom = np.ceil(box[2:]).astype(int)
        if mask.any() and not mask[top:bottom, left:right].any():
            raise BridgeError(f"{where}: expected pixels in the box {box.round(1).tolist()}, got none: another file?")
        return not_empty(mask, where)

    def provenance(self) -> Provenance:
        files = [Path(self.path)] if Path(self.path).is_file() else []
        return Provenance(
            backend=self.BACKEND,
            model=self.path,
            versions=versions("numpy", "pillow"),
            weights=weight_hashes(files),
            options=options_of(self),
        )


def visible_masks(hand_mask: Mask, object_mask: Mask, *, silhouette: bool = False) -> tuple[Mask, Mask]:
    """Masks of hand and object without common pixels.

    Common pixels are the hand's: fingers are in front of what they hold, and masks of objects run over them. They are
    the object's where they are more than half of it, as then the hand's mask has run over the object, and where the
    hand's mask is a `silhouette`, which holds hidden parts too. Raises BridgeError where nothing of one is left.
    """
    if hand_mask.shape != object_mask.shape or hand_mask.dtype != bool or object_mask.dtype != bool:
        came = f"{hand_mask.dtype} {hand_mask.shape} and {object_mask.dtype} {object_mask.shape}"
        raise BridgeError(f"masks: expected booleans of one shape, got {came}: use masks of one picture")
    common = hand_mask & object_mask
    to_object = silhouette or common.sum() > object_mask.sum() / 2
    hand, thing = (hand_mask & ~common, object_mask) if to_object else (hand_mask, object_mask & ~common)
    for name, mask in (("hand", hand), ("object", thing)):
        if not mask.any():
            raise BridgeError(f"masks: expected pixels of the {name} alone, got none: segment it with another box")
    return hand, thing


def silhouette_mask(
    vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"], K: Float[ndarray, "3 3"], size: tuple[int, int]
) -> Mask:
    """Pixels whose centres a mesh covers, hidden parts and all; `size` is (height, width).

    Vertices in metres, camera frame; K in pixels, corner convention. Raises BridgeError where none is covered.
    """
    height, width = size
    mask = np.zeros(size, bool)
    projected = vertices.astype(float) @ np.asarray(K, float).T
    seen = faces[(vertices[faces][..., 2] > NEAR).all(axis=1)]
    for a, b, c in (projected[seen][..., :2] / projected[seen][..., 2:])[..., :2]:
        left, top = np.floor(np.minimum(np.minimum(a, b), c)).clip(0, (width, height)).astype(int)
        right, bottom = np.ceil(np.maximum(np.maximum(a, b), c)).clip(0, (width, height)).astype(int)
        u, v = np.arange(left, right)[None] + 0.5, np.arange(top, bottom)[:, None] + 0.5
        turns = np.stack([(q[0] - p[0]) * (v - p[1]) - (q[1] - p[1]) * (u - p[0]) for p, q in ((a, b), (b, c), (c, a))])
        mask[top:bottom, left:right] |= (turns >= 0).all(axis=0) | (turns <= 0).all(axis=0)
    return not_empty(mask, "silhouette: check the hand's camera")


def checked_prompt(
    image: Any, box: Any, points: Any, point_labels: Any, backend: str
) -> tuple[Box, Float[ndarray, "n 2"], Int[ndarray, "n"]]:
    """Box cut to the picture, points and their labels (1, inside, where none are given). Raises BridgeError."""
    check_picture(image, backend)
    box = np.asarray(box, float)
    if not is_box(box):
        raise BridgeError(
            f"{backend}: box: expected [left, top, right, bottom], got {box.tolist()}: check the detector"
        )
    size = np.array(image.shape[1::-1] * 2, float)
    cut = np.clip(box, 0, size)
    if not (cut[:2] < cut[2:]).all():
        came = f"{box.tolist()} in one of {image.shape[1]} x {image.shape[0]}"
        raise BridgeError(f"{backend}: box: expected one within the picture, got {came}: check the detector")
    if points is None:
        if point_labels is not None:
            raise BridgeError(f"{backend}: point_labels: expected points with them, got none: give points")
        return cut, np.empty((0, 2)), np.empty(0, int)
    points = np.asarray(points, float)
    labels = np.ones(len(points), int) if point_labels is None else np.asarray(point_labels)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all() or labels.shape != points.shape[:1]:
        came = f"{points.shape} and {labels.shape}"
        raise BridgeError(f"{backend}: points: expected (n, 2) finite numbers and n labels, got {came}: check them")
    if not np.isin(labels, (0, 1)).all():
        raise BridgeError(f"{backend}: point_labels: expected 1 (inside) or 0 (outside), got {labels.tolist()}")
    return cut, points, labels.astype(int)


def read_mask(path: str) -> Mask:
    """Booleans of a .npy file, or the mask of a picture (`fgs_jax.picture.images.read_mask`). Raises BridgeError."""
    expected = "a picture or a .npy file"
    try:
        data = read_input(Path(path), expected, BridgeError)
        if Path(path).suffix.lower() != ".npy":
            return pictures.read_mask(data)
        mask = read_npy(data)
    except BridgeError as error:
        raise BridgeError(f"file: {error}") from error
    except pictures.NotAMaskError as error:
        raise BridgeError(f"file: {path}: {error}") from error
    except Exception as error:  # of damaged arrays numpy has several
        came = f"none ({first_line(error)})"
        raise BridgeError(f"file: {path}: expected {expected}, got {came}: check the file") from error
    if mask.ndim != 2 or mask.dtype != bool:
        came = f"{mask.dtype} {mask.shape}"
        raise BridgeError(f"file: {path}: expected booleans of shape (h, w), got {came}: threshold it")
    return mask


def not_empty(mask: Mask, where: str) -> Mask:
    if not mask.any():
        raise BridgeError(f"{where}: expected a mask, got an empty one: give another box, points or segmenter")
    return mask
