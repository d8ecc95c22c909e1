"""Points spread evenly: over the surface of a mesh, and among other points."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float64, Int, Int64, Key, UInt32

from fgs_jax.errors import MeshError
from fgs_jax.objects.checks import checked_number, key_words, no_type_check
from fgs_jax.objects.mesh import ObjectMesh, check_mesh
from fgs_jax.objects.triangles import double_areas, parts_of
from fgs_jax.objects.winding import winding_in_front
from fgs_jax.types import on_device

_MOST_POINTS = 100_000
"""What is more takes all memory."""


@no_type_check
def sample_points(mesh: ObjectMesh, count: int, key: Key[Array, ""] | UInt32[Array, "2"]) -> Float[Array, "{count} 3"]:
    """Points spread evenly over the surface: the farthest ones among ten times as many random ones.

    Faces inside another part of the object get none. The same key gives the same points.

    Raises MeshError for what is no mesh, no count from 1 to 100000, or no random key.
    """
    check_mesh(mesh)
    count = checked_number(count, 1, _MOST_POINTS, "count")
    face, points = random_points(mesh, 10 * count, np.random.default_rng(key_words(key)))
    hidden = _within_another_part(mesh, face, points)
    # More only where nearly all of a mesh is within itself: then its winding says nothing.
    if np.count_nonzero(hidden) <= 9 * count:
        points[hidden] = np.nan  # never the farthest
    return spread_evenly(points, count)


def random_points(
    mesh: ObjectMesh, count: int, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, "{count}"], Float64[np.ndarray, "{count} 3"]]:
    """Random points of the surface, as many on each area, and the faces that they are on."""
    corners = mesh.vertices[mesh.faces]
    up_to = np.cumsum(np.linalg.norm(double_areas(corners), axis=1))
    face = np.searchsorted(up_to, rng.random(count) * up_to[-1], side="right")
    face = np.minimum(face, len(mesh.faces) - 1)
    root, share = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    a, b, c = np.moveaxis(corners[face], 1, 0)
    return face, (1 - root) * a + root * (1 - share) * b + root * share * c


def spread_evenly(points: Float[np.ndarray, "m 3"], count: int) -> Float[Array, "{count} 3"]:
    """`count` of the points that are far from each other, as `farthest_points` chooses; few shapes are compiled."""
    candidates = np.full((4096 * -(-len(points) // 4096), 3), np.nan, np.float32)
    candidates[: len(points)] = points
    rounded = 256 * -(-count // 256)
    return on_device(candidates[np.asarray(farthest_points(candidates, rounded))[:count]])


@no_type_check
def farthest_points(points: Float[Array | np.ndarray, "m d"], count: int) -> Int[Array, "{count}"]:
    """Indices of `count` points, the first finite one and then always the one farthest from all before.

    No point is farther from those chosen than twice what the best choice could reach (Gonzalez 1985). A point that is
    not finite is never chosen where one is finite.

    Raises MeshError for points that are no array (m, d) of floats, and for no count from 1 to 100000.
    """
    shape, kind = np.shape(points), getattr(points, "dtype", None)
    if len(shape) != 2 or not all(shape) or kind is None or not jnp.issubdtype(kind, jnp.floating):
        raise MeshError(f"points: expected an array of floats of shape (m, d), came {shape} of type {kind}; check it")
    return _farthest_points(points, checked_number(count, 1, _MOST_POINTS, "count"))


@partial(jax.jit, static_argnames="count")
def _farthest_points(points: Float[Array, "m d"], count: int) -> Int[Array, "{count}"]:
    # Point c * 128 + r lies at [r, c]: the maximum over all of them is then one over rows, 35 times as fast on a CPU.
    columns = -(-len(points) // 128)
    padded = jnp.full((columns * 128, points.shape[1]), jnp.nan, points.dtype).at[: len(points)].set(points)
    finite = jnp.isfinite(padded).all(axis=1)
    coordinates = jnp.where(finite[:, None], padded, 0).T.reshape(-1, columns, 128).swapaxes(1, 2)

    def add(i: Int[Array, ""], state: tuple[Array, Array]) -> tuple[Array, Array]:
        chosen, nearest = state
        column = jnp.argmax(nearest.max(axis=0))
        row = jnp.argmax(nearest[:, column])
        squared = sum((axis - axis[row, column]) ** 2 for axis in coordinates)
        return chosen.at[i].set(column * 128 + row), jnp.minimum(nearest, squared)

    unvisited = jnp.where(finite, jnp.inf, -jnp.inf).astype(points.dtype).reshape(columns, 128).T
    return jax.lax.fori_loop(0, count, add, (jnp.zeros(count, int), unvisited))[0]


def _within_another_part(mesh: ObjectMesh, face: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which points, each on a `face`, are inside a part of the mesh that they are not of."""
    part = parts_of(mesh.faces)
    few = part.max() < 64
    asked = np.full(len(points), not few)
    for other in range(part.max() + 1) if few else ():  # the winding number is slow: ask in other parts' boxes only
        corners = mesh.vertices[mesh.faces[part == other]].reshape(-1, 3)
        in_box = (points >= corners.min(axis=0)) & (points <= corners.max(axis=0))
        asked |= in_box.all(axis=1) & (part[face] != other)
    inside = np.zeros(len(points), bool)
    inside[asked] = winding_in_front(mesh.vertices, mesh.faces, face[asked], points[asked]) > 0.5
    return inside
