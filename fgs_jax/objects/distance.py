"""Signed distances of a grid, looked up in JAX. POSITIVE OUTSIDE."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from fgs_jax.checks import check_count, checked
from fgs_jax.types import pytree


@pytree
class DistanceGrid:
    """Signed distances to a surface at the nodes of a cube; node (i, j, k) is at origin + voxel (i, j, k)."""

    values: Float[Array, "n n n"]
    """Metres."""
    origin: Float[Array, "3"]
    voxel: Float[Array, ""]
    """Metres between neighbouring nodes."""


@checked
def signed_distance(grid: DistanceGrid, points: Float[Array, "p 3"]) -> Float[Array, "p"]:
    """Signed distance of each point in metres, trilinear between the nodes; its gradient is that of the interpolant.

    Outside the cube it is the value at the nearest point of the cube plus the distance to that point: never less than
    the distance itself, save for the interpolation, and equal to it straight above the surface. The gradient is finite
    everywhere. A point that is not finite gets nan or inf, and changes no other.
    """
    return signed_distance_at(grid, points.T)


@checked
def signed_distance_at(grid: DistanceGrid, coordinates: Float[Array, "3 p"]) -> Float[Array, "p"]:
    """`signed_distance` of points whose coordinates lie apart: with the gradient twice as fast on a CPU."""
    last = check_count("signed_distance: nodes along a side of the grid", len(grid.values), 2) - 1
    flat = grid.values.ravel()
    scaled = [(coordinates[axis] - grid.origin[axis]) / grid.voxel for axis in range(3)]
    # Not jnp.clip: at the border that has half the gradient.
    inside = [jnp.where(x < 0, 0, jnp.where(x > last, last, x)) for x in scaled]
    # Clipped as integers, for nan becomes any integer.
    i, j, k = (jnp.clip(x.astype(jnp.int32), 0, last - 1) for x in inside)
    x, y, z = (value - cell for value, cell in zip(inside, (i, j, k), strict=True))
    corner = (i * (last + 1) + j) * (last + 1) + k

    def along_z(di: int, dj: int) -> Float[Array, "p"]:
        first = corner + (di * (last + 1) + dj) * (last + 1)
        low, high = (flat.at[first + dk].get(mode="promise_in_bounds") for dk in (0, 1))
        return low * (1 - z) + high * z

    near, far = (along_z(di, 0) * (1 - y) + along_z(di, 1) * y for di in (0, 1))
    squared = sum((a - b) ** 2 for a, b in zip(scaled, inside, strict=True))
    is_outside = squared > 0
    distance_to_cube = jnp.where(is_outside, jnp.sqrt(jnp.where(is_outside, squared, 1)), 0)
    return near * (1 - x) + far * x + distance_to_cube * grid.voxel
