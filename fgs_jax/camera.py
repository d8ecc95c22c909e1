"""From space to the picture (Eq. 7): projection, hand depth D_r (Eq. 9), silhouettes.

Pixels count from the top-left corner, so that the centre of the first one is (0.5, 0.5); OpenCV's axes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from fgs_jax.types import Camera

Z_NEAR = 0.01
"""Metres. Points nearer than this, or behind the camera, are projected as if they were this far."""


def project(camera: Camera, points: Float[Array, "n 3"]) -> Float[Array, "n 2"]:
    """Eq. 7: pixels of points in the camera's frame, p = f (x, y) / z + c."""
    depth = jnp.maximum(points[:, 2:], Z_NEAR)
    return camera.focal[None] * points[:, :2] / depth + camera.principal[None]


class _Triangles(NamedTuple):
    """Projected triangles: two barycentric coordinates and the inverse depth, each a plane over the pixels."""

    beta: Float[Array, "f 3"]
    gamma: Float[Array, "f 3"]
    inverse_depth: Float[Array, "f 3"]


def inverse_depth(
    camera: Camera, vertices: Float[Array, "v 3"], faces: Int[Array, "f 3"], pixels: Float[Array, "p 2"]
) -> Float[Array, "p"]:
    """1 / z of the nearest surface seen at each pixel, in 1/metres; 0 where there is none. D_r of Eq. 9 is its inverse.

    A z-buffer that runs over the triangles with one number per pixel. Both sides of a triangle are seen; triangles that
    reach nearer than Z_NEAR are left out. Carries no gradient.
    """
    triangles = _project_triangles(camera, vertices, faces)

    def draw(index: Int[Array, ""], nearest: Float[Array, "p"]) -> Float[Array, "p"]:
        beta, gamma = (_at(plane[index], pixels) for plane in (triangles.beta, triangles.gamma))
        inside = jnp.minimum(jnp.minimum(beta, gamma), 1.0 - beta - gamma) >= 0.0
        return jnp.where(inside, jnp.maximum(nearest, _at(triangles.inverse_depth[index], pixels)), nearest)

    return jax.lax.fori_loop(0, faces.shape[0], draw, jnp.zeros(pixels.shape[0], pixels.dtype), unroll=8)


def silhouette(
    camera: Camera, vertices: Float[Array, "v 3"], faces: Int[Array, "f 3"], pixels: Float[Array, "p 2"]
) -> Bool[Array, "p"]:
    """Whether each pixel sees the mesh; as `inverse_depth` > 0, a third cheaper."""
    triangles = _project_triangles(camera, vertices, faces)

    def draw(index: Int[Array, ""], inside: Float[Array, "p"]) -> Float[Array, "p"]:
        beta, gamma = (_at(plane[index], pixels) for plane in (triangles.beta, triangles.gamma))
        return jnp.maximum(inside, jnp.minimum(jnp.minimum(beta, gamma), 1.0 - beta - gamma))

    return jax.lax.fori_loop(0, faces.shape[0], draw, jnp.full(pixels.shape[0], -1.0, pixels.dtype), unroll=8) >= 0.0


def _at(plane: Float[Array, "3"], pixels: Float[Array, "p 2"]) -> Float[Array, "p"]:
    return plane[0] * pixels[:, 0] + plane[1] * pixels[:, 1] + plane[2]


def _project_triangles(camera: Camera, vertices: Float[Array, "v 3"], faces: Int[Array, "f 3"]) -> _Triangles:
    vertices = jax.lax.stop_gradient(vertices)
    pixels = project(camera, vertices)
    a, b, c = (pixels[faces[:, k]] for k in range(3))
    near, ab, ac = vertices[faces][..., 2].min(axis=1) < Z_NEAR, b - a, c - a
    doubled_area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    drawn = (jnp.abs(doubled_area) > 1e-10) & ~near
    scale = jnp.where(drawn, 1.0 / jnp.where(drawn, doubled_area, 1.0), 0.0)[:, None]
    beta = scale * jnp.stack([ac[:, 1], -ac[:, 0]], axis=1)
    gamma = scale * jnp.stack([-ab[:, 1], ab[:, 0]], axis=1)
    offsets = [-jnp.sum(x * a, axis=1, keepdims=True) for x in (beta, gamma)]
    # What is not drawn has beta = -1 everywhere.
    beta = jnp.concatenate([beta, jnp.where(drawn[:, None], offsets[0], -1.0)], axis=1)
    gamma = jnp.concatenate([gamma, offsets[1]], axis=1)
    za, zb, zc = (1.0 / jnp.maximum(vertices[faces[:, k], 2:], Z_NEAR) for k in range(3))
    depth = beta * (zb - za) + gamma * (zc - za)
    return _Triangles(beta, gamma, depth + za * jnp.array([[0.0, 0.0, 1.0]]))
