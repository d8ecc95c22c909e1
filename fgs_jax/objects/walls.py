"""How thick the walls of a mesh are, and whether its distance grid is fine enough for them. Host side, numpy."""

import numpy as np

from fgs_jax.config import MOST_GRID
from fgs_jax.objects.checks import no_type_check
from fgs_jax.objects.distance import DistanceGrid
from fgs_jax.objects.mesh import ObjectMesh, check_mesh
from fgs_jax.objects.sample import random_points
from fgs_jax.objects.triangles import double_areas, extent_of

_RAYS = 2000
_THINNEST = 10
"""Per cent of the surface that may have a thinner wall: about edges and tips every solid becomes thin."""


@no_type_check
def wall_thickness(mesh: ObjectMesh) -> float:
    """How far it is from the surface straight inward to where the solid ends, in the unit of the mesh.

    Nine tenths of the surface have a wall that is at least so thick; it is that of a thin part where a tenth belongs to
    one, and of a solid object its width. Infinite where too few rays leave the mesh, as those of an open sheet.
    """
    import igl  # noqa: PLC0415

    check_mesh(mesh)
    face, points = random_points(mesh, _RAYS, np.random.default_rng(0))
    normals = double_areas(mesh.vertices[mesh.faces])
    inward = -normals[face] / np.linalg.norm(normals[face], axis=1, keepdims=True)
    start = points + 1e-6 * extent_of(mesh.vertices) * inward
    tree = igl.AABB()
    tree.init(mesh.vertices, mesh.faces)
    rays = tree.intersect_ray(mesh.vertices, mesh.faces, start, inward)
    thickness = [_solid_along(hits, normals, way) for hits, way in zip(rays, inward, strict=True)]
    return float(np.percentile(thickness, _THINNEST, method="lower"))


def _solid_along(hits: list[tuple[int, float, float, float]], normals: np.ndarray, way: np.ndarray) -> float:
    """How far a ray that begins within the solid is in it, also where parts overlap."""
    if not hits:
        return np.inf
    face, far = np.array([hit[0] for hit in hits]), np.array([hit[1] for hit in hits])
    order = np.argsort(far)
    leaving = np.sign(normals[face[order]] @ way)
    still_within = leaving.sum() - leaving.cumsum() > 0
    return float(far[order][np.argmin(still_within)])


def grid_notes(mesh: ObjectMesh, grid: DistanceGrid) -> list[str]:
    """A line for people where a voxel is coarser than half the wall: within it the side of a point is not sure."""
    thickness, voxel = wall_thickness(mesh), float(grid.voxel)
    if voxel <= thickness / 2:
        return []
    enough = np.ceil(len(grid.values) ** (1 / 3) * 2 * voxel / thickness)
    advice = f"; a grid of {enough:.0f} is fine enough" if enough <= MOST_GRID else ""
    return [
        f"object: its wall is {1e3 * thickness:.1f} mm thick, and a voxel of its distance grid {1e3 * voxel:.1f} mm "
        f"wide: a finger may sink into it unnoticed{advice}"
    ]
