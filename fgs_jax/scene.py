"""What is known about one picture, and the checks it passes before anything is compiled."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from fgs_jax.camera import Z_NEAR
from fgs_jax.errors import SceneError
from fgs_jax.objects import ObjectMesh
from fgs_jax.types import Camera

LEAST_PIXELS = 30
"""Of a visible object mask; fewer do not tell a pose."""


@dataclass(frozen=True)
class Scene:
    """One picture of a right hand and an object. Masks hold visible parts only; the hand's may hold the forearm."""

    camera: Camera
    object_mask: Bool[ndarray, "h w"]
    hand_mask: Bool[ndarray, "h w"]
    hand_vertices: Float[ndarray, "v 3"]
    """Metres, camera frame."""
    hand_faces: Int[ndarray, "f 3"]
    object: ObjectMesh
    image: UInt8[ndarray, "h w 3"] | None = None


def camera_from_matrix(K: Float[ndarray, "3 3"], *, integer_centres: bool = False) -> Camera:
    """A camera from an intrinsic matrix in pixels; `integer_centres` says that its pixel (0, 0) is a pixel's centre.

    Raises SceneError for a matrix that is not finite, is singular, or has skew.
    """
    K = np.asarray(K, float)
    if K.shape != (3, 3) or not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
        raise SceneError(f"K: expected a 3x3 matrix with positive focal lengths, got {_short(K)}: check the camera")
    if abs(K[0, 1]) > 1e-6 * K[0, 0] or not np.allclose(K[[1, 2, 2], [0, 0, 1]], 0) or not np.isclose(K[2, 2], 1):
        raise SceneError(f"K: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], got {_short(K)}: undistort the picture")
    return Camera(jnp.array([K[0, 0], K[1, 1]]), jnp.array([K[0, 2], K[1, 2]]) + (0.5 if integer_centres else 0.0))


def check_scene(scene: Scene) -> None:
    """Raises SceneError, in one line, for a scene that no object pose can be found from."""
    shape = scene.object_mask.shape
    for name, mask in (("object_mask", scene.object_mask), ("hand_mask", scene.hand_mask)):
        if mask.dtype != bool or mask.ndim != 2:
            came = f"{mask.dtype} {mask.shape}"
            raise SceneError(f"{name}: expected booleans of shape (h, w), got {came}: threshold the picture")
        size = shape if scene.image is None else scene.image.shape[:2]
        if mask.shape != size:
            raise SceneError(f"{name}: expected the size of the picture, {size}, got {mask.shape}: rescale the mask")
    focal, principal = np.asarray(scene.camera.focal), np.asarray(scene.camera.principal)
    if not np.isfinite([*focal, *principal]).all() or (focal <= 0).any():
        came = f"focal {_short(focal)}, principal {_short(principal)}"
        raise SceneError(f"camera: expected finite numbers and positive focal lengths, got {came}: check K")
    pixels = int(scene.object_mask.sum())
    if not pixels:
        raise SceneError("object_mask: expected visible pixels of the object, got none: check the segmentation")
    if np.array_equal(scene.object_mask, scene.hand_mask):
        raise SceneError("object_mask and hand_mask are identical: expected the visible part of each: check the files")
    if pixels < LEAST_PIXELS:
        raise SceneError(f"object_mask: expected at least {LEAST_PIXELS} pixels, got {pixels}: use a larger picture")
    if not scene.hand_mask.any():
        raise SceneError("hand_mask: expected visible pixels of the hand, got none: check the segmentation")
    (left, top, right, bottom), (x0, y0, x1, y1) = mask_box(scene.object_mask), mask_box(scene.hand_mask)
    if left >= x1 or x0 >= right or top >= y1 or y0 >= bottom:
        raise SceneError(
            f"object_mask and hand_mask: expected boxes that meet, got {(left, top, right, bottom)} and "
            f"{(x0, y0, x1, y1)}: the hand does not touch this object"
        )
    if not np.isfinite(scene.hand_vertices).all():
        raise SceneError("hand_vertices: expected finite numbers, got NaN or infinity: check the hand's parameters")
    if (depth := float(np.median(scene.hand_vertices[:, 2]))) < Z_NEAR:
        raise SceneError(f"hand_vertices: expected a hand before the camera (z > 0), got z = {depth:.3g} m: check t")


def mask_box(mask: Bool[ndarray, "h w"]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the pixels in a mask, in pixels; right and bottom lie behind the last ones."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _short(values: ndarray) -> str:
    return np.array2string(values, precision=4, separator=", ").replace("\n", "")
