"""Energies of contact (Eq. 12): E_dis pulls hand and object together, E_pen keeps them out of each other.

Functions of plain arrays: points, and a surface given as a `DistanceGrid`, as any function from points to signed
distances, or as the distances themselves where they are known. They know no hand model.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key
from numpy import ndarray

from fgs_jax.checks import check_count, check_value, checked
from fgs_jax.objects.distance import DistanceGrid, signed_distance
from fgs_jax.objects.neighbours import nearest

Surface = DistanceGrid | Callable[[Float[Array, "p 3"]], Float[Array, "p"]] | Float[Array, "p"]
"""What signed distances in metres are asked of, positive outside; or those of the points, where they are known."""

VERTICES, POINTS = 778, 2000
"""What sums over hand vertices (E_pen, E_order) and over object points (E_pen) are scaled to: that over n of them times
778 / n or 2000 / n. So a weight means the same at any resolution, here and in the stages."""
FARTHEST_INSIDE = 0.025
"""Metres. No point within a hand of scale 1 is farther from its nearest vertex; one that is lies outside."""
_NOWHERE = 1e6
"""Metres, of all coordinates: farther than that from any point."""


@checked
def distance_to(surface: Surface, points: Float[Array, "p 3"]) -> Float[Array, "p"]:
    """Signed distance of each point, metres, positive outside."""
    if isinstance(surface, DistanceGrid):
        return signed_distance(surface, points)
    distances = surface(points) if callable(surface) else surface
    return check_value("surface: its distances", distances, Float[Array, f"{len(points)}"])


@checked
def E_dis(
    contact_points: Float[Array, "n 3"], surface: Surface, weight: Float[Array, "n"] | None = None
) -> Float[Array, ""]:
    """Eq. 12, attraction: the sum of |d| over the points that shall touch, each times its weight, metres."""
    if weight is None:
        return jnp.sum(jnp.abs(distance_to(surface, contact_points)))
    if isinstance(surface, DistanceGrid) or callable(surface):
        # A point without weight may be anywhere, NaN included: not even its gradient may be asked for.
        some = contact_points[jnp.argmax(weight)]
        contact_points = jnp.where(weight[:, None] > 0, contact_points, some[None])
    distance = distance_to(surface, contact_points)
    return jnp.sum(jnp.where(weight > 0, weight * jnp.abs(distance), 0.0))


@checked
def E_pen(points: Float[Array, "n 3"], surface: Surface, counted_as: int | None = None) -> Float[Array, ""]:
    """Eq. 12, repulsion: the sum of the depths of the points that are inside, metres.

    Hand points in the object as printed; object points in the hand are the other direction, which sees thin objects.
    `counted_as`: the sum is scaled to so many points (`VERTICES`, `POINTS`).
    """
    depths = jnp.sum(jax.nn.relu(-distance_to(surface, points)))
    return depths if counted_as is None else depths * (counted_as / len(points))


def flesh_depth(distance: Float[Array, "n"], margin: Float[Array, "n"] | None) -> Float[Array, "n"]:
    """Signed distances whose depth counts little within the flesh's margin, and in full beyond it.

    Within, depth counts as depth^2 / (2 margin); beyond, as the depth less half the margin.
    """
    if margin is None:
        return distance
    depth = jax.nn.relu(-distance)
    within = jnp.minimum(depth, margin)
    return jnp.where(distance > 0, distance, -(depth - within + within**2 / (2.0 * jnp.maximum(margin, 1e-9))))


class Contacts(NamedTuple):
    """Hand vertices that shall touch; those of weight zero only fill the array."""

    vertex: Int[Array, "n"]
    weight: Float[Array, "n"]
    distance: Float[Array, "n"]
    """To the object when they were chosen, metres; infinite where a region has no vertices."""


def weight_of_vertices(contacts: Contacts, count: int) -> Float[Array, "{count}"]:
    """The weights of contact points, for each of a hand's vertices."""
    return jnp.zeros(count, contacts.weight.dtype).at[contacts.vertex].add(contacts.weight)


@checked
def nearest_contacts(
    distance: Float[Array, "v"],
    regions: Int[Array, "v"],
    per_region: int,
    reach: float | Float[Array, ""],
    region_count: int = 6,
) -> Contacts:
    """The vertices nearest to the object in each contact region, as far as they are within reach, metres.

    A vertex whose distance is NaN is in none.
    """
    check_count("nearest_contacts: per_region", per_region, most=len(distance))
    check_count("nearest_contacts: region_count", region_count)
    regions = jnp.where(jnp.isnan(distance), -1, regions)

    def of_region(region: Int[Array, ""]) -> tuple[Float[Array, "k"], Int[Array, "k"]]:
        closeness, index = jax.lax.top_k(jnp.where(regions == region, -jnp.abs(distance), -jnp.inf), per_region)
        return closeness, index

    closeness, index = jax.vmap(of_region)(jnp.arange(region_count))
    distances = -closeness.ravel()
    near = (distances <= reach) & jnp.isfinite(distances)
    return Contacts(index.ravel(), near.astype(distance.dtype), distances)


@checked
def random_contacts(key: Key[Array, ""], distance: Float[Array, "v"], regions: Int[Array, "v"], count: int) -> Contacts:
    """`count` of the vertices that are in a contact region, as the paper has it; where there are fewer, all of them."""
    check_count("random_contacts: count", count, most=len(regions))
    likely = jnp.where(regions >= 0, 0.0, -jnp.inf)
    chance, vertex = jax.lax.top_k(likely + jax.random.gumbel(key, regions.shape), count)
    drawn = chance > -jnp.inf
    vertex = jnp.where(drawn, vertex, vertex[0])
    return Contacts(vertex, 1.0 * drawn, jnp.where(drawn, jnp.abs(distance[vertex]), jnp.inf))


def out_of_reach(
    contacts: Contacts, weight: float | Float[Array, ""], reach: float | Float[Array, ""]
) -> Float[Array | ndarray, "*lanes"]:
    """What contact points without their full weight add to an energy, so that it may be compared with others.

    Each counts as if the rest of it were at `reach`. `weight`: that of E_dis. `reach`: metres.
    """
    return weight * reach * (1.0 - contacts.weight).sum(axis=-1)


class Neighbours(NamedTuple):
    """The mesh vertex nearest to each of some points, renewed every few steps; all as it was when they were found."""

    vertex: Int[Array, "p"]
    place: Float[Array, "p 3"]
    """Of that vertex; where it is of the rim, far from everything, so that the point is outside."""
    normal: Float[Array, "p 3"]
    vertices: Float[Array, "3 v"]
    """All of them; coordinates lie apart."""
    normals: Float[Array, "3 v"]


def vertex_normals(vertices: Float[Array, "v 3"], faces: Int[Array, "f 3"]) -> Float[Array, "v 3"]:
    """Outward normals of length one, averaged over faces by area; zero for a vertex without a face."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    across = jnp.cross(b - a, c - a)
    normals = sum(jnp.zeros_like(vertices).at[faces[:, k]].add(across) for k in range(3))
    return normals / jnp.maximum(jnp.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


@checked
def neighbours(
    points: Float[Array, "n 3"],
    vertices: Float[Array, "v 3"],
    faces: Int[Array, "f 3"],
    rim: Int[Array, "l"] | None = None,
) -> Neighbours:
    """Of points, on a closed mesh that is wound outward. Carries no gradient.

    `rim`: vertices of a sharp edge, as where a hand is cut at the wrist (`HandKind.rim`). A plane through one says
    nothing of what is inside there, so the points nearest to it count as outside.
    """
    points, vertices = jax.lax.stop_gradient((points, vertices))
    normals = vertex_normals(vertices, faces)
    index = nearest(points, vertices)
    places = vertices if rim is None else vertices.at[rim].set(_NOWHERE)
    return Neighbours(index, places[index], normals[index], vertices.T, normals.T)


@checked
def distance_to_neighbours(
    points: Float[Array, "p 3"],
    vertices: Float[Array, "v 3"],
    known: Neighbours,
    farthest: float | Float[Array, ""] = FARTHEST_INSIDE,
) -> Float[Array, "p"]:
    """Signed distance to a mesh, close to it: to the plane through the nearest vertex (Wang et al. 2023).

    Points farther than `farthest` (metres) from where that vertex was found are outside, as are those nearest to a rim.
    """
    offset = points - known.place
    near = jnp.sum(jax.lax.stop_gradient(offset) ** 2, axis=1) < farthest**2
    # How far each plane has moved since: one number for a vertex, where its place would be three for a point.
    moved = jnp.sum((vertices.T - known.vertices) * known.normals, axis=0)
    return jnp.where(near, jnp.sum(offset * known.normal, axis=1) - moved[known.vertex], farthest)
