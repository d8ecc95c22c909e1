"""The meshes that are measured, and their signed distances."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int
from numpy import ndarray

from fgs_jax.errors import MeshError
from fgs_jax.objects.checks import checked_arrays, checked_number, checked_points, no_type_check
from fgs_jax.objects.triangles import distances_to, is_balanced
from fgs_jax.objects.union import united
from fgs_jax.objects.winding import is_inside

SURFACE_POINTS = 10_000
"""Points of the object's surface that stand for its area: shares of it are right to a hundredth or so."""
_MOST_POINTS = 10_000_000


class Surface(NamedTuple):
    """A triangle mesh, wound outward. A hand is closed at the wrist: its `faces` and its `cap_faces`."""

    vertices: Float[Array | ndarray, "v 3"]
    """Metres."""
    faces: Int[Array | ndarray, "f 3"]


@no_type_check
def signed_distances(surface: Surface, points: Float[Array | ndarray, "p 3"]) -> Float64[ndarray, "p"]:
    """`objects.exact_signed_distance` of `solid_of` a surface, metres, which asks for the inside only within its box.

    Raises MeshError, as all measures here, for a surface or points of other shapes or types.
    """
    check_surface(surface)
    vertices, faces = solid_of(surface)
    points = checked_points(points)
    finite = np.isfinite(points).all(axis=1)
    signed, asked = np.full(len(points), np.nan), points[finite]
    if len(asked):
        distance = distances_to(vertices, faces, asked)
        signed[finite] = np.where(_inside(vertices, faces, asked, distance), -distance, distance)
    return signed


@no_type_check
def sample_surface(surface: Surface, count: int = SURFACE_POINTS) -> Float64[ndarray, "{count} 3"]:
    """Points at equal steps of area over the faces of `solid_of`, each filled evenly; always the same ones."""
    check_surface(surface)
    count = checked_number(count, 1, _MOST_POINTS, "count")
    vertices, faces = solid_of(surface)
    corners = vertices[faces]
    a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    up_to = np.cumsum(np.linalg.norm(np.cross(ab, ac), axis=1))
    face = np.searchsorted(up_to, (np.arange(count) + 0.5) / count * up_to[-1])
    # Roberts' R2 sequence: neighbours in it are far apart in the square, which is folded to a triangle.
    plastic = 1.324717957244746
    u, v = (np.arange(1, count + 1) / plastic**power % 1 for power in (1, 2))
    u, v = np.where(u + v > 1, (1 - u, 1 - v), (u, v))
    return a[face] + u[:, None] * ab[face] + v[:, None] * ac[face]


def check_surfaces(hand: Any, object: Any) -> None:
    """Raises MeshError, in one line, where one has not the shapes and the numbers that a `Surface` has."""
    for name, surface in (("hand", hand), ("object", object)):
        check_surface(surface, name)


def check_surface(surface: Any, name: str = "surface") -> None:
    """As `check_surfaces`, of one."""
    if not isinstance(surface, tuple) or len(surface) != 2:
        raise MeshError(f"{name}: expected a Surface(vertices, faces), came {type(surface).__name__}; make one of it")
    checked_arrays(*surface, name)


def check_winding(surface: Surface, name: str) -> None:
    """Raises MeshError for a closed mesh that is wound inside out."""
    vertices, faces = arrays_of(surface)
    a, b, c = np.moveaxis((vertices - vertices.mean(axis=0))[faces], 1, 0)
    if is_balanced(faces) and (a * np.cross(b, c)).sum() < 0:
        raise MeshError(f"{name}: expected faces wound outward, came inward ones; reverse them (a mirror turns them)")


def arrays_of(surface: Surface) -> tuple[Float64[ndarray, "v 3"], Int[ndarray, "f 3"]]:
    """Vertices and faces in numpy, as float64 and int64."""
    return np.asarray(surface.vertices, np.float64), np.asarray(surface.faces, np.int64)


def solid_of(surface: Surface) -> tuple[Float64[ndarray, "v 3"], Int[ndarray, "f 3"]]:
    """`arrays_of` a surface without what lies within it: closed parts that overlap are one (`objects.union`).

    All is measured of this, so that a solid has the same measures in one part and in many.
    """
    return united(*arrays_of(surface))


def _inside(
    vertices: Float[ndarray, "v 3"],
    faces: Int[ndarray, "f 3"],
    points: Float[ndarray, "p 3"],
    distance: Float[ndarray, "p"],
) -> Bool[ndarray, "p"]:
    """Winding number above one half, asked within the mesh's box alone."""
    inside = ((points >= vertices.min(axis=0)) & (points <= vertices.max(axis=0))).all(axis=1)
    if inside.any():
        inside[inside] = is_inside(vertices, faces, points[inside], distance[inside])
    return inside
