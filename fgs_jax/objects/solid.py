"""A mesh as a solid: its exact signed distance and its convex hull. Host side, numpy, float64."""

from typing import Any

import numpy as np
from jax import Array
from jaxtyping import Float, Float64, Int64
from scipy.spatial import ConvexHull, QhullError

from fgs_jax.errors import MeshError
from fgs_jax.objects.checks import checked_points, no_type_check
from fgs_jax.objects.mesh import ObjectMesh, check_mesh
from fgs_jax.objects.triangles import distances_to, double_areas
from fgs_jax.objects.winding import is_inside


@no_type_check
def exact_signed_distance(mesh: ObjectMesh, points: Float[np.ndarray | Array, "p 3"]) -> Float64[np.ndarray, "p"]:
    """Distance from each point to the nearest face, negative inside, in the unit of the mesh.

    Where parts overlap, the nearest face may be one inside another part. A point that is not finite gets nan.
    """
    check_mesh(mesh)
    points = checked_points(points)
    finite = np.isfinite(points).all(axis=1)
    asked = points[finite]
    distance = distances_to(mesh.vertices, mesh.faces, asked)
    signed = np.full(len(points), np.nan)
    signed[finite] = np.where(is_inside(mesh.vertices, mesh.faces, asked, distance), -distance, distance)
    return signed


@no_type_check
def convex_hull(vertices: Float[np.ndarray | Array, "v 3"]) -> Int64[np.ndarray, "k 3"]:
    """Faces of the convex hull, indices into the vertices, wound outward.

    Raises MeshError where the vertices are not finite, or lie in a plane.
    """
    vertices, hull = _hull(vertices)
    faces = hull.simplices.astype(np.int64)
    inward = (double_areas(vertices[faces]) * hull.equations[:, :3]).sum(axis=1) < 0
    return np.where(inward[:, None], faces[:, ::-1], faces)


@no_type_check
def hull_planes(
    vertices: Float[np.ndarray | Array, "v 3"],
) -> tuple[Float64[np.ndarray, "m 3"], Float64[np.ndarray, "m"]]:
    """The planes of the convex hull, each once: outward normals and offsets, normal x <= offset inside.

    Raises MeshError where the vertices are not finite, or lie in a plane.
    """
    planes = np.unique(_hull(vertices)[1].equations, axis=0)
    return planes[:, :3], -planes[:, 3]


def _hull(vertices: Any) -> tuple[Float64[np.ndarray, "v 3"], ConvexHull]:
    vertices = checked_points(vertices, "vertices: expected an array of shape (v, 3)")
    if not np.isfinite(vertices).all():
        raise MeshError("expected finite vertices for a convex hull, came nan or infinity; check them")
    try:
        return vertices, ConvexHull(vertices)
    except QhullError as error:
        raise MeshError(
            f"expected vertices that span a volume, came {len(vertices)} without one; a flat object has no convex hull"
        ) from error
