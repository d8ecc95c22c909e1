"""Object Pose Approximator (Sec. 3.3): where the object is, from its visible mask, the hand and the camera.

Terms of Eq. 8-11 as pure functions, the problem they are evaluated on, and the stage, `approximate`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxlie
from jaxtyping import Array, Float

from fgs_jax.camera import Z_NEAR, project
from fgs_jax.distance import nearest
from fgs_jax.types import Camera, pytree


@pytree
class PoseProblem:
    """What the terms of OPA need, in arrays of the same shapes for every picture, so that they compile once.

    The grid covers the object's surroundings with `g` by `g` cells.
    """

    camera: Camera
    points: Float[Array, "n 3"]
    """Farthest-point samples of the surface about their centroid, object frame."""
    targets: Float[Array, "m 2"]
    """Pixels of the object mask."""
    nearest_pixel: Float[Array, "g g 2"]
    """Of each cell (row, column): the centre of the mask pixel that is nearest to it."""
    hand_depth: Float[Array, "g g"]
    """D_r where the hand is seen and rendered, 0 elsewhere: there the object may be at any depth."""
    grid_origin: Float[Array, "2"]
    """Pixel position of the grid's top-left corner."""
    cell: Float[Array, ""]
    """Pixels."""
    mask_area: Float[Array, ""]
    """Pixels in the object mask."""
    depth: Float[Array, ""]
    """Of the hand: where an object of unknown size is expected."""


class PoseState(NamedTuple):
    """What moves in OPA. The scale is None, and stays 1, where the object's size is known."""

    rotation: Float[Array, "3"]
    """Tangent vector at the start's rotation."""
    translation: Float[Array, "3"]
    """Of the centroid of the points, metres, camera frame."""
    log_scale: Float[Array, ""] | None


def L_dist(points_off_mask: Float[Array, "n 2"], targets_off_points: Float[Array, "m 2"]) -> Float[Array, ""]:
    """Eq. 8, as printed: sums of squares, in pixels squared.

    `points_off_mask`: from the nearest mask pixel to each projected point, 0 within the mask. `targets_off_points`: from
    the nearest projected point to each mask pixel.
    """
    return jnp.sum(points_off_mask**2) + jnp.sum(targets_off_points**2)


def L_dep(depth: Float[Array, "n"], hand_depth: Float[Array, "n"]) -> Float[Array, ""]:
    """Eq. 9 for a camera that looks along +z: sum of relu(D_r - z), metres, over points seen through the hand's pixels.

    `hand_depth` is D_r at each point's pixel and 0 where I(x) = 0. There the picture shows the hand before the object.
    """
    return jnp.sum(jax.nn.relu(hand_depth - depth))


def L_cam(depth: Float[Array, "n"]) -> Float[Array, ""]:
    """Eq. 10 for a camera that looks along +z: mean of relu(z_near - z), metres."""
    return jnp.mean(jax.nn.relu(Z_NEAR - depth))


def off_mask(problem: PoseProblem, pixels: Float[Array, "n 2"]) -> Float[Array, "n 2"]:
    """From the nearest pixel of the mask to each point, 0 within it: a look-up in a distance transform, exact but for the
    choice of the pixel, which is that of the point's cell. Carries the gradient of the difference.
    """
    row, column = _cells(problem, pixels)
    centre = problem.nearest_pixel[row, column]
    half = jnp.maximum(problem.cell, 1.0) / 2
    offset = pixels - centre
    return jnp.sign(offset) * jax.nn.relu(jnp.abs(offset) - half)


def opa_terms(problem: PoseProblem, start: Float[Array, "3 3"], state: PoseState) -> dict[str, Float[Array, ""]]:
    """Terms dist, dep, cam of Eq. 11, and size where the object's is unknown, each of the order of 1 when it matters.

    dist: means of squared pixels over the mask's area; dep: mean metres / 0.1 m; size: the squared depth of the
    centroid against the hand's, over 5 cm.
    """
    n, m = problem.points.shape[0], problem.targets.shape[0]
    rotation = jnp.matmul(start, jaxlie.SO3.exp(state.rotation).as_matrix(), precision="highest")
    scale = jnp.ones(()) if state.log_scale is None else jnp.exp(state.log_scale)

    def place(points: Float[Array, "k 3"]) -> Float[Array, "k 3"]:
        return scale * jnp.matmul(points, rotation.T, precision="highest") + state.translation[None]

    placed = place(problem.points)
    pixels = project(problem.camera, placed)
    # The matched points are placed once more, so that the gradient needs no scatter back to all of them.
    matched = problem.points[nearest(problem.targets, pixels)]
    targets_off_points = project(problem.camera, place(matched)) - problem.targets
    row, column = _cells(problem, pixels)
    points_off_mask = off_mask(problem, pixels)
    terms = {
        "dist": (jnp.sum(points_off_mask**2) / n + jnp.sum(targets_off_points**2) / m) / problem.mask_area,
        "dep": L_dep(placed[:, 2], problem.hand_depth[row, column]) / n / 0.1,
        "cam": L_cam(placed[:, 2]),
    }
    if state.log_scale is not None:
        terms["size"] = ((state.translation[2] - problem.depth) / 0.05) ** 2
    return terms


def _cells(problem: PoseProblem, pixels: Float[Array, "n 2"]) -> tuple[Array, Array]:
    """Row and column of the grid's cell that is nearest to each pixel position."""
    last = problem.nearest_pixel.shape[0] - 1
    cell = jnp.floor((jax.lax.stop_gradient(pixels) - problem.grid_origin[None]) / problem.cell)
    column, row = jnp.clip(jnp.nan_to_num(cell), 0, last).astype(jnp.int32).T
    return row, column
