"""From space to the picture (Eq. 7): projection, hand depth D_r (Eq. 9), silhouettes.

Pixels count from the top-left corner, so that the centre of the first one is (0.5, 0.5); OpenCV's axes.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from fgs_jax.checks import checked
from fgs_jax.types import Camera

Z_NEAR = 0.01
"""Metres. Points nearer than this, or behind the camera, are projected as if they were this far."""


@checked
def project(camera: Camera, points: Float[Array, "n 3"]) -> Float[Array, "n 2"]:
    """Eq. 7: pixels of points in the camera's frame, p = f (x, y) / z + c."""
    return project_coordinates(camera, points.T).T


def project_coordinates(camera: Camera, points: Float[Array, "3 n"]) -> Float[Array, "2 n"]:
    """`project`, of points whose coordinates lie apart: twice as fast where a rotation is one of many."""
    return camera.focal[:, None] * points[:2] / jnp.maximum(points[2:], Z_NEAR) + camera.principal[:, None]


@checked
def inverse_depth(
    camera: Camera, vertices: Float[Array, "v 3"], faces: Int[Array, "f 3"], pixels: Float[Array, "p 2"]
) -> Float[Array, "p"]:
    """1 / z of the nearest surface seen at each pixel, in 1/metres; 0 where there is none. D_r of Eq. 9 is its inverse.

    A z-buffer with one number per pixel. Both sides of a triangle are seen; triangles that reach nearer than Z_NEAR are
    left out. Carries no gradient.
    """

    def drawn(triangle: Float[Array, "9 *#s"], x: Float[Array, "*#s"], y: Float[Array, "*#s"]) -> Float[Array, "*k"]:
        return jnp.where(_inside(triangle, x, y) >= 0.0, _at(triangle[6:], x, y), 0.0)

    nothing = jnp.zeros(len(pixels), pixels.dtype)
    return _greatest(drawn, nothing, _project_triangles(camera, vertices, faces), faces.shape[0], pixels)


@checked
def inverse_depths(
    camera: Camera, vertices: Float[Array, "v 3"], faces: Int[Array, "f 3"], pixels: Float[Array, "p 2"]
) -> Float[Array, "2 p"]:
    """1 / z of the nearest surface at each pixel, and of where the solid behind it ends; 0 where there is none.

    That is the nearest surface that faces away: the inner side of a cup's wall, the back of a box. Where none does, as
    in a mesh that is open, it is the farthest one. See `inverse_depth`.
    """

    def drawn(triangle: Float[Array, "9 *#s"], x: Float[Array, "*#s"], y: Float[Array, "*#s"]) -> Float[Array, "*k"]:
        at, inside = _at(triangle[6:], x, y), _inside(triangle, x, y) >= 0.0
        # Wound outward, and y counts down: its corners follow each other the other way round where it faces this way.
        away = triangle[0] * triangle[4] > triangle[1] * triangle[3]
        # The farthest with its sign turned, so that all are greatest values.
        return jnp.where(inside[None], jnp.stack([at, jnp.where(away, at, -jnp.inf), -at]), -jnp.inf)

    nothing = jnp.full((3, len(pixels)), -jnp.inf, pixels.dtype)
    triangles = _project_triangles(camera, vertices, faces)
    near, away, far = _greatest(drawn, nothing, triangles, faces.shape[0], pixels)
    return jnp.where(jnp.isfinite(near)[None], jnp.stack([near, jnp.where(jnp.isfinite(away), away, -far)]), 0.0)


@checked
def silhouette(
    camera: Camera,
    vertices: Float[Array, "v 3"],
    faces: Int[Array, "f 3"],
    pixels: Float[Array, "p 2"],
    *,
    count: Int[Array, ""] | int | None = None,
    closed: Bool[Array, ""] | bool = False,
) -> Bool[Array, "p"]:
    """Whether each pixel sees the mesh: `inverse_depth` > 0, a third cheaper.

    `count`: draw the first so many faces. `closed`: the mesh is closed and wound one way, so that the half of its faces
    that look away cover all of it, and the others are left out. Both may change without compiling again.
    """
    a, b, c = (project(camera, vertices)[faces[:, k]] for k in range(3))
    ab, ac = b - a, c - a
    needed = ~jnp.asarray(closed) | (ab[:, 0] * ac[:, 1] > ab[:, 1] * ac[:, 0])
    needed &= jnp.arange(faces.shape[0]) < (faces.shape[0] if count is None else count)
    triangles = _project_triangles(camera, vertices, faces)[jnp.argsort(~needed)]
    nothing = jnp.full(len(pixels), -1.0, pixels.dtype)
    return _greatest(_inside, nothing, triangles, jnp.sum(needed), pixels) >= 0


_TOGETHER = 8
"""Triangles drawn in one turn of the loop, which reads and writes every pixel once a turn."""

_Drawn = Callable[[Float[Array, "9 *#s"], Float[Array, "*#s"], Float[Array, "*#s"]], Float[Array, "*k"]]
"""What a triangle puts at pixels of which x and y are given; (9, 1, f), (p, 1) and (p, 1) for all of both."""


def _greatest(
    drawn: _Drawn,
    nothing: Float[Array, "*k p"],
    triangles: Float[Array, "f 9"],
    count: Int[Array, ""] | int,
    pixels: Float[Array, "p 2"],
) -> Float[Array, "*k p"]:
    """At each pixel the greatest of `nothing` and what the first `count` triangles put there.

    A CPU goes through the triangles; other devices take the greatest of them all in one kernel. Neither makes (f, p).
    """
    arguments = nothing, triangles.astype(nothing.dtype), jnp.asarray(count), pixels
    in_turn, at_once = partial(_greatest_in_turn, drawn), partial(_greatest_at_once, drawn)
    return jax.lax.platform_dependent(*arguments, cpu=in_turn, default=at_once)


def _greatest_in_turn(
    drawn: _Drawn,
    nothing: Float[Array, "*k p"],
    triangles: Float[Array, "f 9"],
    count: Int[Array, ""],
    pixels: Float[Array, "p 2"],
) -> Float[Array, "*k p"]:
    x, y = pixels.T
    # These have beta = -1 everywhere.
    outside = jnp.zeros((-len(triangles) % _TOGETHER, 9), triangles.dtype).at[:, 2].set(-1.0)
    blocks = jnp.concatenate([triangles, outside]).reshape(-1, _TOGETHER, 9)

    def turn(index: Int[Array, ""], picture: Float[Array, "*k p"]) -> Float[Array, "*k p"]:
        together = blocks[index]
        for k in range(_TOGETHER):
            picture = jnp.maximum(picture, drawn(together[k], x, y))
        return picture

    return jax.lax.fori_loop(0, (count + _TOGETHER - 1) // _TOGETHER, turn, nothing)


def _greatest_at_once(
    drawn: _Drawn,
    nothing: Float[Array, "*k p"],
    triangles: Float[Array, "f 9"],
    count: Int[Array, ""],
    pixels: Float[Array, "p 2"],
) -> Float[Array, "*k p"]:
    # Triangles along the last axis: over the first one XLA makes (f, p) before it takes the greatest.
    every = drawn(triangles.T[:, None], pixels[:, :1], pixels[:, 1:])
    taken = (jnp.arange(len(triangles)) < count).reshape(*(1 for _ in nothing.shape), -1)
    return jnp.maximum(nothing, jnp.max(jnp.where(taken, every, -jnp.inf), axis=-1, initial=-jnp.inf))


def _inside(triangle: Float[Array, "9 *#s"], x: Float[Array, "*#s"], y: Float[Array, "*#s"]) -> Float[Array, "*s"]:
    """The least barycentric coordinate: not negative within the triangle."""
    beta, gamma = _at(triangle[:3], x, y), _at(triangle[3:6], x, y)
    return jnp.minimum(jnp.minimum(beta, gamma), 1.0 - beta - gamma)


def _at(plane: Float[Array, "3 *#s"], x: Float[Array, "*#s"], y: Float[Array, "*#s"]) -> Float[Array, "*s"]:
    return plane[0] * x + plane[1] * y + plane[2]


def _project_triangles(camera: Camera, vertices: Float[Array, "v 3"], faces: Int[Array, "f 3"]) -> Float[Array, "f 9"]:
    """Triangles in the picture: two barycentric coordinates and the inverse depth, each a plane over the pixels."""
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
    return jnp.concatenate([beta, gamma, depth + za * jnp.array([[0.0, 0.0, 1.0]])], axis=1)
