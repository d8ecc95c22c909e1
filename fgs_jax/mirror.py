"""The mirror: space in x, M = diag(-1, 1, 1), and a picture left to right, u' = W - u.

A left hand is a right one in the mirror: x' = M x with faces reversed, R' = M R M, t' = M t, axis-angle (x, -y, -z).
Only signs and places change, so that twice is the same to the bit; W - u may round in its last digit. Arrays stay of
their own kind and type.
"""

from dataclasses import replace
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int
from numpy import ndarray

from fgs_jax.types import Camera, Grasp, HandParams, on_device

POINT_SIGNS = np.array([-1, 1, 1])
"""Of a point or a direction: the diagonal of M."""
TURN_SIGNS = np.array([1, -1, -1])
"""Of a rotation vector, and of the cross product of two mirrored vectors."""
MATRIX_SIGNS = np.outer(POINT_SIGNS, POINT_SIGNS)
"""Of a rotation matrix, M R M."""

Numbers = TypeVar("Numbers", bound=Array | ndarray)


def with_signs(array: Numbers, signs: Int[ndarray, "..."]) -> Numbers:
    """The array, of its own kind and type, times signs, on the host."""
    signed = np.asarray(array) * np.broadcast_to(signs, array.shape).astype(array.dtype)
    kept: Any = jnp.asarray(signed) if isinstance(array, Array) else signed
    return kept


def mirrored_points(points: Numbers) -> Numbers:
    """Points or directions (..., 3), such as a mesh's vertices, a translation, landmarks."""
    return with_signs(points, POINT_SIGNS)


def mirrored_matrices(matrices: Numbers) -> Numbers:
    """Rotation matrices (..., 3, 3)."""
    return with_signs(matrices, MATRIX_SIGNS)


def mirrored_vectors(vectors: Numbers) -> Numbers:
    """Rotation vectors (..., 3)."""
    return with_signs(vectors, TURN_SIGNS)


def mirrored_faces(faces: Int[ndarray, "f 3"]) -> Int[ndarray, "f 3"]:
    """Faces of mirrored vertices, wound so that the outside stays outside."""
    return faces[:, ::-1].copy()


def mirrored_params(params: HandParams) -> HandParams:
    """Parameters that pose the other hand's model to the mirror image."""
    return replace(
        params,
        pose=mirrored_matrices(params.pose) if params.pose.ndim == 3 else mirrored_vectors(params.pose),
        rotation=mirrored_matrices(params.rotation) if params.rotation.ndim == 2 else mirrored_vectors(params.rotation),
        translation=mirrored_points(params.translation),
    )


def mirrored_grasp(grasp: Grasp) -> Grasp:
    """A grasp of the other hand on the mirrored object."""
    return replace(
        grasp,
        hand=mirrored_params(grasp.hand),
        rotation=mirrored_matrices(grasp.rotation),
        translation=mirrored_points(grasp.translation),
    )


def mirrored_camera(camera: Camera, width: int) -> Camera:
    """The camera of a flipped picture that is `width` pixels wide."""
    across, down = np.asarray(camera.principal, float)
    return Camera(on_device(camera.focal), on_device([width - across, down]))


def mirrored_pixels(pixels: ndarray, width: int) -> ndarray:
    """Pixel positions (..., 2) in a flipped picture, computed in float64 before they return to their own type."""
    mirrored = pixels.copy()
    mirrored[..., 0] = width - pixels[..., 0].astype(float)
    return mirrored


def mirrored_box(box: ndarray, width: int) -> ndarray:
    """A box (left, top, right, bottom) in a flipped picture, as `mirrored_pixels`."""
    mirrored = box.copy()
    mirrored[..., [0, 2]] = width - box[..., [2, 0]].astype(float)
    return mirrored


def flipped(picture: ndarray) -> ndarray:
    """A picture or a mask (h, w, ...), left to right."""
    return picture[:, ::-1].copy()
