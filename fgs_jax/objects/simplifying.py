"""Meshes with fewer faces, however dirty they are."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64, Int, Int64
from numpy import ndarray

from fgs_jax.objects.checks import checked_number, no_type_check
from fgs_jax.objects.mending import mended
from fgs_jax.objects.mesh import ObjectMesh, check_mesh
from fgs_jax.objects.triangles import distances_to, double_areas, extent_of, is_balanced, parts_of

Triangles = tuple[Float64[ndarray, "_ 3"], Int64[ndarray, "_ 3"]]

CRUMB_EXTENT, CRUMBS_AREA = 0.05, 0.01
"""A crumb has at most this share of the extent, and all crumbs together at most this share of the area."""
_MOST_COLLAPSED = 200_000
"""Faces that edges are collapsed of one by one, which takes ten seconds; of more, they are drawn together before."""
_TOO_MANY = 1.5
"""Times the faces asked for."""
_FEW_FACES = 2048
"""So few that nothing takes long with all of them."""


@no_type_check
def simplify(mesh: ObjectMesh, faces: int = 5000) -> ObjectMesh:
    """The mesh with about `faces` faces, by quadric edge collapse (Garland and Heckbert 1997); deterministic.

    Crumbs, parts that have next to nothing of its area and extent, are left out first. How far it is from the mesh, and
    whether it was torn open, is in `repairs`. What the collapse leaves too many faces of, such as loose triangles and
    thousands of parts, is drawn together on a grid before.

    A mesh comes back as it is where it has no more faces already. So does one of at most 2048 faces, which cost
    little, where it would not stay watertight, and where a vertex would be farther from the new surface than 5 % of the
    extent.

    Raises MeshError for what is no mesh, and for no number of faces from 1 up.
    """
    check_mesh(mesh)
    faces = checked_number(faces, 1, 10**9, "faces")
    if len(mesh.faces) <= faces:
        return mesh
    repairs = list(mesh.repairs)
    kept = without_crumbs(mesh.vertices, mesh.faces, parts_of(mesh.faces))
    if crumbs := len(mesh.faces) - len(kept):
        repairs.append(f"left out {crumbs} faces of crumbs")
    small = simplified(mesh.vertices, kept, faces)
    if small is None:
        return mesh
    vertices, triangles = mended(*small, mesh.name, repairs)
    watertight = is_balanced(triangles)
    whole = mesh.vertices[np.unique(kept)]
    deviation = distances_to(vertices, triangles, whole).max() / extent_of(whole)
    if len(mesh.faces) <= _FEW_FACES and (deviation > 0.05 or mesh.watertight > watertight):
        return mesh
    repairs.append(
        f"simplified from {len(mesh.faces)} to {len(triangles)} faces, to within {deviation:.1%} of the extent"
    )
    if mesh.watertight > watertight:
        repairs.append("it is no longer watertight")
    return replace(
        mesh, vertices=vertices, faces=triangles, repairs=tuple(dict.fromkeys(repairs)), watertight=watertight
    )


def without_crumbs(
    vertices: Float64[ndarray, "v 3"], faces: Int64[ndarray, "f 3"], part: Int[ndarray, "f"]
) -> Int64[ndarray, "k 3"]:
    """The faces of all parts but the crumbs. `part`: of each face."""
    corners = vertices[faces]
    area = np.bincount(part, np.linalg.norm(double_areas(corners), axis=1))
    least, most = np.full((len(area), 3), np.inf), np.full((len(area), 3), -np.inf)
    np.minimum.at(least, part, corners.min(axis=1))
    np.maximum.at(most, part, corners.max(axis=1))
    extent = (most - least).max(axis=1)
    small = extent < CRUMB_EXTENT * extent.max()
    order = np.argsort(np.where(small, area, np.inf), kind="stable")
    is_crumb = np.zeros(len(area), bool)
    is_crumb[order] = small[order] & (np.cumsum(area[order]) < CRUMBS_AREA * area.sum())
    return faces[~is_crumb[part]]


def simplified(vertices: Float64[ndarray, "v 3"], faces: Int64[ndarray, "f 3"], count: int) -> Triangles | None:
    """About `count` faces, at most half as many again; None where nothing of the surface would be left."""
    small = vertices, faces
    if len(faces) > _MOST_COLLAPSED:
        small = drawn_together(*small, _MOST_COLLAPSED)
    small = _collapsed(*small, count)
    if len(small[1]) > _TOO_MANY * count:
        small = _collapsed(*drawn_together(*small, 8 * count), count)
    if len(small[1]) > _TOO_MANY * count:
        small = drawn_together(*small, count)
    return small if len(small[1]) else None


def _collapsed(vertices: Float64[ndarray, "v 3"], faces: Int64[ndarray, "f 3"], count: int) -> Triangles:
    """By quadric edge collapse; as it is where that finds nothing."""
    import igl  # noqa: PLC0415

    if len(faces) <= count:
        return vertices, faces
    # Where fans or sheets meet in one vertex, the collapse takes all memory; apart, they are drawn in as one.
    split, origin = (np.asarray(array) for array in igl.split_nonmanifold(faces))
    given = np.asfortranarray(vertices[origin]), np.asfortranarray(split, np.int32)
    small, triangles = (np.asarray(array) for array in igl.qslim(*given, count)[:2])
    if not 0 < len(triangles) < len(faces) or not np.isfinite(small).all():
        return vertices, faces
    return small, triangles.astype(np.int64)


def drawn_together(vertices: Float64[ndarray, "v 3"], faces: Int64[ndarray, "f 3"], count: int) -> Triangles:
    """At most `count` faces, of the finest grid that leaves no more: all vertices in a cell become their mean.

    (Rossignac and Borrel 1993.) Of faces that come to lie on each other one is left; of two with opposite sides none,
    so that what is closed stays closed, unless so thin a thing is more than a hundredth of the area.
    """
    fine, coarse = 1.0, 2.0**20  # cells along the extent: too few, and enough for all of float32
    found = _on_grid(vertices, faces, fine)
    for _ in range(40):
        if len(faces) <= count:
            return vertices, faces
        cells = np.sqrt(fine * coarse)
        tried = _on_grid(vertices, faces, cells)
        if len(tried[1]) <= count:
            found, fine = tried, cells
        else:
            coarse = cells
        if coarse < 1.02 * fine or (len(found[1]) > 0.9 * count):
            break
    return found


def _on_grid(vertices: Float64[ndarray, "v 3"], faces: Int64[ndarray, "f 3"], cells: float) -> Triangles:
    low, extent = vertices.min(axis=0), np.ptp(vertices, axis=0).max()
    i, j, k = np.floor((vertices - low) / extent * cells).astype(np.int64).T
    side = int(cells) + 2
    cell = np.unique((i * side + j) * side + k, return_inverse=True)[1]
    size = np.bincount(cell)
    means = np.stack([np.bincount(cell, vertices[:, axis]) / size for axis in range(3)], axis=1)
    mapped = cell[faces]
    a, b, c = mapped.T
    mapped = mapped[(a != b) & (b != c) & (c != a)]
    if not len(mapped):
        return means, mapped
    first = mapped.argmin(axis=1)[:, None]
    turned = np.take_along_axis(mapped, (first + np.arange(3)) % 3, axis=1)
    over = turned[:, 1] > turned[:, 2]
    turned[over] = turned[over][:, [0, 2, 1]]
    order = np.lexsort(turned.T)
    begins = np.append(True, (np.diff(turned[order], axis=0) != 0).any(axis=1))
    group = np.cumsum(begins) - 1
    net = np.bincount(group, np.where(over[order], -1, 1))
    kept = turned[order][begins]
    kept = np.where(net[:, None] < 0, kept[:, [0, 2, 1]], kept)
    area = np.linalg.norm(double_areas(means[kept]), axis=1)
    is_thin = area[net == 0].sum() > 0.01 * area.sum()
    return means, kept if is_thin else kept[net != 0]
