"""The terms of Eq. 11 by name, of the context that they share, and terms of one's own beside them."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from numpy import ndarray

from fgs_jax.checks import checked
from fgs_jax.energies.image import L_cam, L_dep, L_dist
from fgs_jax.energies.terms import term_values, weighted_sum
from fgs_jax.extensions import Term
from fgs_jax.objects.neighbours import nearest
from fgs_jax.picture.camera import project_coordinates
from fgs_jax.rotations import matrix_of
from fgs_jax.stages.opa_problem import PoseProblem, PoseState
from fgs_jax.types import pytree


@pytree
class OpaContext:
    """What a term sees of one pose of the object. Coordinates lie apart, (3, n): twice as fast as (n, 3)."""

    problem: PoseProblem
    """The picture: camera, mask samples (`targets`), the mask's area, the hand's depth."""
    state: PoseState
    """What moves."""
    rotation: Float[Array, "3 3"]
    """From the points' frame to the camera's, times the object's scale where that is unknown."""
    placed: Float[Array, "3 n"]
    """The surface samples in the camera's frame, metres."""
    pixels: Float[Array, "2 n"]
    """Where they are seen (Eq. 7)."""
    points_off_mask: Float[Array, "2 n"]
    """From the nearest mask pixel to each of them, pixels; 0 within the mask."""
    targets_off_points: Float[Array, "2 m"]
    """From each mask sample to the nearest of them, pixels."""
    hand_depth: Float[Array, "n"]
    """D_r at their pixels, metres: depth of the hand where the picture shows it, 0 elsewhere."""


DEPTH_UNIT, SIZE_SIGMA = 0.1, 0.05
"""Metres: of dep in the form of means; of the depth of an object of unknown size about the hand's."""


@checked
def opa_context(problem: PoseProblem, start: Float[Array, "3 3"], state: PoseState) -> OpaContext:
    """The context of a pose: `start` is the rotation that the state's turn follows."""
    rotation = jnp.matmul(start, matrix_of(jnp.asarray(state.rotation)), precision="highest")
    if state.log_scale is not None:
        rotation = jnp.exp(state.log_scale) * rotation
    points, targets = problem.points.T, problem.targets.T
    placed = place(rotation, state.translation, points)
    pixels = project_coordinates(problem.camera, placed)
    # The matched points are placed once more, so that the gradient needs no scatter back to all of them.
    matched = points[:, nearest(problem.targets, pixels.T)]
    targets_off_points = project_coordinates(problem.camera, place(rotation, state.translation, matched)) - targets
    cell = grid_cell(problem, pixels)
    return OpaContext(
        problem=problem,
        state=state,
        rotation=rotation,
        placed=placed,
        pixels=pixels,
        points_off_mask=off_mask(problem, pixels, cell),
        targets_off_points=targets_off_points,
        hand_depth=problem.hand_depth.ravel()[cell],
    )


def place(
    rotation: Float[Array, "3 3"], translation: Float[Array | ndarray, "3"], points: Float[Array, "3 n"]
) -> Float[Array, "3 n"]:
    """Points whose coordinates lie apart, turned and moved."""
    # Column by column: a sum over an axis runs half as long again, and number by number takes longer to compile.
    first, second, third = (rotation[:, k, None] * points[k][None] for k in range(3))
    return first + second + third + translation[:, None]


def grid_cell(problem: PoseProblem, pixels: Float[Array, "2 n"]) -> Int[Array, "n"]:
    """Index of the grid's cell that is nearest to each pixel position."""
    side = problem.nearest_pixel.shape[0]
    cell = jnp.floor((jax.lax.stop_gradient(pixels) - problem.grid_origin[:, None]) / problem.cell)
    cell = jnp.clip(jnp.nan_to_num(cell), 0, side - 1).astype(jnp.int32)
    return cell[1] * side + cell[0]


def off_mask(problem: PoseProblem, pixels: Float[Array, "2 n"], cell: Int[Array, "n"]) -> Float[Array, "2 n"]:
    """From the nearest pixel of the mask to each point, 0 within it: a look-up in a distance transform.

    The pixel is the one nearest to the point's cell; the gradient is that of the difference.
    """
    offset = pixels - problem.nearest_pixel.reshape(-1, 2)[cell].T
    half = jnp.maximum(problem.cell, 1.0) / 2
    return jnp.sign(offset) * jax.nn.relu(jnp.abs(offset) - half)


def _mean_dist(context: OpaContext) -> Float[Array, ""]:
    off_mask, off_points = context.points_off_mask, context.targets_off_points
    n, m = off_mask.shape[1], off_points.shape[1]
    return L_dist(off_mask / jnp.sqrt(n), off_points / jnp.sqrt(m)) / context.problem.mask_area


def _paper_dist(context: OpaContext) -> Float[Array, ""]:
    off_points = context.targets_off_points
    return L_dist(context.points_off_mask, jnp.sqrt(context.problem.mask_area / off_points.shape[1]) * off_points)


def _paper_dep(context: OpaContext) -> Float[Array, ""]:
    return L_dep(context.placed[2], context.hand_depth)


def _mean_dep(context: OpaContext) -> Float[Array, ""]:
    return _paper_dep(context) / context.placed.shape[1] / DEPTH_UNIT


def _cam(context: OpaContext) -> Float[Array, ""]:
    return L_cam(context.placed[2])


def _size(context: OpaContext) -> Float[Array, ""]:
    return ((context.state.translation[2] - context.problem.depth) / SIZE_SIGMA) ** 2


TERMS: dict[str, Callable[[OpaContext], Float[Array, ""]]] = {
    "dist": _mean_dist,
    "dep": _mean_dep,
    "cam": _cam,
    "size": _size,
}
"""dist: means of squared pixels over the mask's area; dep: mean metres / 0.1 m; cam: mean metres; size: the squared
depth of the centroid against the hand's, over 5 cm, where the object's size is unknown."""
PAPER_TERMS: dict[str, Callable[[OpaContext], Float[Array, ""]]] = TERMS | {"dist": _paper_dist, "dep": _paper_dep}
"""With dist and dep as the sums of Eq. 8 and 9, in pixels squared and metres, the samples of the mask standing for all
of its pixels."""


@checked
def opa_terms(
    problem: PoseProblem,
    start: Float[Array, "3 3"],
    state: PoseState,
    *,
    paper_form: bool = False,
    own: Mapping[str, Term] | None = None,
) -> dict[str, Float[Array, ""]]:
    """Terms dist, dep, cam of Eq. 11, unweighted, and size where the object's is unknown; see `TERMS`.

    `own`: terms of one's own, by their names.
    """
    context = opa_context(problem, start, state)
    functions = PAPER_TERMS if paper_form else TERMS
    needed = {name: term for name, term in functions.items() if name != "size" or state.log_scale is not None}
    return term_values(context, own or {}, needed)


def opa_energy(
    terms: Mapping[str, Float[Array, ""]], weights: Mapping[str, float | Float[Array, ""]]
) -> Float[Array, ""]:
    """Eq. 11: the sum of the terms, each times the weight of its name; other weights do not count."""
    return weighted_sum(terms, {name: weights[name] for name in terms})
