"""From space to the picture (Eq. 7). Pixels count from the top-left corner; OpenCV's axes."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from fgs_jax.types import Camera

Z_NEAR = 0.01
"""Metres. Points nearer than this, or behind the camera, are projected as if they were this far."""


def project(camera: Camera, points: Float[Array, "n 3"]) -> Float[Array, "n 2"]:
    """Eq. 7: pixels of points in the camera's frame, p = f (x, y) / z + c."""
    depth = jnp.maximum(points[:, 2:], Z_NEAR)
    return camera.focal[None] * points[:, :2] / depth + camera.principal[None]
