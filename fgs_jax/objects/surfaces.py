"""An object as its signed distance, whatever it is made of: a grid, a formula, a network, points, convex parts.

In JAX. Each kind is data that is traced and a function that is not, so a program compiles once for a kind and its
shapes. All have a finite gradient in the points everywhere, and work under vmap.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Float, Int, Key
from numpy import ndarray
from scipy.spatial import KDTree

from fgs_jax.checks import check_count, check_value, checked
from fgs_jax.errors import ArgumentError
from fgs_jax.extensions import called
from fgs_jax.objects.checks import no_type_check
from fgs_jax.objects.distance import DistanceGrid, signed_distance_at
from fgs_jax.objects.neighbours import nearest
from fgs_jax.objects.sample import spread_evenly
from fgs_jax.types import on_device, pytree

_NEIGHBOURS, _AROUND = 6, 20
"""Of a point in a cloud: next to it in an even one, and about it, on all sides of an edge that is near."""
_PROJECTIONS = 12
"""Newton steps to the surface. A true distance needs one or two, a network a few."""
_ON_SURFACE = 1e-4
"""Share of the box's longest side within which a sample lies on the surface."""


@pytree
class SignedDistance:
    """Signed distance to an object, in metres in the object's frame, positive outside.

    Made by one of the `from_` functions. One of your own kind: `data`, any pytree of arrays, and a `function` of these
    and coordinates (3, p), at the top of a module, for another function is another program.
    """

    data: Any
    function: Callable[[Any, Float[Array, "3 p"]], Float[Array, "p"]] = struct.field(pytree_node=False)

    @checked
    def distance(self, points: Float[Array, "p 3"]) -> Float[Array, "p"]:
        """Signed distance of each point, metres."""
        return self.distance_at(points.T)

    @checked
    def distance_at(self, coordinates: Float[Array, "3 p"]) -> Float[Array, "p"]:
        """`distance` of points whose coordinates lie apart, which is faster for grids, points and convex parts."""
        distances = called("SignedDistance: its function", self.function, self.data, coordinates)
        return check_value("SignedDistance: its distances", distances, Float[Array, f"{coordinates.shape[1]}"])

    @classmethod
    def from_grid(cls, grid: DistanceGrid) -> "SignedDistance":
        """`signed_distance` of a grid, such as `distance_grid` makes of a mesh."""
        return cls(grid, signed_distance_at)

    @classmethod
    def from_function(cls, function: Callable[[Float[Array, "p 3"]], Float[Array, "p"]]) -> "SignedDistance":
        """A formula: a function of points alone, whose gradient must be finite."""
        return cls((), _OfPoints(function))

    @classmethod
    def from_network(
        cls, apply: Callable[[Any, Float[Array, "p 3"]], Float[Array, "p"] | Float[Array, "p 1"]], params: Any
    ) -> "SignedDistance":
        """A network: `apply(params, points)`, such as that of a flax module. Its distances are as true as it is."""
        return cls((params,), _OfPoints(apply))

    @classmethod
    @no_type_check
    def from_cloud(
        cls, points: Float[Array | ndarray, "n 3"], normals: Float[Array | ndarray, "n 3"]
    ) -> "SignedDistance":
        """Points of a surface and its outward normals: the distance to the plane of the nearest point.

        Where a query is farther aside from that point than the points are from each other, as it is beyond an edge or
        the border of an open cloud, it is the distance to a disc of that radius in the plane. On a smooth surface it is
        off by half the square of the spacing over the radius of curvature: 0.2 mm for 2000 points of a ball of 4 cm.
        Near edges, at holes, and at walls thinner than the spacing it may be off by one and a half spacings, sign
        included, and jumps by that where the nearest point changes. `nearest` goes through all points: among 2000 a
        query takes tens of times as long as in a grid.

        Raises ArgumentError for less than seven points, and for what is not finite.
        """
        points, normals = _finite("cloud", points=points, normals=normals)
        if np.shape(points) != np.shape(normals) or np.ndim(points) != 2 or len(points) <= _NEIGHBOURS:
            raise ArgumentError(
                f"cloud: expected points and normals of shape (n, 3), {_NEIGHBOURS + 1} or more, got {points.shape} "
                f"and {normals.shape}: give one normal to each point"
            )
        normals = _of_length_one(normals)
        distance, index = KDTree(points).query(points, min(_AROUND + 1, len(points)))
        spacing = np.median(distance[:, _NEIGHBOURS])
        cloud = _Cloud(points, normals, normals[index].mean(axis=1), spacing)
        return cls(jax.tree.map(on_device, cloud), _distance_to_cloud)

    @classmethod
    @no_type_check
    def from_convex_parts(
        cls, parts: Sequence[tuple[Float[Array | ndarray, "m 3"], Float[Array | ndarray, "m"]]]
    ) -> "SignedDistance":
        """The union of convex parts, each the outward normals and offsets of its planes, n x <= offset inside.

        `hull_planes` makes a part of vertices. The least over the parts of the greatest plane distance: its sign is
        exact, and its size at most that of the true distance. It is exact inside a part that no other overlaps, and
        outside above a face; beyond an edge or a corner it is less.

        Raises ArgumentError without a part, for a part without planes, and for what is not finite.
        """
        planes = [_finite("convex parts", normals=normals, offsets=offsets) for normals, offsets in parts]
        if not planes or any(np.shape(n) != (len(o), 3) or not len(o) for n, o in planes):
            shapes = [(np.shape(n), np.shape(o)) for n, o in planes]
            raise ArgumentError(
                f"convex parts: expected normals (m, 3) and offsets (m,) of each, got {shapes}: use hull_planes"
            )
        most = max(len(offsets) for _, offsets in planes)
        lengths = [np.linalg.norm(normals, axis=1) for normals, _ in planes]
        normals = [np.resize(_of_length_one(n), (most, 3)) for n, _ in planes]  # planes again change no maximum
        offsets = [np.resize(o / length, most) for (_, o), length in zip(planes, lengths, strict=True)]
        return cls(_Planes(on_device(np.stack(normals)), on_device(np.stack(offsets))), _distance_to_parts)


@checked
def surface_samples(
    surface: SignedDistance, count: int, low: Float[Array, "3"], high: Float[Array, "3"], key: Key[Array, ""]
) -> Float[Array, "{count} 3"]:
    """Points spread evenly over the surface within a box: random ones of the box, moved to distance zero.

    `low` and `high`: corners of a box that fits closely, metres. Ten times as many points go along the gradient to the
    surface, and the farthest from each other of those that arrive are taken. The same key gives the same points. Of a
    mesh take `sample_points`, and of a cloud its points.

    Raises ArgumentError where too few points arrive: there is no surface in the box, or the distances are not true.
    """
    check_count("surface_samples: count", count, most=100_000)
    candidates = 4096 * -(-10 * count // 4096)  # few shapes, so that few programs are compiled
    start = low[:, None] + (high - low)[:, None] * jax.random.uniform(key, (3, candidates))
    points, distances = (np.asarray(x) for x in _projected(surface, start))
    side = float(jnp.max(high - low))
    near = _ON_SURFACE * side
    in_box = (np.asarray(low) - near <= points.T) & (np.asarray(high) + near >= points.T)
    arrived = in_box.all(axis=1) & (np.abs(distances) < near)
    if arrived.sum() < count:
        raise ArgumentError(
            f"surface_samples: expected a surface in the box from {low} to {high}, got {arrived.sum()} points on it of "
            f"{count}: check the box, and that the function is a distance in metres"
        )
    return spread_evenly(points.T[arrived], count)


@dataclass(frozen=True)
class _OfPoints:
    """A function of points in rows. Equal where the function is: so is the program that is compiled with it."""

    function: Callable[..., Array]

    def __call__(self, data: tuple[Any, ...], coordinates: Float[Array, "3 p"]) -> Array:
        distances = self.function(*data, coordinates.T)
        return distances[:, 0] if getattr(distances, "shape", ())[1:] == (1,) else distances


class _Cloud(NamedTuple):
    points: Any
    """(n, 3)"""
    normals: Any
    """(n, 3)"""
    around: Any
    """(n, 3), means of the normals of a point and its neighbours: on an edge, of all its sides."""
    spacing: Any
    """Metres within which a point has its neighbours."""


def _distance_to_cloud(cloud: _Cloud, coordinates: Float[Array, "3 p"]) -> Float[Array, "p"]:
    index = nearest(coordinates.T, cloud.points)
    normal = cloud.normals[index].T
    offset = coordinates - cloud.points[index].T
    height = jnp.sum(offset * normal, axis=0)
    beyond = jax.nn.relu(optax.safe_norm(offset - height[None] * normal, 1e-9, axis=0) - cloud.spacing)
    # Where the nearest point is of another side of an edge, its own normal may point the wrong way.
    side = jnp.where(jnp.sum(offset * cloud.around[index].T, axis=0) < 0, -1.0, 1.0)
    far = side * jnp.sqrt(jnp.where(beyond > 0, height**2 + beyond**2, 1.0))
    return jnp.where(beyond > 0, far, height)


class _Planes(NamedTuple):
    """Of `k` parts, each of `m` planes."""

    normals: Float[Array, "k m 3"]
    offsets: Float[Array, "k m"]


def _distance_to_parts(planes: _Planes, coordinates: Float[Array, "3 p"]) -> Float[Array, "p"]:
    most = planes.offsets.shape[1]
    fixed, place = jax.lax.stop_gradient((planes, coordinates))

    def keep_least(part: Int[Array, ""], state: tuple[Array, Array]) -> tuple[Array, Array]:
        least, index = state
        normals = fixed.normals[part]
        heights = sum(normals[:, k, None] * place[None, k] for k in range(3)) - fixed.offsets[part][:, None]
        height = heights.max(axis=0)
        less = height < least
        plane = (part * most + jnp.argmax(heights, axis=0)).astype(index.dtype)
        return jnp.where(less, height, least), jnp.where(less, plane, index)

    count = coordinates.shape[1]
    start = jnp.full(count, jnp.inf, coordinates.dtype), jnp.zeros(count, jnp.int32)
    index = jax.lax.fori_loop(0, len(planes.offsets), keep_least, start)[1]
    normal = planes.normals.reshape(-1, 3)[index].T
    return jnp.sum(normal * coordinates, axis=0) - planes.offsets.ravel()[index]


@jax.jit
def _projected(surface: SignedDistance, start: Float[Array, "3 p"]) -> tuple[Float[Array, "3 p"], Float[Array, "p"]]:
    """Points on the way to the surface, and how far they are from it."""

    def total(points: Float[Array, "3 p"]) -> tuple[Float[Array, ""], Float[Array, "p"]]:
        distances = surface.distance_at(points)
        return jnp.sum(distances), distances

    def step(_: Int[Array, ""], points: Float[Array, "3 p"]) -> Float[Array, "3 p"]:
        gradient, distances = jax.grad(total, has_aux=True)(points)
        # A distance grows by one metre a metre; where a network's hardly grows there is no telling how far to go.
        return points - (distances / jnp.maximum(jnp.sum(gradient**2, axis=0), 0.25))[None] * gradient

    points = jax.lax.fori_loop(0, _PROJECTIONS, step, start)
    return points, surface.distance_at(points)


def _finite(where: str, **arrays: Any) -> list[ndarray]:
    """In float64. Raises ArgumentError where one is not of finite numbers."""
    found = []
    for name, array in arrays.items():
        numbers = np.asarray(array, np.float64)
        if not np.isfinite(numbers).all():
            raise ArgumentError(f"{where}: expected finite {name}, got nan or infinity: remove those")
        found.append(numbers)
    return found


def _of_length_one(normals: ndarray) -> ndarray:
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise ArgumentError("normals: expected directions, got one of length zero: remove it")
    return normals / lengths
